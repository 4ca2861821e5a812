//! SAR: the image tower's LayerNorms learn from the reliable predictions, towards flat minima.
//!
//! Source: Niu et al., *Towards Stable Test-Time Adaptation in Dynamic Wild World* (2023),
//! equations 2 to 6 and algorithm 1.

use burn::tensor::{Device, Tensor};
use mint_clip::Clip;
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::fixed_texts::FixedTexts;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory};
use crate::method::{Method, ViewDemand};
use crate::norm_tuning::{NormObjective, NormTuning};
use crate::outcome::{Outcome, StepSummary, read_scores};
use crate::pending::Pending;
use crate::settings;

/// Configuration of SAR. The defaults are the published code's for vision transformers, with the
/// views of one image as a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SarConfig {
    /// What is adapted to together.
    pub batch: SarBatch,
    /// The LayerNorms of the first so many blocks are adapted. Nothing means three quarters of the
    /// tower: 9 of 12.
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
    /// The clean views of so many images in a row.
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

    fn adapted(&self, blocks: usize) -> Result<usize, MethodError> {
        let adapted = self.adapted_blocks.unwrap_or((blocks * 3 / 4).max(1));
        if !(1..=blocks).contains(&adapted) {
            return Err(MethodError::Config(format!(
                "`adapted-blocks` is {adapted}: it must be from 1 to {blocks}"
            )));
        }
        match (self.batch, self.predict) {
            (SarBatch::Images(0), _) => {
                Err(MethodError::Config("a batch of 0 images is none".to_owned()))
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

/// Adapts LayerNorms and classifies the clean view.
#[derive(Debug)]
pub struct Sar {
    config: SarConfig,
    texts: FixedTexts,
    tuning: NormTuning,
    /// Pixels of the images that wait for their batch to fill.
    waiting: Vec<Tensor<4>>,
}

impl Sar {
    /// With fixed texts.
    pub fn new(config: SarConfig, clip: &Clip, texts: ClassTexts) -> Result<Self, MethodError> {
        let adapted = config.adapted(clip.config.vision.layers)?;
        let tuning = NormTuning::new(clip.image.tower().norm_parameters(adapted));
        Ok(Self { config, texts: FixedTexts::new(texts), tuning, waiting: Vec::new() })
    }

    fn forget(&mut self) {
        self.tuning.recover();
        self.waiting.clear();
    }

    /// Updates for one batch; the logits are those before the first.
    fn adapt(
        &mut self,
        clip: &Clip,
        pixels: &Tensor<4>,
    ) -> Result<(Option<Tensor<2>>, Vec<StepSummary>), MethodError> {
        let objective =
            NormObjective::new(clip, self.texts.features().tensor(), self.config.margin);
        let mut logits = None;
        let mut steps = Vec::with_capacity(self.config.steps);
        for step in 1..=self.config.steps {
            let update = self.tuning.update(&self.config, &objective, pixels);
            let update = update.map_err(|error| error.after_steps(step))?;
            logits = logits.or(Some(update.logits));
            let summary = |loss: f64| StepSummary::new(step, loss as f32, loss as f32);
            steps.extend(update.loss.map(summary).transpose()?);
        }
        Ok((logits, steps))
    }

    /// Logits of a clean view with the parameters as they are. Shape: `[1, class]`.
    fn logits(&self, clip: &Clip, pixels: Tensor<4>) -> Tensor<2> {
        let encoder = clip.image.with_norm_parameters(self.tuning.parameters());
        clip.logits(encoder.forward(pixels), self.texts.features().tensor())
    }
}

impl Method for Sar {
    fn view_demand(&self) -> ViewDemand {
        match self.config.batch {
            SarBatch::Views => ViewDemand::All,
            SarBatch::Images(_) => ViewDemand::Clean,
        }
    }

    fn start_test_set(&mut self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        if self.config.lifetime != Lifetime::Run {
            self.forget();
        }
        self.waiting.clear();
        self.texts.start(classes)
    }

    fn launch(&mut self, views: &ImageViews<'_>) -> Result<Pending, MethodError> {
        if self.config.lifetime == Lifetime::Image {
            self.forget();
        }
        let clip = views.clip();
        let (batch, before) = match self.config.batch {
            SarBatch::Views => (Some(views.pixels()), None),
            SarBatch::Images(images) => {
                let clean = views.clean_pixels();
                let before = self.logits(clip, clean.clone());
                self.waiting.push(clean);
                let full = self.waiting.len() == images;
                let batch = full.then(|| Tensor::cat(std::mem::take(&mut self.waiting), 0));
                (batch, Some(before))
            }
        };
        let (of_batch, steps) = match &batch {
            Some(pixels) => self.adapt(clip, pixels)?,
            None => (None, Vec::new()),
        };
        let before = before.or_else(|| of_batch.map(|logits| logits.narrow(0, 0, 1)));
        let logits = match (self.config.predict, before) {
            (SarPrediction::BeforeUpdate, Some(before)) => before,
            _ => self.logits(clip, views.clean_pixels()),
        };
        Ok(Pending::later(|| {
            let scores = read_scores(logits).map_err(|error| error.after_steps(steps.len()))?;
            Ok(Outcome { steps, ..Outcome::logits(scores) })
        }))
    }

    fn memory_lifetime(&self) -> Option<Lifetime> {
        Some(self.config.lifetime)
    }

    fn can_be_interrupted(&self) -> bool {
        self.waiting.is_empty()
    }

    fn memory(&self) -> Result<Option<Memory>, MethodError> {
        self.tuning.to_memory().map(Some)
    }

    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        self.tuning.restore(memory, device)
    }
}
