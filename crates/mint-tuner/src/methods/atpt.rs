//! A-TPT: TPT with the mean angle between each class text and its nearest one in what is minimised,
//! so that confidence is calibrated.
//!
//! Source: Ahamed et al., *A-TPT: Angular Diversity Calibration Properties for Test-Time Prompt Tuning
//! of Vision-Language Models* (2026), and its official code, which decides where the two differ.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::Context;
use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::methods::tpt::{TextTerm, TptConfig, tune};
use crate::optimizer::OptimizerConfig;
use crate::ordering::smallest_per_row;
use crate::pending::Pending;
use crate::per_set::is_shifted_imagenet;
use crate::settings;

/// `lambda` of the official script for ImageNet and the fine-grained sets (`atpt_classification.py`).
const WEIGHT: f64 = 80.0;

/// The same of the script for ImageNet's variants (`tpt_classification.py`).
const WEIGHT_OF_VARIANTS: f64 = 10.0;

/// The largest cosine that an angle is taken of (`tau`); texts that are nearer, as those of equal
/// names, have no gradient.
const LARGEST_COSINE: f64 = 0.99999;

/// Configuration of A-TPT. The defaults are the official code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AtptConfig {
    /// Share of the views whose entropy is minimised, those of lowest entropy.
    pub confident_share: ConfidentShare,
    /// Steps for each image.
    pub steps: usize,
    /// Settings of AdamW.
    pub optimizer: OptimizerConfig,
    /// What the mean angle, in radians, is multiplied by; `None` for the test set's official weight.
    pub weight: Option<f64>,
    /// Where nearest texts are moved.
    pub direction: AngleDirection,
}

/// Where A-TPT moves texts that are nearest to each other. The paper has them move apart; of its two
/// official scripts one has the opposite sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AngleDirection {
    /// As the official script for the test set does: apart on ImageNet's variants, together on
    /// ImageNet and the fine-grained sets.
    #[default]
    Scripts,
    /// Together: angles are made small.
    Together,
    /// Apart: angles are made large.
    Apart,
}

impl Default for AtptConfig {
    fn default() -> Self {
        let TptConfig { confident_share, steps, optimizer } = TptConfig::default();
        let direction = AngleDirection::default();
        Self { confident_share, steps, optimizer, weight: None, direction }
    }
}

impl AtptConfig {
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
        let is_variant = is_shifted_imagenet(classes);
        let official = if is_variant { WEIGHT_OF_VARIANTS } else { WEIGHT };
        let weight = self.weight.unwrap_or(official);
        let weight = match self.direction {
            AngleDirection::Together => weight,
            AngleDirection::Apart => -weight,
            AngleDirection::Scripts if is_variant => -weight,
            AngleDirection::Scripts => weight,
        };
        TextTerm { weight, value: mean_angle }
    }

    fn tuning(&self) -> TptConfig {
        let Self { confident_share, steps, optimizer, .. } = *self;
        TptConfig { confident_share, steps, optimizer }
    }
}

/// The mean angle, in radians, between each of the unit vectors and the nearest other one; 0 for one
/// that is alone. Shapes: `[class, embed] -> [1]`.
///
/// The gradient of an angle goes to both its sides, so that a text has a part in the angles of all
/// texts that it is nearest to.
pub fn mean_angle(texts: Tensor<2>) -> Tensor<1> {
    if texts.dims()[0] == 1 {
        return Tensor::zeros([1], &texts.device());
    }
    let nearest = texts.clone().select(0, nearest(texts.clone().inner()));
    let cosines = (texts * nearest).sum_dim(1);
    cosines.clamp(-LARGEST_COSINE, LARGEST_COSINE).acos().mean()
}

/// The nearest other one to each of at least two unit vectors, the first of equally near ones.
/// Shapes: `[class, embed] -> [class]`.
pub fn nearest(texts: Tensor<2>) -> Tensor<1, Int> {
    let itself = Tensor::<2>::eye(texts.dims()[0], &texts.device()) * 4.0;
    let distances = itself - texts.clone().matmul(texts.transpose());
    smallest_per_row(distances, 1).squeeze_dim(1)
}

/// Tunes the context to each image, starting anew, while texts that are nearest to each other move
/// together or apart.
///
/// Behind the towers, a step of `C` classes of `d` numbers costs `C^2 d` multiply-adds more than
/// TPT's, and `20 C^2` bytes or so for a moment.
#[derive(Debug)]
pub struct Atpt {
    config: AtptConfig,
    context: Context,
}

impl Atpt {
    /// With the context that every image starts from.
    pub fn new(config: AtptConfig, context: impl Into<Context>) -> Self {
        Self { config, context: context.into() }
    }
}

impl Method for Atpt {
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
