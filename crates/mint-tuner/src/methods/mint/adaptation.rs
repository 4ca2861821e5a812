//! MINT's adaptation to one image, step by step.
//!
//! The order of work differs from the official code wherever the results cannot: the pass without
//! prompts is run once, its first half of the prompted block serves the prompted passes too, and
//! gradients are taken through the chosen views alone.

use burn::tensor::{Int, Tensor};
use mint_clip::{Clip, UnpromptedPass};

use crate::confidence::confident_views;
use crate::error::MethodError;
use crate::methods::mint::config::{DistanceSign, MintConfig};
use crate::methods::mint::memory_bank::MemoryBank;
use crate::methods::mint::retrieval::Queries;
use crate::objective::marginal_entropy;
use crate::optimizer::TensorOptimizer;
use crate::prompt_learner::PromptLearner;

/// The adaptation of a memory bank and a context to one image.
pub struct Adaptation<'a> {
    config: &'a MintConfig,
    clip: &'a Clip,
    learner: &'a PromptLearner,
    bank: &'a mut MemoryBank,
    pass: &'a UnpromptedPass,
    queries: Queries,
    /// Number of views to choose.
    n_chosen: usize,
    /// The choice of the first step, which the later steps keep. Shape: `[chosen]`.
    chosen: Option<Tensor<1, Int>>,
    /// What that choice was made by. Shape: `[view, class]`.
    view_logits: Option<Tensor<2>>,
    /// `None` is the learner's start. Shape: `[context, width]`.
    context: Option<Tensor<2>>,
    context_optimizer: TensorOptimizer<2>,
    keys_optimizer: TensorOptimizer<2>,
    prompts_optimizer: TensorOptimizer<3>,
}

/// What one step computed.
#[derive(Debug)]
pub struct Step {
    /// The minimised value. Shape: `[1]`.
    pub loss: Tensor<1>,
    /// Its entropy term. Shape: `[1]`.
    pub entropy: Tensor<1>,
    /// Logits of the chosen views. Shape: `[chosen, class]`.
    pub logits: Tensor<2>,
    /// Embeddings of the texts before the update, not normalised. Shape: `[class, embed]`.
    pub text_features: Tensor<2>,
    /// Distances of the picked slots, scaled by usage. Shape: `[view, pick]`.
    pub distances: Tensor<2>,
    /// Gradient at the context. Shape: `[context, width]`.
    pub context_gradient: Tensor<2>,
    /// Gradient at the keys. Shape: `[slot, width]`.
    pub keys_gradient: Tensor<2>,
    /// Gradient at the prompts. Shape: `[slot, 2, width]`.
    pub prompts_gradient: Tensor<3>,
}

impl<'a> Adaptation<'a> {
    /// Starts from the learner's context and the bank as it is.
    ///
    /// # Errors
    ///
    /// If no view would be chosen.
    pub fn new(
        config: &'a MintConfig,
        clip: &'a Clip,
        learner: &'a PromptLearner,
        bank: &'a mut MemoryBank,
        pass: &'a UnpromptedPass,
    ) -> Result<Self, MethodError> {
        let queries = Queries::new(&pass.class_tokens);
        Ok(Self {
            n_chosen: config.chosen(queries.views())?,
            chosen: None,
            view_logits: None,
            context: None,
            context_optimizer: TensorOptimizer::new(&config.optimizer),
            keys_optimizer: TensorOptimizer::new(&config.optimizer),
            prompts_optimizer: TensorOptimizer::new(&config.optimizer),
            config,
            clip,
            learner,
            bank,
            pass,
            queries,
        })
    }

    /// The slots that each view recalls in the next step. Shape: `[view, pick]`.
    pub fn picks(&self) -> Tensor<2, Int> {
        self.queries.nearest(self.bank, self.factors(), self.config.picks_per_block)
    }

    /// One step with the slots that are nearest.
    pub fn step(&mut self) -> Step {
        let picks = self.picks();
        self.step_with(picks)
    }

