//! TPS: the classes' prototypes are shifted for each image, without running the text tower again.
//!
//! Source: Sui, Wang and Yeung-Levy, *Just Shift It: Test-Time Prototype Shifting for Zero-Shot
//! Generalization with Vision-Language Models* (2025), and its official code, which decides where the
//! two differ.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use mint_clip::{normalize, scaled_cosines};
use serde::{Deserialize, Serialize};

use crate::class_set::{CacheKey, ClassSet};
use crate::class_texts::{ClassTextLists, ClassTexts, TextMeans};
use crate::confidence::{ConfidentShare, confident_views, entropies};
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::objective::marginal_entropy;
use crate::optimizer::{OptimizerConfig, TensorOptimizer};
use crate::pending::Pending;
use crate::settings;

/// What `macro` takes the number of templates for, however many there are.
const TEMPLATES: f64 = 80.0;

/// Configuration of TPS. The defaults are the published code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TpsConfig {
    /// What the classes' prototypes are made of.
    pub prototypes: TpsPrototypes,
    /// Share of the views whose entropy is minimised, those of lowest entropy; chosen anew in each
    /// step.
    pub confident_share: ConfidentShare,
    /// Steps for each image.
    pub steps: usize,
    /// Whether all classes are shifted by the same vector.
    pub shared_shift: bool,
    /// Settings of AdamW.
    pub optimizer: OptimizerConfig,
}

/// What the classes' prototypes are made of: texts, such as templates, and descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TpsPrototypes {
    /// The texts.
    #[default]
    Texts,
    /// The descriptors.
    Descriptors,
    /// The mean of both means.
    Micro,
    /// The mean over all descriptors and 80 times the texts' mean.
    Macro,
}

impl Default for TpsConfig {
    fn default() -> Self {
        Self {
            prototypes: TpsPrototypes::default(),
            confident_share: ConfidentShare::TENTH,
            steps: 1,
            shared_shift: false,
            optimizer: OptimizerConfig::default(),
        }
    }
}

impl TpsConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        settings::whole("steps", self.steps, 0..=settings::MOST_STEPS)?;
        if self.steps > 0 {
            self.confident_share.count(views)?;
        }
        self.optimizer.check()
    }
}

impl TpsPrototypes {
    /// Whether they need descriptors.
    pub fn need_descriptors(self) -> bool {
        self != Self::Texts
    }

    /// The prototypes, unit vectors `[class, embed]`.
    ///
    /// # Errors
    ///
    /// If they need descriptors and there are none.
    pub fn combine(
        self,
        texts: &TextMeans,
        descriptors: Option<&TextMeans>,
    ) -> Result<Tensor<2>, MethodError> {
        let of_texts = || texts.means.clone();
        let descriptors = descriptors.ok_or_else(|| {
            let message = "TPS needs descriptors, unless its `prototypes` are `texts`";
            MethodError::Config(message.to_owned())
        });
        // A factor that all classes share makes no difference to unit vectors.
        Ok(normalize(match self {
            Self::Texts => of_texts(),
            Self::Descriptors => descriptors?.means.clone(),
            Self::Micro => of_texts() + descriptors?.means.clone(),
            Self::Macro => of_texts() * TEMPLATES + descriptors?.sums(),
        }))
    }
}

/// Shifts the prototypes for each image, starting anew.
///
/// Behind the towers, `V` views of an image cost about `1.2 V C d` multiply-adds in each step, and
/// the answer `C d`. Prototypes, shift and two moments take `16 C d` bytes, 8.2 MB for 1,000 classes
/// of width 512; only the prototypes, a quarter of that, stay from image to image.
#[derive(Debug)]
pub struct Tps {
    config: TpsConfig,
    texts: ClassTexts,
    descriptors: Option<ClassTexts>,
    /// Of the prototypes.
    key: CacheKey,
}

/// A shift of the prototypes for the views of one image, step by step.
#[derive(Debug, Clone)]
pub struct ShiftTuning {
    scale: f32,
    /// Shape: `[class, embed]`.
    start: Tensor<2>,
    /// Of all views. Shape: `[view, embed]`.
    embeddings: Tensor<2>,
    n_chosen: usize,
    /// Shape: `[class, embed]`, or `[1, embed]` for all classes.
    shift: Tensor<2>,
    optimizer: TensorOptimizer<2>,
}

