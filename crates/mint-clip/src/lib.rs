//! CLIP in Burn, built for test-time adaptation.
//!
//! Both towers are frozen modules whose dimensions are read off the weights. Beyond the usual
//! forward passes, this crate offers what adaptation needs: class tokens of chosen blocks, extra
//! key and value tokens in a chosen block, learned context in class prompts, and gradients at
//! those inputs, all without computing anything twice.
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
mod image_encoder;
mod kernels;
mod lanes;
mod linear;
pub mod norm;
mod norm_tuning;
mod precision;
pub mod prompt;
pub mod text;
mod text_encoder;
pub mod tokenizer;
pub mod vision;
pub mod weights;

pub use clip::{Clip, normalize, scaled_cosines};
pub use config::{Activation, ClipConfig};
pub use image_encoder::{ImageEncoder, ImageTrace};
pub use lanes::Lanes;
pub use norm_tuning::TowerTrace;
pub use precision::Precision;
pub use prompt::{ContextPlaces, PromptSet};
pub use text_encoder::{TextEncoder, TextTrace};
pub use tokenizer::Tokenizer;
pub use vision::{PassConfig, UnpromptedPass};
pub use weights::{Checkpoint, LoadOptions, WeightsError};

pub use burn;
