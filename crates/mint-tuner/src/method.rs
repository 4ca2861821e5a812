//! The seam between methods and evaluation: views in, class scores and what happened out.

use crate::class_set::ClassSet;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Remembers};
use crate::outcome::Outcome;
use crate::pending::Pending;
use crate::trace::Trace;

/// A way to classify images with a frozen CLIP.
///
/// To write one, implement [`Method::view_demand`] and [`Method::run`]; a method that learns from
/// the images before implements [`Remembers`] too. To use one, call [`Method::classify`] for each
/// image, and [`Method::next_test_set`] before the images of another test set.
pub trait Method {
    /// How many of an image's views the method looks at; official code may have a rule for each set.
    fn view_demand(&self, classes: &ClassSet<'_>) -> ViewDemand;

    /// Whether the method looks at pixels; `false` if the embeddings of the views are enough, which
    /// may then come from a cache.
    fn needs_pixels(&self) -> bool {
        true
    }

    /// The method itself: scores of one image among `classes`. When this returns, the method has
    /// learned from the image.
    ///
    /// # Errors
    ///
    /// If the classes or views do not fit the configuration, or the device fails.
    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError>;

    /// Makes what the method needs of the classes, which otherwise happens with the first image.
    ///
    /// # Errors
    ///
    /// If the classes do not fit, as when a prompt is too long for the model.
    fn prepare(&self, _classes: &ClassSet<'_>) -> Result<(), MethodError> {
        Ok(())
    }

    /// What the method carries from image to image; `None` if it carries nothing.
    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        None
    }

    /// Classifies one image; where the device works on its own, the result may be read later.
    ///
    /// # Errors
    ///
    /// Those of [`Method::run`].
    fn launch(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        if let Some(memory) = self.remembers()
            && memory.lifetime() == Lifetime::Image
        {
            memory.forget();
        }
        self.run(classes, views)
    }

    /// [`Method::launch`] for several images, in their order; for each its own success. What is said of
    /// an image does not depend on the company that it is launched in.
    fn launch_each(
        &mut self,
        classes: &ClassSet<'_>,
        images: &[ImageViews<'_>],
    ) -> Vec<Result<Pending, MethodError>> {
        images.iter().map(|views| self.launch(classes, views)).collect()
    }

    /// Classifies one image and waits for the result.
    ///
    /// # Errors
    ///
    /// Those of [`Method::run`], and if scores or losses are not finite.
    fn classify(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Outcome, MethodError> {
        self.launch(classes, views)?.read()
    }

    /// [`Method::classify`], and what happened on the way: the same answer, and the same memory of
    /// the image. A method says what happened through [`ImageViews::trace`].
    ///
    /// # Errors
    ///
    /// Those of [`Method::classify`].
    fn explain(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<(Outcome, Trace), MethodError> {
        views.begin_trace();
        let outcome = self.classify(classes, views);
        let mut trace = views.end_trace();
        let outcome = outcome?;
        if !trace.scores.is_empty() {
            trace.scores.push(outcome.scores.clone());
        }
        Ok((outcome, trace))
    }

    /// Forgets what does not last beyond a test set.
    fn next_test_set(&mut self) {
        let Some(memory) = self.remembers() else { return };
        if memory.lifetime() == Lifetime::Run {
            memory.discard_batch();
        } else {
            memory.forget();
        }
    }
}

/// How many views of an image a method looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewDemand {
    /// The clean view alone.
    Clean,
    /// All views that were asked for.
    All,
}