/// What one step computed.
#[derive(Debug, Clone)]
pub struct ShiftStep {
    /// Logits of all views before the step. Shape: `[view, class]`.
    pub logits: Tensor<2>,
    /// The views whose entropy was minimised, the one of lowest entropy first. Shape: `[chosen]`.
    pub chosen: Tensor<1, Int>,
    /// The minimised entropy. Shape: `[1]`.
    pub loss: Tensor<1>,
    /// Gradient at the shift, whose shape it has.
    pub gradient: Tensor<2>,
}

impl Tps {
    /// With fixed texts and descriptors, which only `texts` as prototypes can do without.
    pub fn new(
        config: TpsConfig,
        texts: ClassTexts,
        descriptors: Option<Arc<ClassTextLists>>,
    ) -> Self {
        let descriptors = descriptors.filter(|_| config.prototypes.need_descriptors());
        let descriptors = descriptors.map(ClassTexts::PerClass);
        Self { config, texts, descriptors, key: CacheKey::default() }
    }

    /// The prototypes of the classes. Shape: `[class, embed]`.
    fn prototypes(&self, classes: &ClassSet<'_>) -> Result<Tensor<2>, MethodError> {
        let prototypes = classes.derived(&self.key, || {
            let texts = classes.features(&self.texts)?;
            let descriptors = self.descriptors.as_ref().map(|texts| classes.features(texts));
            let descriptors = descriptors.transpose()?;
            let descriptors = descriptors.as_ref().map(|features| features.means());
            self.config.prototypes.combine(texts.means(), descriptors)
        })?;
        Ok(Tensor::clone(&prototypes))
    }
}

impl ShiftTuning {
    /// Starts without a shift. Shapes: prototypes `[class, embed]`, which are unit vectors, and
    /// embeddings `[view, embed]`.
    ///
    /// # Errors
    ///
    /// If no view would be chosen.
    pub fn new(
        config: &TpsConfig,
        scale: f32,
        prototypes: Tensor<2>,
        embeddings: Tensor<2>,
    ) -> Result<Self, MethodError> {
        let n_chosen = match config.steps {
            0 => 1,
            _ => config.confident_share.count(embeddings.dims()[0])?,
        };
        let [n_classes, width] = prototypes.dims();
        let n_shifts = if config.shared_shift { 1 } else { n_classes };
        let shift = Tensor::zeros([n_shifts, width], &prototypes.device());
        let optimizer = TensorOptimizer::new(&config.optimizer);
        Ok(Self { scale, start: prototypes, embeddings, n_chosen, shift, optimizer })
    }

    /// One step: the views are chosen, the entropy of their mean prediction, its gradient, update.
    ///
    /// # Panics
    ///
    /// If the embeddings are not as wide as the prototypes.
    pub fn step(&mut self) -> ShiftStep {
        let prototypes = self.prototypes();
        let logits = scaled_cosines(self.embeddings.clone(), prototypes.clone(), self.scale);
        let chosen = confident_views(logits.clone(), self.n_chosen);
        let views = self.embeddings.clone().select(0, chosen.clone()).autodiff();
        let shifted = prototypes.autodiff().require_grad();
        let loss = marginal_entropy(scaled_cosines(views, shifted.clone(), self.scale));
        let mut gradient =
            shifted.grad(&loss.backward()).expect("the loss depends on the prototypes");
        if self.shift.dims()[0] == 1 {
            gradient = gradient.sum_dim(0);
        }
        self.shift = self.optimizer.step(self.shift.clone(), gradient.clone());
        ShiftStep { logits, chosen, loss: loss.inner(), gradient }
    }

    /// The shift as it is now. Shape: `[class, embed]`, or `[1, embed]` for all classes.
    pub fn shift(&self) -> Tensor<2> {
        self.shift.clone()
    }

    /// The prototypes as they are now, not normalised. Shape: `[class, embed]`.
    pub fn prototypes(&self) -> Tensor<2> {
        self.start.clone() + self.shift.clone()
    }
}

impl Method for Tps {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::All
    }

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.prototypes(classes).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let (clip, prototypes) = (views.clip(), self.prototypes(classes)?);
        let mut tuning =
            ShiftTuning::new(&self.config, clip.logit_scale, prototypes, views.embeddings())?;
        let mut steps = Vec::with_capacity(self.config.steps);
        for _ in 0..self.config.steps {
            views.trace(|trace| {
                trace.score(clip.logits(views.clean_embedding(), tuning.prototypes()))
            })?;
            let ShiftStep { logits, chosen, loss, .. } = tuning.step();
            views.trace(|trace| trace.choose(logits.clone(), entropies(logits), chosen))?;
            steps.push([loss.clone(), loss]);
        }
        let logits = clip.logits(views.clean_embedding(), tuning.prototypes());
        Ok(Pending::adapted(logits, steps))
    }
}
