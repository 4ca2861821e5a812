//! What methods say about an image, and how it is read back from the device.

use burn::tensor::Tensor;

use crate::error::MethodError;

/// What a method says about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// A score per class, the higher the better.
    pub scores: Vec<f32>,
    /// What the scores are.
    pub kind: ScoreKind,
    /// What happened while adapting; empty for methods that do not adapt.
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
    /// Numbers of votes; their shares are not probabilities.
    Votes,
}

impl std::fmt::Display for ScoreKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Logits => "logits",
            Self::Votes => "votes",
        })
    }
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
    Ok(mint_clip::read(values)?)
}
