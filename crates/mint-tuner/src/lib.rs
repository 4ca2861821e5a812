//! Methods that classify images under distribution shift with a frozen CLIP.
//!
//! [`Method`] is the trait that all implement: the views of one image go in, class scores and what happened come out.
//! [`Mint`] is memory-infused prompt tuning; [`Adaptation`] opens it up step by step for those who
//! want to see or change what happens inside. [`Tpt`] tunes the context alone, [`Sar`] the image
//! tower's LayerNorms; [`Mta`], [`Zero`], [`Vte`] and [`Tda`] look at many views without learning
//! weights. [`Onzeta`] learns a classifier from the stream of images.
//! [`Ctpt`] and [`Atpt`] add a term of the class texts to TPT, [`Tps`] shifts the classes' embeddings;
//! [`BoostAdapter`], [`Dota`], [`Oga`] and [`Dpe`] learn from the stream. [`ZeroShot`], [`Cocoop`] and [`Maple`] look at the clean view with what was trained.
//! [`Method::explain`] also says how an answer came about.
//! What they share is computed once: for an image in [`ImageViews`], for a test set in [`ClassSet`].
//!
//! The whole way from weights to scores is in `examples/mint.rs`, a method of one's own in
//! `examples/own_method.rs`; in short:
//!
//! ```no_run
//! # use mint_clip::Clip;
//! # use mint_tuner::burn::tensor::Tensor;
//! use mint_tuner::{ClassSet, ImageViews, Method, MethodError, Mint, MintConfig};
//!
//! # fn scores(clip: &Clip, pixels: Tensor<4>) -> Result<Vec<f32>, MethodError> {
//! let (tokenizer, names) = (clip.tokenizer(), ["cat", "dog"].map(String::from));
//! let classes = ClassSet::new(clip, &tokenizer, &names);
//! let context = clip.context_of(&tokenizer, "a photo of a");
//! let mut mint = Mint::new(MintConfig::default(), clip, context)?;
//! Ok(mint.classify(&classes, &ImageViews::new(clip, pixels))?.scores)
//! # }
//! ```
//!
//! Nothing here knows about files, data sets or pixels: tensors in, numbers out.

pub mod caches;
mod class_set;
mod class_texts;
pub mod confidence;
mod error;
mod image_views;
mod memory;
mod method;
mod methods;
pub mod objective;
mod optimizer;
pub mod ordering;
mod outcome;
mod pending;
mod per_set;
mod prompt_learner;
mod proof;
mod settings;
mod trace;

pub use mint_clip::burn;

pub use class_set::{CacheKey, ClassSet, KeptTexts, TextFeatures};
pub use class_texts::{ClassTextLists, ClassTexts, Context, TEMPLATE, TextMeans};
pub use confidence::{ConfidentShare, Uncertainty};
pub use error::MethodError;
pub use image_views::{ImageViews, ViewLogits};
pub use memory::{Lifetime, Memory, Remembers};
pub use method::{Method, ViewDemand};
pub use methods::*;
pub use optimizer::{OptimizerConfig, TensorOptimizer};
pub use outcome::{Outcome, ScoreKind, StepSummary};
pub use pending::Pending;
pub use per_set::LooksAt;
pub use prompt_learner::PromptLearner;
pub use proof::{Disproof, ProofShapes, Tolerance, prove};
pub use trace::{Recalled, Trace, ViewTrace};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
