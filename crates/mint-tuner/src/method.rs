//! The seam between methods and evaluation: views in, class scores and what happened out.

use burn::tensor::{Device, Tensor};
use mint_clip::tokenizer::TokenizerError;

use crate::class_set::ClassSet;
use crate::config::Lifetime;
use crate::image_views::ImageViews;
use crate::memory::Memory;
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

/// What a method says about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A score for each class, the higher the better.
    pub scores: Vec<f32>,
    /// What the scores are.
    pub kind: ScoreKind,
    /// What happened while adapting; nothing for methods that do not adapt.
    pub steps: Vec<StepSummary>,
}

impl Outcome {
    /// Logits, without steps.
    pub fn logits(scores: Vec<f32>) -> Self {
        Self { scores, kind: ScoreKind::Logits, steps: Vec::new() }
    }

    /// Votes, without steps.
    pub fn votes(scores: Vec<f32>) -> Self {
        Self { scores, kind: ScoreKind::Votes, steps: Vec::new() }
    }
}

/// What scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreKind {
    /// Their softmax is the method's class distribution.
    Logits,
    /// Numbers of votes; their shares are no probabilities.
    Votes,
}

/// One step of adaptation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSummary {
    /// The value that was minimised.
    pub loss: f32,
    /// Its entropy term, in nats.
    pub entropy: f32,
}

impl StepSummary {
    /// Checks the values of the step with this number, counted from 1.
    pub(crate) fn new(step: usize, loss: f32, entropy: f32) -> Result<Self, MethodError> {
        if loss.is_finite() && entropy.is_finite() {
            return Ok(Self { loss, entropy });
        }
        Err(MethodError::Diverged { step })
    }
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
    /// A memory that was saved cannot be used.
    #[error("the saved memory has no usable `{0}`")]
    Memory(String),
    /// Adaptation led to numbers that are not finite.
    #[error("the adaptation diverged at step {step}; lower `learning-rate`")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
    },
    /// The model's own numbers are not finite.
    #[error(
        "the model gives scores that are not finite numbers; are the weights and prompts damaged?"
    )]
    NotFinite,
    /// The device failed.
    #[error("the device could not deliver a result: {0}")]
    Device(String),
}

impl MethodError {
    /// Scores that are not finite are the fault of the steps before them, if there were any.
    pub(crate) fn after_steps(self, steps: usize) -> Self {
        match self {
            Self::NotFinite if steps > 0 => Self::Diverged { step: steps },
            other => other,
        }
    }

    /// What the device reports.
    pub(crate) fn device(error: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{error:?}"))
    }
}

/// Scores of view 0 from logits `[1, class]`.
pub(crate) fn read_scores(logits: Tensor<2>) -> Result<Vec<f32>, MethodError> {
    read_vector(logits.squeeze_dim(0))
}

/// Reads values back from the device; an error if one is not finite.
pub(crate) fn read_vector(values: Tensor<1>) -> Result<Vec<f32>, MethodError> {
    let values = read_unchecked(values)?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(MethodError::NotFinite)
    }
}

/// Reads values back from the device, whatever they are.
pub(crate) fn read_unchecked(values: Tensor<1>) -> Result<Vec<f32>, MethodError> {
    values.try_into_vec_as::<f32>().map_err(MethodError::device)
}
