//! The seam between methods and evaluation: views in, class scores and what happened out.

use burn::tensor::Tensor;
use mint_clip::tokenizer::TokenizerError;
use mint_clip::{Clip, Tokenizer};

use crate::image_views::ImageViews;
use crate::memory_bank::MemoryBank;

/// A way to classify images with a frozen CLIP.
pub trait Method {
    /// The name used on the command line and in tables.
    fn name(&self) -> &'static str;

    /// How many of an image's views the method looks at.
    fn view_demand(&self) -> ViewDemand;

    /// Prepares for the classes of a test set. What a method remembers of earlier sets follows
    /// from its configuration.
    fn start_test_set(
        &mut self,
        clip: &Clip,
        tokenizer: &Tokenizer,
        class_names: &[String],
    ) -> Result<(), MethodError>;

    /// Classifies one image.
    fn classify(&mut self, views: &ImageViews<'_>) -> Result<Outcome, MethodError>;

    /// What the method carries from image to image; nothing if it does not remember.
    fn memory(&self) -> Option<&MemoryBank> {
        None
    }

    /// Goes on from what [`Method::memory`] gave earlier.
    fn restore(&mut self, _memory: MemoryBank) {}
}

/// How many views of an image a method looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewDemand {
    /// The clean view alone.
    Clean,
    /// All views that were asked for.
    All,
}

/// What a method says about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A score for each class, the higher the better. Logits, for the methods here.
    pub scores: Vec<f32>,
    /// What happened while adapting; nothing for methods that do not adapt.
    pub steps: Vec<StepSummary>,
}

/// One step of adaptation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSummary {
    /// The value that was minimised.
    pub loss: f32,
    /// Its entropy term, in nats.
    pub entropy: f32,
}

/// Why a method cannot run.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A class name does not fit into the model's context.
    #[error("a class prompt cannot be made")]
    Prompt(#[from] TokenizerError),
    /// The configuration does not fit the model or the views.
    #[error("{0}")]
    Config(String),
    /// The device failed.
    #[error("the device could not deliver a result: {0}")]
    Device(String),
}

/// Scores of view 0 from logits `[1, class]`.
pub(crate) fn read_scores(logits: Tensor<2>) -> Result<Vec<f32>, MethodError> {
    logits.try_into_vec_as::<f32>().map_err(|error| MethodError::Device(format!("{error:?}")))
}
