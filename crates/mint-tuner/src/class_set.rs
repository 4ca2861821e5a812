//! The classes of a test set, and what methods have made of their names.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::{Clip, Tokenizer};

use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::prompt_learner::PromptLearner;

/// The classes of a test set on a model. Texts that several methods compare images with are
/// embedded once, when first asked for.
pub struct ClassSet<'a> {
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    names: &'a [String],
    features: RefCell<Vec<(ClassTexts, TextFeatures)>>,
    learners: RefCell<Vec<Arc<PromptLearner>>>,
}

/// Embeddings of the classes' texts, normalised, which methods share.
#[derive(Debug, Clone)]
pub struct TextFeatures(Arc<Tensor<2>>);

impl<'a> ClassSet<'a> {
    /// The classes with these names.
    pub fn new(clip: &'a Clip, tokenizer: &'a Tokenizer, names: &'a [String]) -> Self {
        Self { clip, tokenizer, names, features: RefCell::default(), learners: RefCell::default() }
    }

    /// The model.
    pub fn clip(&self) -> &'a Clip {
        self.clip
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Names of the classes.
    pub fn names(&self) -> &'a [String] {
        self.names
    }

    /// The embeddings of fixed texts.
    pub fn features(&self, texts: &ClassTexts) -> Result<TextFeatures, MethodError> {
        let mut known = self.features.borrow_mut();
        if let Some((_, features)) = known.iter().find(|(other, _)| other.is_same(texts)) {
            return Ok(features.clone());
        }
        let features = texts.features(self.clip, self.tokenizer, self.names)?;
        let features = TextFeatures(Arc::new(features));
        known.push((texts.clone(), features.clone()));
        Ok(features)
    }

    /// Learned prompts that start from the context `[context, width]`.
    pub fn learner(&self, start: &Tensor<2>) -> Result<Arc<PromptLearner>, MethodError> {
        let mut known = self.learners.borrow_mut();
        let data = start.to_data();
        if let Some(learner) = known.iter().find(|learner| learner.start().to_data() == data) {
            return Ok(learner.clone());
        }
        let learner = PromptLearner::new(self.clip, self.tokenizer, self.names, start.clone())?;
        let learner = Arc::new(learner);
        known.push(learner.clone());
        Ok(learner)
    }
}

impl TextFeatures {
    /// Shape: `[class, embed]`.
    pub fn tensor(&self) -> Tensor<2> {
        Tensor::clone(&self.0)
    }

    /// Whether both were embedded by the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
