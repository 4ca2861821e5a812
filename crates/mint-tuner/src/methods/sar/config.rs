//! Every hyperparameter of SAR. The defaults are what the published code does.

use serde::{Deserialize, Serialize};

use crate::error::MethodError;
use crate::memory::Lifetime;
use crate::settings;

/// Configuration of SAR. The defaults are the published code's for vision transformers, with the
/// views of one image as a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SarConfig {
    /// What is adapted to together.
    pub batch: SarBatch,
    /// How many of the first blocks have their LayerNorms adapted. `None` means three quarters of
    /// the tower: 9 of 12.
    pub adapted_blocks: Option<usize>,
    /// A prediction is reliable if its entropy is below this share of the largest, `ln(classes)`.
    pub margin: f64,
    /// Step size of the gradient descent.
    pub learning_rate: f64,
    /// Momentum of the gradient descent.
    pub momentum: f64,
    /// Length of the step uphill before the second gradient is taken.
    pub perturbation: f64,
    /// The parameters go back to their start when the moving average of the loss falls below this.
    pub recovery_threshold: f64,
    /// Weight of the past in that average.
    pub average_decay: f64,
    /// Updates for each batch.
    pub steps: usize,
    /// Which parameters an image is classified with.
    pub predict: SarPrediction,
    /// How long the parameters stay adapted.
    pub lifetime: Lifetime,
}

/// What SAR adapts to together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SarBatch {
    /// The views of one image.
    #[default]
    Views,
    /// The clean views of this many images in a row.
    Images(usize),
}

/// Which parameters SAR classifies an image with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SarPrediction {
    /// Those that earlier batches left: what the published code does.
    #[default]
    BeforeUpdate,
    /// Those adapted to the image itself.
    AfterUpdate,
}

impl Default for SarConfig {
    fn default() -> Self {
        Self {
            batch: SarBatch::Views,
            adapted_blocks: None,
            margin: 0.4,
            learning_rate: 1e-3,
            momentum: 0.9,
            perturbation: 0.05,
            recovery_threshold: 0.2,
            average_decay: 0.9,
            steps: 1,
            predict: SarPrediction::BeforeUpdate,
            lifetime: Lifetime::TestSet,
        }
    }
}

impl SarConfig {
    /// Checks what does not depend on the model.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self) -> Result<(), MethodError> {
        settings::not_negative("margin", self.margin)?;
        settings::not_negative("learning-rate", self.learning_rate)?;
        settings::not_negative("momentum", self.momentum)?;
        settings::not_negative("perturbation", self.perturbation)?;
        settings::finite("recovery-threshold", self.recovery_threshold)?;
        settings::decay("average-decay", self.average_decay)?;
        settings::whole("steps", self.steps, 0..=settings::MOST_STEPS)
    }

    /// How many of `blocks` blocks are adapted.
    pub(super) fn adapted(&self, blocks: usize) -> Result<usize, MethodError> {
        let adapted = self.adapted_blocks.unwrap_or((blocks * 3 / 4).max(1));
        if !(1..=blocks).contains(&adapted) {
            return Err(MethodError::Config(format!(
                "`adapted-blocks` is {adapted}: it must be from 1 to {blocks}"
            )));
        }
        match (self.batch, self.predict) {
            (SarBatch::Images(0), _) => {
                Err(MethodError::Config("a batch needs at least one image".to_owned()))
            }
            (SarBatch::Images(images), SarPrediction::AfterUpdate) if images > 1 => {
                Err(MethodError::Config(
                    "`predict = \"after-update\"` needs batches of one image, or of its views"
                        .to_owned(),
                ))
            }
            _ => Ok(adapted),
        }
    }
}
