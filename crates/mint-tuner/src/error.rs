//! Why a method cannot run.

use mint_clip::tokenizer::TokenizerError;
use mint_clip::{ReadError, WeightsError};

/// Why a method cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// A class name does not fit into the model's context.
    #[error("a class prompt cannot be made")]
    Prompt(#[from] TokenizerError),
    /// A tower that is needed only now cannot be read.
    #[error("the model cannot be read")]
    Weights(#[from] WeightsError),
    /// The configuration does not fit the model or the views.
    #[error("{0}")]
    Config(String),
    /// A memory that was saved cannot be used.
    #[error("the saved memory has no usable `{0}`")]
    Memory(String),
    /// Adaptation led to numbers that are not finite.
    #[error("the adaptation diverged at step {step}; lower `learning-rate`")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
    },
    /// The model's own numbers are not finite.
    #[error("the model's scores are not finite numbers; are the weights and prompts damaged?")]
    NotFinite,
    /// The device failed.
    #[error("the device could not deliver a result")]
    Device(#[from] ReadError),
}

impl MethodError {
    /// Scores that are not finite are the fault of the steps before them, if there were any.
    pub(crate) fn after_steps(self, steps: usize) -> Self {
        match self {
            Self::NotFinite if steps > 0 => Self::Diverged { step: steps },
            other => other,
        }
    }
}
