//! TPT: the context of the class prompts is tuned to each image.
//!
//! Source: Shu et al., *Test-Time Prompt Tuning for Zero-Shot Generalization in Vision-Language
//! Models* (2022). C-TPT and A-TPT add a term of the class texts to what is minimised.

use burn::tensor::{Int, Tensor};
use mint_clip::{Clip, normalize};
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::Context;
use crate::confidence::{ConfidentShare, confident_views, entropies};
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

/// A term of the loss that depends on the class texts alone.
#[derive(Debug, Clone, Copy)]
pub struct TextTerm {
    /// What the term is multiplied by: above 0 it is made small, below 0 large.
    pub weight: f64,
    /// The term, of the texts' normalised embeddings. Shapes: `[class, embed] -> [1]`.
    pub value: fn(Tensor<2>) -> Tensor<1>,
}

/// A tuning of the context to the views of one image, step by step.
pub struct ContextTuning<'a> {
    clip: &'a Clip,
    learner: &'a PromptLearner,
    /// By which the views were chosen. Shape: `[view, class]`.
    view_logits: Tensor<2>,
    /// Shape: `[chosen]`.
    chosen_views: Tensor<1, Int>,
    /// Of the chosen views. Shape: `[chosen, embed]`.
    chosen: Tensor<2>,
    term: Option<TextTerm>,
    /// `None` is the learner's start. Shape: `[context, width]`.
    context: Option<Tensor<2>>,
    optimizer: TensorOptimizer<2>,
}

/// What one step computed.
pub struct TuningStep {
    /// What was minimised. Shape: `[1]`.
    pub loss: Tensor<1>,
    /// Its entropy term; without a term of the texts there is no other. Shape: `[1]`.
    pub entropy: Tensor<1>,
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
        let view_logits = clip.logits(embeddings.clone(), learner.start_features());
        let chosen_views = confident_views(view_logits.clone(), n_chosen);
        Ok(Self {
            clip,
            learner,
            chosen: embeddings.select(0, chosen_views.clone()),
            view_logits,
            chosen_views,
            term: None,
            context: None,
            optimizer: TensorOptimizer::new(&config.optimizer),
        })
    }

    /// With a term of the texts in the loss.
    pub fn with_term(self, term: TextTerm) -> Self {
        Self { term: Some(term), ..self }
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
        let entropy = marginal_entropy(logits.clone());
        let loss = match self.term {
            None => entropy.clone(),
            Some(TextTerm { weight, value }) => {
                entropy.clone() + value(normalize(texts.clone())) * weight
            }
        };
        let at_texts = texts.grad(&loss.backward()).expect("the loss depends on the texts");
        let gradient = self.learner.pullback(self.clip, trace.as_ref(), at_texts);
        self.context = Some(self.optimizer.step(self.context(), gradient.clone()));
        let (loss, entropy) = (loss.inner(), entropy.inner());
        TuningStep { loss, entropy, logits: logits.inner(), gradient }
    }

    /// Logits of all views by the texts at the start `[view, class]`, and the views that were chosen
    /// by them `[chosen]`.
    pub fn choice(&self) -> (Tensor<2>, Tensor<1, Int>) {
        (self.view_logits.clone(), self.chosen_views.clone())
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
        tune(&self.config, &self.context, None, classes, views)
    }
}

/// Classifies the clean view of an image by the texts as they are after the configured steps.
pub(crate) fn tune(
    config: &TptConfig,
    context: &Context,
    term: Option<TextTerm>,
    classes: &ClassSet<'_>,
    views: &ImageViews<'_>,
) -> Result<Pending, MethodError> {
    let learner = classes.learner(context)?;
    let clip = views.clip();
    let mut tuning = ContextTuning::new(config, clip, &learner, views.embeddings())?;
    if let Some(term) = term {
        tuning = tuning.with_term(term);
    }
    let mut steps = Vec::with_capacity(config.steps);
    for _ in 0..config.steps {
        views.trace(|trace| {
            let (logits, chosen) = tuning.choice();
            trace.choose(logits.clone(), entropies(logits), chosen)?;
            trace.score(clip.logits(views.clean_embedding(), tuning.features()))
        })?;
        let TuningStep { loss, entropy, .. } = tuning.step();
        steps.push([loss, entropy]);
    }
    let logits = clip.logits(views.clean_embedding(), tuning.features());
    Ok(Pending::adapted(logits, steps))
}
