//! Methods that classify images under distribution shift with a frozen CLIP.
//!
//! [`Method`] is the seam: the views of one image go in, class scores and what happened come out.
//! [`Mint`] is memory-infused prompt tuning; [`Adaptation`] opens it up step by step for those who
//! want to see or change what happens inside. [`Tpt`] tunes the context alone, [`Sar`] the image
//! tower's LayerNorms; [`Mta`], [`Zero`], [`Vte`] and [`Tda`] look at many views without learning
//! weights. [`ZeroShot`], [`Cocoop`] and [`Maple`] look at the clean view with what was trained.
//! What they share is computed once: for an image in [`ImageViews`], for a test set in [`ClassSet`].
//!
//! Nothing here knows about files, data sets or pixels: tensors in, numbers out.

mod adaptation;
mod class_set;
mod class_texts;
mod cocoop;
pub mod confidence;
mod config;
mod error;
mod fixed_texts;
mod image_views;
mod maple;
mod memory;
mod memory_bank;
mod method;
mod mint;
pub mod mta;
mod norm_tuning;
pub mod objective;
mod optimizer;
pub mod ordering;
mod outcome;
mod pending;
mod prompt_learner;
mod retrieval;
pub mod sar;
mod settings;
pub mod tda;
pub mod tpt;
mod vte;
pub mod zero;
mod zero_shot;

pub use adaptation::{Adaptation, Step};
pub use class_set::{ClassSet, TextFeatures};
pub use class_texts::{ClassTexts, TEMPLATE};
pub use cocoop::{Cocoop, CocoopPrompts};
pub use config::{DistanceSign, MintConfig};
pub use error::MethodError;
pub use image_views::{ImageViews, ViewLogits};
pub use maple::{CoupledPrompt, Maple, MaplePrompts};
pub use memory::{Lifetime, Memory};
pub use memory_bank::{MemoryBank, PROMPT_ROWS, Usage};
pub use method::{Method, ViewDemand};
pub use mint::Mint;
pub use mta::{Mta, MtaConfig};
pub use norm_tuning::{NormObjective, NormTuning, NormUpdate};
pub use optimizer::{OptimizerConfig, TensorOptimizer};
pub use outcome::{Outcome, ScoreKind, StepSummary};
pub use pending::Pending;
pub use prompt_learner::PromptLearner;
pub use retrieval::{Queries, UsageScaling};
pub use sar::{Sar, SarBatch, SarConfig, SarPrediction};
pub use tda::{Tda, TdaConfig};
pub use tpt::{Tpt, TptConfig};
pub use vte::{Vte, VteConfig};
pub use zero::{Zero, ZeroConfig};
pub use zero_shot::ZeroShot;
