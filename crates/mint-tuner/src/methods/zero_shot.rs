//! Zero-shot classification of the clean view: CLIP with one template, with an ensemble of
//! templates, and CoOp's trained context.

use std::cell::OnceCell;
use std::rc::Rc;

use burn::tensor::Tensor;

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::outcome::{Outcome, read_unchecked};
use crate::pending::Pending;

/// Images that are compared with the texts at once. Always as many, so that the last bits of an
/// image's logits do not depend on the number of the others.
const AT_ONCE: usize = 128;

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
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
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

    /// As in company, so that an image has the same bits whether it comes alone or with others.
    fn classify(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Outcome, MethodError> {
        let launched = self.launch_each(classes, std::slice::from_ref(views)).pop();
        launched.expect("a result for each image")?.read()
    }

    fn launch_each(
        &mut self,
        classes: &ClassSet<'_>,
        all: &[ImageViews<'_>],
    ) -> Vec<Result<Pending, MethodError>> {
        let mut launched = Vec::with_capacity(all.len());
        for images in all.chunks(AT_ONCE) {
            let features = match classes.features(&self.texts) {
                Ok(features) => features.tensor(),
                // The same error once more for each.
                Err(_) => return all.iter().map(|views| self.launch(classes, views)).collect(),
            };
            let mut embeddings: Vec<_> = images.iter().map(ImageViews::clean_embedding).collect();
            let missing = AT_ONCE - embeddings.len();
            embeddings.extend(vec![embeddings[0].clone(); missing]);
            let logits = images[0].clip().logits(Tensor::cat(embeddings, 0), features);
            let shared = Rc::new(SharedLogits { logits, values: OnceCell::new() });
            launched.extend((0..images.len()).map(|image| {
                let shared = shared.clone();
                Ok(Pending::later(move || shared.of(image)))
            }));
        }
        launched
    }
}

/// Logits of several images, which are read together.
struct SharedLogits {
    /// Shape: `[image, class]`.
    logits: Tensor<2>,
    values: OnceCell<Vec<f32>>,
}

impl SharedLogits {
    fn of(&self, image: usize) -> Result<Outcome, MethodError> {
        let [_, n_classes] = self.logits.dims();
        if self.values.get().is_none() {
            let _ = self.values.set(read_unchecked(self.logits.clone().flatten(0, 1))?);
        }
        let values = self.values.get().map(Vec::as_slice).unwrap_or_default();
        let scores = &values[image * n_classes..][..n_classes];
        if scores.iter().all(|score| score.is_finite()) {
            Ok(Outcome::logits(scores.to_vec()))
        } else {
            Err(MethodError::NotFinite)
        }
    }
}
