//! TPT: the context of the class prompts is tuned to each image.
//!
//! Source: Shu et al., *Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language
//! Models* (2022).

use burn::tensor::Tensor;
use mint_clip::Clip;
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::Context;
use crate::confidence::{ConfidentShare, confident_views};
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::objective::marginal_entropy;
use crate::optimizer::{OptimizerConfig, TensorOptimizer};
use crate::pending::Pending;
use crate::prompt_learner::PromptLearner;
use crate::settings;

/// Configuration of TPT. The defaults are the published code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TptConfig {
    /// Share of the views whose entropy is minimised, those of lowest entropy.
    pub confident_share: ConfidentShare,
    /// Steps for each image.
    pub steps: usize,
    /// Settings of AdamW.
    pub optimizer: OptimizerConfig,
}

impl Default for TptConfig {
    fn default() -> Self {
        Self {
            confident_share: ConfidentShare::TENTH,
            steps: 1,
            optimizer: OptimizerConfig::default(),
        }
    }
}

impl TptConfig {
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

/// Tunes the context to each image, starting anew.
#[derive(Debug)]
pub struct Tpt {
    config: TptConfig,
    context: Context,
}

/// A tuning of the context to the views of one image, step by step.
pub struct ContextTuning<'a> {
    clip: &'a Clip,
    learner: &'a PromptLearner,
    /// Of the chosen views. Shape: `[chosen, embed]`.
    chosen: Tensor<2>,
    /// `None` is the learner's start. Shape: `[context, width]`.
    context: Option<Tensor<2>>,
    optimizer: TensorOptimizer<2>,
}

/// What one step computed.
pub struct TuningStep {
    /// The minimised entropy. Shape: `[1]`.
    pub loss: Tensor<1>,
    /// Logits of the chosen views. Shape: `[chosen, class]`.
    pub logits: Tensor<2>,
    /// Gradient at the context. Shape: `[context, width]`.
    pub gradient: Tensor<2>,
}

impl Tpt {
    /// With the context that every image starts from.
    pub fn new(config: TptConfig, context: impl Into<Context>) -> Self {
        Self { config, context: context.into() }
    }
}

impl<'a> ContextTuning<'a> {
    /// Chooses the views by the texts at the start. Shape: embeddings `[view, embed]`.
    ///
    /// # Errors
    ///
    /// If no view would be chosen.
    pub fn new(
        config: &TptConfig,
        clip: &'a Clip,
        learner: &'a PromptLearner,
        embeddings: Tensor<2>,
    ) -> Result<Self, MethodError> {
        let n_views = embeddings.dims()[0];
        let n_chosen = match config.steps {
            0 => 1,
            _ => config.confident_share.count(n_views)?,
        };
        let logits = clip.logits(embeddings.clone(), learner.start_features());
        let chosen = embeddings.select(0, confident_views(logits, n_chosen));
        let optimizer = TensorOptimizer::new(&config.optimizer);
        Ok(Self { clip, learner, chosen, context: None, optimizer })
    }

    /// One step: entropy of the chosen views' mean prediction, gradient, update.
    ///
    /// The image embeddings do not depend on the context, so no image is encoded again.
    ///
    /// # Panics
    ///
    /// If the tower is not the one of the learner.
    pub fn step(&mut self) -> TuningStep {
        let (features, trace) = match &self.context {
            None => (self.learner.start_features(), None),
            Some(context) => {
                let (features, trace) = self.learner.features_traced(self.clip, context);
                (features, Some(trace))
            }
        };
        let texts = features.autodiff().require_grad();
        let logits = self.clip.logits(self.chosen.clone().autodiff(), texts.clone());
        let loss = marginal_entropy(logits.clone());
        let at_texts = texts.grad(&loss.backward()).expect("the loss depends on the texts");
        let gradient = self.learner.pullback(self.clip, trace.as_ref(), at_texts);
        self.context = Some(self.optimizer.step(self.context(), gradient.clone()));
        TuningStep { loss: loss.inner(), logits: logits.inner(), gradient }
    }

    /// The context as it is now. Shape: `[context, width]`.
    pub fn context(&self) -> Tensor<2> {
        self.context.clone().unwrap_or_else(|| self.learner.start())
    }

    /// The texts' embeddings as they are now, not normalised. Shape: `[class, embed]`.
    pub fn features(&self) -> Tensor<2> {
        match &self.context {
            None => self.learner.start_features(),
            Some(context) => self.learner.features(self.clip, context),
        }
    }
}

impl Method for Tpt {
    fn view_demand(&self) -> ViewDemand {
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
        let learner = classes.learner(&self.context)?;
        let clip = views.clip();
        let mut tuning = ContextTuning::new(&self.config, clip, &learner, views.embeddings())?;
        let mut steps = Vec::with_capacity(self.config.steps);
        for _ in 0..self.config.steps {
            let loss = tuning.step().loss;
            steps.push([loss.clone(), loss]);
        }
        let logits = clip.logits(views.clean_embedding(), tuning.features());
        Ok(Pending::adapted(logits, steps))
    }
}
