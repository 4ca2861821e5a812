//! Learned context in the class prompts, and the texts' embeddings at its start.

use burn::tensor::Tensor;
use mint_clip::tokenizer::TokenizerError;
use mint_clip::{Clip, ContextPlaces, PromptSet, TextTrace, Tokenizer};

/// The prompts of a test set's classes with context vectors that start at the same values for
/// every image.
#[derive(Debug)]
pub struct PromptLearner {
    prompts: PromptSet,
    start: Tensor<2>,
    start_features: Tensor<2>,
    start_trace: TextTrace,
    /// Embeddings of texts that have no context. Shape: `[text, embed]`.
    fixed: Option<Tensor<2>>,
}

impl PromptLearner {
    /// Puts the context `[context, width]` before the names of `class_names`.
    ///
    /// The texts are run once, here: since every image starts from the same context, the
    /// embeddings and the trace of its first step are the same for all images.
    ///
    /// # Errors
    ///
    /// If a prompt is too long for the model.
    pub fn new(
        clip: &Clip,
        tokenizer: &Tokenizer,
        class_names: &[String],
        start: Tensor<2>,
    ) -> Result<Self, TokenizerError> {
        let places = ContextPlaces::leading(start.dims()[0]);
        let prompts = PromptSet::with_context(tokenizer, class_names, places)?;
        let (start_features, start_trace) = clip.text.forward_traced(&prompts, &start);
        Ok(Self { prompts, start, start_features, start_trace, fixed: None })
    }

    /// With texts that have no context, as further classes. Shape: `[text, embed]`, not normalised.
    pub(crate) fn with_fixed(self, fixed: Tensor<2>) -> Self {
        let start_features = Tensor::cat(vec![self.start_features, fixed.clone()], 0);
        Self { start_features, fixed: Some(fixed), ..self }
    }

    fn and_fixed(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.fixed {
            None => features,
            Some(fixed) => Tensor::cat(vec![features, fixed.clone()], 0),
        }
    }

    /// The context that every image starts from. Shape: `[context, width]`.
    pub fn start(&self) -> Tensor<2> {
        self.start.clone()
    }

    /// The texts' embeddings at the start, not normalised. Shape: `[class, embed]`.
    pub fn start_features(&self) -> Tensor<2> {
        self.start_features.clone()
    }

    /// The texts' embeddings with another context, not normalised. Shape: `[class, embed]`.
    pub fn features(&self, clip: &Clip, context: &Tensor<2>) -> Tensor<2> {
        self.and_fixed(clip.text.forward(&self.prompts, Some(context)))
    }

    /// [`PromptLearner::features`] with what [`PromptLearner::pullback`] needs.
    pub fn features_traced(&self, clip: &Clip, context: &Tensor<2>) -> (Tensor<2>, TextTrace) {
        let (features, trace) = clip.text.forward_traced(&self.prompts, context);
        (self.and_fixed(features), trace)
    }

    /// Gradient at the context from the gradient at the embeddings; `None` stands for the trace of the start.
    ///
    /// Shapes: `[class, embed] -> [context, width]`.
    pub fn pullback(
        &self,
        clip: &Clip,
        trace: Option<&TextTrace>,
        gradient: Tensor<2>,
    ) -> Tensor<2> {
        // Texts without context pull at none.
        let gradient = gradient.narrow(0, 0, self.prompts.n_classes());
        clip.text.pullback(&self.prompts, trace.unwrap_or(&self.start_trace), gradient)
    }
}
