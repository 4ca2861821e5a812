//! Methods that classify images under distribution shift with a frozen CLIP.
//!
//! [`Method`] is the seam: the views of one image go in, class scores and what happened come out.
//! [`Mint`] is memory-infused prompt tuning; [`Adaptation`] opens it up step by step for those who
//! want to see or change what happens inside. [`ZeroShot`] and [`CoOp`] do not adapt.
//!
//! Nothing here knows about files, data sets or pixels: tensors in, numbers out.

mod adaptation;
pub mod confidence;
mod config;
mod coop;
mod image_views;
mod memory_bank;
mod method;
mod mint;
pub mod objective;
mod optimizer;
pub mod ordering;
mod prompt_learner;
mod retrieval;
mod zero_shot;

pub use adaptation::{Adaptation, Step};
pub use config::{BankLifetime, DistanceSign, MintConfig};
pub use coop::CoOp;
pub use image_views::ImageViews;
pub use memory_bank::{MemoryBank, PROMPT_ROWS, Usage};
pub use method::{Method, MethodError, Outcome, StepSummary, ViewDemand};
pub use mint::Mint;
pub use optimizer::{OptimizerConfig, TensorOptimizer};
pub use prompt_learner::PromptLearner;
pub use retrieval::{Queries, UsageScaling};
pub use zero_shot::{TEMPLATE, ZeroShot};
