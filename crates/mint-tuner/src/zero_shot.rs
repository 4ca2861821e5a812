//! Zero-shot classification of the clean view: CLIP with one template, with an ensemble of
//! templates, and CoOp's trained context.

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::fixed_texts::FixedTexts;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;

/// Compares view 0 with fixed texts.
#[derive(Debug)]
pub struct ZeroShot {
    texts: FixedTexts,
}

impl ZeroShot {
    /// With these texts.
    pub fn new(texts: ClassTexts) -> Self {
        Self { texts: FixedTexts::new(texts) }
    }
}

impl Default for ZeroShot {
    /// The published zero-shot row.
    fn default() -> Self {
        Self::new(ClassTexts::default())
    }
}

impl Method for ZeroShot {
    fn view_demand(&self) -> ViewDemand {
        ViewDemand::Clean
    }

    fn start_test_set(&mut self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.texts.start(classes)
    }

    fn launch(&mut self, views: &ImageViews<'_>) -> Result<Pending, MethodError> {
        let features = self.texts.features().tensor();
        let logits = views.clip().logits(views.clean_embedding(), features);
        Ok(Pending::logits(logits))
    }
}
