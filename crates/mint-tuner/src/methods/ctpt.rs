//! C-TPT: TPT whose class texts are kept apart from their mean, so that confidence is calibrated.
//!
//! Source: Yoon et al., *C-TPT: Calibrated Test-Time Prompt Tuning for Vision-Language Models via Text
//! Feature Dispersion* (2024), and its official code, which decides where the two differ.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::Context;
use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::methods::tpt::{TextTerm, TptConfig, tune};
use crate::optimizer::OptimizerConfig;
use crate::pending::Pending;
use crate::per_set::is_shifted_imagenet;
use crate::settings;

/// `lambda` of the official script for ImageNet and the fine-grained sets.
const WEIGHT: f64 = 50.0;

/// The same of the script for ImageNet's variants.
const WEIGHT_OF_VARIANTS: f64 = 20.0;

/// A text is not thought to be nearer to the mean than this; so a class that is alone, or all of one
/// name, have no gradient where there is no direction.
const LEAST_DISTANCE: f64 = 1e-12;

/// Configuration of C-TPT. The defaults are the official code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CtptConfig {
    /// Share of the views whose entropy is minimised, those of lowest entropy.
    pub confident_share: ConfidentShare,
    /// Steps for each image.
    pub steps: usize,
    /// Settings of AdamW.
    pub optimizer: OptimizerConfig,
    /// What the texts' mean distance to their mean is multiplied by, before it is taken from the
    /// entropy; `None` for the test set's official weight.
    pub weight: Option<f64>,
}

impl Default for CtptConfig {
    fn default() -> Self {
        let TptConfig { confident_share, steps, optimizer } = TptConfig::default();
        Self { confident_share, steps, optimizer, weight: None }
    }
}

impl CtptConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        settings::not_negative("weight", self.weight.unwrap_or(0.0))?;
        self.tuning().check(views)
    }

    /// What is added to the entropy for a test set.
    pub fn term(&self, classes: &ClassSet<'_>) -> TextTerm {
        let official = if is_shifted_imagenet(classes) { WEIGHT_OF_VARIANTS } else { WEIGHT };
        TextTerm { weight: -self.weight.unwrap_or(official), value: dispersion }
    }

    fn tuning(&self) -> TptConfig {
        let Self { confident_share, steps, optimizer, .. } = *self;
        TptConfig { confident_share, steps, optimizer }
    }
}

/// The mean distance of texts to their mean, which is not normalised. Shapes: `[class, embed] -> [1]`.
pub fn dispersion(texts: Tensor<2>) -> Tensor<1> {
    let differences = texts.clone() - texts.mean_dim(0);
    let squares = differences.square().sum_dim(1);
    squares.clamp_min(LEAST_DISTANCE * LEAST_DISTANCE).sqrt().mean()
}

/// Tunes the context to each image, starting anew, while the texts keep their distance to their mean.
///
/// Behind the towers, a step costs TPT's multiply-adds and a few more for each number of the texts.
#[derive(Debug)]
pub struct Ctpt {
    config: CtptConfig,
    context: Context,
}

impl Ctpt {
    /// With the context that every image starts from.
    pub fn new(config: CtptConfig, context: impl Into<Context>) -> Self {
        Self { config, context: context.into() }
    }
}

impl Method for Ctpt {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::All
    }

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        classes.learner(&self.context).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let term = self.config.term(classes);
        tune(&self.config.tuning(), &self.context, Some(term), classes, views)
    }
}
