//! SAR: the image tower's LayerNorms learn from the reliable predictions, towards flat minima.
//!
//! Source: Niu et al., *Towards Stable Test-Time Adaptation in Dynamic Wild World* (2023),
//! equations 2 to 6 and algorithm 1.

mod config;
mod norm_tuning;

use burn::tensor::{Device, Tensor};
use mint_clip::Clip;

pub use config::{SarBatch, SarConfig, SarPrediction};
pub use norm_tuning::{NormObjective, NormTuning, NormUpdate};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::outcome::{Outcome, StepSummary, read_scores};
use crate::pending::Pending;

/// Adapts LayerNorms and classifies the clean view.
#[derive(Debug)]
pub struct Sar {
    config: SarConfig,
    texts: ClassTexts,
    tuning: NormTuning,
    /// Pixels of the images that wait for their batch to fill.
    waiting: Vec<Tensor<4>>,
}

impl Sar {
    /// With fixed texts.
    ///
    /// # Errors
    ///
    /// If the configuration does not fit the model.
    pub fn new(config: SarConfig, clip: &Clip, texts: ClassTexts) -> Result<Self, MethodError> {
        let adapted = config.adapted(clip.config.vision.layers)?;
        let tuning = NormTuning::new(clip.image.tower().norm_parameters(adapted));
        Ok(Self { config, texts, tuning, waiting: Vec::new() })
    }

    /// Updates for one batch; the logits are those before the first.
    fn adapt(
        &mut self,
        clip: &Clip,
        texts: &Tensor<2>,
        pixels: &Tensor<4>,
    ) -> Result<(Option<Tensor<2>>, Vec<StepSummary>), MethodError> {
        let objective = NormObjective::new(clip, texts.clone(), self.config.margin);
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
    fn logits(&self, clip: &Clip, texts: &Tensor<2>, pixels: Tensor<4>) -> Tensor<2> {
        let encoder = clip.image.with_norm_parameters(self.tuning.parameters());
        clip.logits(encoder.forward(pixels), texts.clone())
    }
}

impl Method for Sar {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        match self.config.batch {
            SarBatch::Views => ViewDemand::All,
            SarBatch::Images(_) => ViewDemand::Clean,
        }
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        classes.features(&self.texts).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let clip = views.clip();
        let texts = classes.features(&self.texts)?.tensor();
        let (batch, before) = match self.config.batch {
            SarBatch::Views => (Some(views.pixels()), None),
            SarBatch::Images(images) => {
                let clean = views.clean_pixels();
                let before = self.logits(clip, &texts, clean.clone());
                self.waiting.push(clean);
                let full = self.waiting.len() == images;
                let batch = full.then(|| Tensor::cat(std::mem::take(&mut self.waiting), 0));
                (batch, Some(before))
            }
        };
        let (of_batch, steps) = match &batch {
            Some(pixels) => self.adapt(clip, &texts, pixels)?,
            None => (None, Vec::new()),
        };
        let before = before.or_else(|| of_batch.map(|logits| logits.narrow(0, 0, 1)));
        let logits = match (self.config.predict, before) {
            (SarPrediction::BeforeUpdate, Some(before)) => before,
            _ => self.logits(clip, &texts, views.clean_pixels()),
        };
        Ok(Pending::later(|| {
            let scores = read_scores(logits).map_err(|error| error.after_steps(steps.len()))?;
            Ok(Outcome { steps, ..Outcome::logits(scores) })
        }))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(self)
    }
}

impl Remembers for Sar {
    fn lifetime(&self) -> Lifetime {
        self.config.lifetime
    }

    fn forget(&mut self) {
        self.tuning.recover();
        self.discard_batch();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        self.tuning.to_memory()
    }

    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        self.tuning.restore(memory, device)
    }

    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty()
    }

    fn discard_batch(&mut self) {
        self.waiting.clear();
    }
}
