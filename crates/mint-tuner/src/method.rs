//! The seam between methods and evaluation: views in, class scores and what happened out.

use burn::tensor::Device;

use crate::class_set::ClassSet;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory};
use crate::outcome::Outcome;
use crate::pending::Pending;

/// A way to classify images with a frozen CLIP.
pub trait Method {
    /// How many of an image's views the method looks at.
    fn view_demand(&self) -> ViewDemand;

    /// Prepares for the classes of a test set. What a method remembers of earlier sets follows
    /// from its configuration.
    fn start_test_set(&mut self, classes: &ClassSet<'_>) -> Result<(), MethodError>;

    /// Classifies one image; where the device works on its own, the result may be read later. The
    /// method has learned from the image when this returns.
    fn launch(&mut self, views: &ImageViews<'_>) -> Result<Pending, MethodError>;

    /// Classifies one image and waits for the result.
    fn classify(&mut self, views: &ImageViews<'_>) -> Result<Outcome, MethodError> {
        self.launch(views)?.read()
    }

    /// How long the method remembers; nothing if each image is the first to it.
    fn memory_lifetime(&self) -> Option<Lifetime> {
        None
    }

    /// Whether a run that is broken off may go on from here; not within a batch of images.
    fn can_be_interrupted(&self) -> bool {
        true
    }

    /// What the method carries from image to image; nothing if it carries nothing.
    fn memory(&self) -> Result<Option<Memory>, MethodError> {
        Ok(None)
    }

    /// Goes on from what [`Method::memory`] gave earlier.
    fn restore(&mut self, _memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        Ok(())
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
