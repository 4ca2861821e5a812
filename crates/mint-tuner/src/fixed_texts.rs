//! Texts that do not change while images are classified.

use crate::class_set::{ClassSet, TextFeatures};
use crate::class_texts::ClassTexts;
use crate::error::MethodError;

/// Fixed texts and, once a test set was started, their embeddings.
#[derive(Debug)]
pub(crate) struct FixedTexts {
    texts: ClassTexts,
    features: Option<TextFeatures>,
}

impl FixedTexts {
    pub(crate) fn new(texts: ClassTexts) -> Self {
        Self { texts, features: None }
    }

    /// Embeds the texts of a test set's classes.
    pub(crate) fn start(&mut self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.features = Some(classes.features(&self.texts)?);
        Ok(())
    }

    /// The embeddings.
    pub(crate) fn features(&self) -> &TextFeatures {
        self.features.as_ref().expect("a test set was started")
    }
}
