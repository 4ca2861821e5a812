//! CLIP in Burn, built for test-time adaptation.
//!
//! Both towers are frozen modules whose dimensions are read off the weights. Beyond the usual
//! forward passes, this crate offers what adaptation needs: class tokens of chosen blocks, extra
//! key and value tokens in a chosen block, learned context in class prompts, and gradients at
//! those inputs, all without computing anything twice.
//!
//! ```no_run
//! use mint_clip::burn::tensor::{Device, Tensor};
//! use mint_clip::{Clip, Lanes, LoadOptions, PromptSet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (file, device) = ("ViT-B-16.pt", Device::flex());
//! let clip = Clip::open(file.as_ref(), LoadOptions::default(), &device, Lanes::per_core())?;
//! let names = ["cat", "dog"].map(String::from);
//! let prompts = PromptSet::from_template(&clip.tokenizer(), &names, "a photo of a {}.")?;
//! let texts = clip.text.forward(&prompts, None);
//! let images = clip.image.forward(Tensor::zeros([1, 3, 224, 224], &device));
//! println!("{}", clip.logits(images, texts));
//! # Ok(())
//! # }
//! ```
//!
//! # Gradients
//!
//! Adaptation differentiates with respect to a few tokens and never with respect to the weights.
//! The `*_traced` functions keep what that takes, the `pullback` functions multiply a gradient
//! from the left with the Jacobian. A trace is plain data: it may be pulled back many times.

mod activation;
pub mod attention;
pub mod block;
mod clip;
pub mod config;
mod deferred;
mod image_encoder;
mod kernels;
mod lanes;
mod linear;
pub mod norm;
mod norm_parameters;
mod precision;
pub mod prompt;
mod readback;
pub mod text;
mod text_encoder;
pub mod tokenizer;
pub mod vision;
pub mod weights;

pub use clip::{Clip, normalize, scaled_cosines};
pub use config::{Activation, ClipConfig};
pub use image_encoder::{ImageEncoder, ImageTrace};
pub use lanes::Lanes;
pub use norm_parameters::TowerTrace;
pub use precision::{Precision, UnknownPrecision};
pub use prompt::{ContextPlaces, PromptSet};
pub use readback::{ReadError, device_failure, read, report_device_failure};
pub use text_encoder::{TextEncoder, TextTrace};
pub use tokenizer::Tokenizer;
pub use vision::{PassConfig, PromptEntry, UnpromptedPass};
pub use weights::{Checkpoint, LoadOptions, WeightsError};

pub use burn;

/// The version of Burn, on which the last bits of results depend.
pub const BURN_VERSION: &str = "0.22.1";

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