    /// One step with given slots `[view, pick]`: loss, gradients, update.
    pub fn step_with(&mut self, picks: Tensor<2, Int>) -> Step {
        let factors = self.factors();
        self.bank.count(&picks);

        let (text_features, text_trace) = match &self.context {
            None => (self.learner.start_features(), None),
            Some(context) => {
                let (features, trace) = self.learner.features_traced(self.clip, context);
                (features, Some(trace))
            }
        };
        let prompts = self.bank.mean_prompts(&picks);
        let chosen = self.chosen_views(&prompts, &text_features);
        let (embeddings, image_trace) = self.clip.image.resume_traced(
            &self.pass.entry,
            chosen.clone(),
            prompts.select(0, chosen.clone()),
        );

        // The loss as a function of the towers' outputs and the keys, differentiated by Burn; the
        // towers' own pullbacks carry its gradients on to context and prompts.
        let embeddings = embeddings.autodiff().require_grad();
        let texts = text_features.clone().autodiff().require_grad();
        let keys = self.bank.keys.clone().autodiff().require_grad();
        let logits = self.clip.logits(embeddings.clone(), texts.clone());
        let entropy = marginal_entropy(logits.clone());
        let distances = self.queries.distances(keys.clone(), &picks, factors);
        let mean_distance = distances.clone().sum() / self.queries.views() as f64;
        let loss = entropy.clone() + mean_distance * self.distance_factor();
        let gradients = loss.backward();
        let gradient = |tensor: &Tensor<2>| {
            tensor.grad(&gradients).unwrap_or_else(|| tensor.clone().inner().zeros_like())
        };

        let context_gradient =
            self.learner.pullback(self.clip, text_trace.as_ref(), gradient(&texts));
        let prompts_gradient = self.clip.image.pullback(&image_trace, gradient(&embeddings));
        let chosen_picks = picks.select(0, chosen);
        let step = Step {
            loss: loss.inner(),
            entropy: entropy.inner(),
            logits: logits.inner(),
            text_features,
            distances: distances.inner(),
            context_gradient,
            keys_gradient: gradient(&keys),
            prompts_gradient: self.bank.mean_prompts_pullback(&chosen_picks, prompts_gradient),
        };
        self.update(&step);
        step
    }

    /// Logits of view 0 with what has been learned: no usage scaling, no counting.
    ///
    /// Shape: `[1, class]`.
    pub fn predict(&self) -> Tensor<2> {
        self.predict_with(self.clean_picks())
    }

    /// The slots that view 0 recalls for the prediction. Shape: `[1, pick]`.
    pub fn clean_picks(&self) -> Tensor<2, Int> {
        self.queries.clean().nearest(self.bank, None, self.config.picks_per_block)
    }

    /// [`Adaptation::predict`] with given slots `[1, pick]`.
    pub fn predict_with(&self, picks: Tensor<2, Int>) -> Tensor<2> {
        let texts = match &self.context {
            None => self.learner.start_features(),
            Some(context) => self.learner.features(self.clip, context),
        };
        let prompts = self.bank.mean_prompts(&picks);
        let embedding = self.clip.image.resume(&self.pass.entry.narrow(0, 1), prompts);
        self.clip.logits(embedding, texts)
    }

    /// The views chosen at the first step. Shape: `[chosen]`.
    pub fn chosen(&self) -> Option<Tensor<1, Int>> {
        self.chosen.clone()
    }

    /// Logits of all views at the first step, by which they were chosen. Shape: `[view, class]`.
    pub fn view_logits(&self) -> Option<Tensor<2>> {
        self.view_logits.clone()
    }

    /// The bank as it is now.
    pub fn bank(&self) -> &MemoryBank {
        self.bank
    }

    /// The context as it is now. Shape: `[context, width]`.
    pub fn context(&self) -> Tensor<2> {
        self.context.clone().unwrap_or_else(|| self.learner.start())
    }

    /// At the first step runs all views and chooses; later returns that choice.
    fn chosen_views(&mut self, prompts: &Tensor<3>, text_features: &Tensor<2>) -> Tensor<1, Int> {
        if let Some(chosen) = &self.chosen {
            return chosen.clone();
        }
        let embeddings = self.clip.image.resume(&self.pass.entry, prompts.clone());
        let logits = self.clip.logits(embeddings, text_features.clone());
        let chosen = confident_views(logits.clone(), self.n_chosen);
        self.view_logits = Some(logits);
        self.chosen.insert(chosen).clone()
    }

    fn update(&mut self, step: &Step) {
        let context = self.context();
        let context = self.context_optimizer.step(context, step.context_gradient.clone());
        self.context = Some(context);
        let keys = self.bank.keys.clone();
        self.bank.keys = self.keys_optimizer.step(keys, step.keys_gradient.clone());
        let prompts = self.bank.prompts.clone();
        self.bank.prompts = self.prompts_optimizer.step(prompts, step.prompts_gradient.clone());
    }

    fn factors(&self) -> Option<Tensor<1>> {
        self.config.usage_scaling.factors(self.bank, self.queries.views())
    }

    fn distance_factor(&self) -> f64 {
        match self.config.distance_sign {
            DistanceSign::Away => -self.config.distance_weight,
            DistanceSign::Toward => self.config.distance_weight,
        }
    }
}
