//! Zero-shot classification of the clean view: CLIP with one template, with an ensemble of
//! templates, and CoOp's trained context.

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;

/// Compares view 0 with fixed texts.
#[derive(Debug)]
pub struct ZeroShot {
    texts: ClassTexts,
}

impl ZeroShot {
    /// With these texts.
    pub fn new(texts: ClassTexts) -> Self {
        Self { texts }
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

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        classes.features(&self.texts).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let features = classes.features(&self.texts)?.tensor();
        let logits = views.clip().logits(views.clean_embedding(), features);
        Ok(Pending::logits(logits))
    }
}
