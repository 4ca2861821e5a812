//! Classifications whose numbers may still be on their way from the device.

use burn::tensor::Tensor;

use crate::error::MethodError;
use crate::outcome::{Outcome, StepSummary, read_scores, read_unchecked};

/// What a method will say about an image once its numbers are read.
///
/// Devices other than the CPU compute on their own: reading waits for them, so whoever launches the
/// next image before reading keeps them busy.
pub struct Pending(Box<dyn FnOnce() -> Result<Outcome, MethodError>>);

impl Pending {
    /// What is known already.
    pub fn ready(outcome: Outcome) -> Self {
        Self::later(|| Ok(outcome))
    }

    /// What `read` makes of tensors.
    pub fn later(read: impl FnOnce() -> Result<Outcome, MethodError> + 'static) -> Self {
        Self(Box::new(read))
    }

    /// Logits of view 0. Shape: `[1, class]`.
    pub fn logits(logits: Tensor<2>) -> Self {
        Self::adapted(logits, Vec::new())
    }

    /// Logits of view 0 `[1, class]`, and loss and entropy `[1]` of each step.
    pub fn adapted(logits: Tensor<2>, steps: Vec<[Tensor<1>; 2]>) -> Self {
        Self::later(|| {
            let summary = |(step, [loss, entropy]): (usize, [Tensor<1>; 2])| {
                StepSummary::new(step, read_unchecked(loss)?[0], read_unchecked(entropy)?[0])
            };
            let steps: Vec<StepSummary> =
                (1..).zip(steps).map(summary).collect::<Result<_, _>>()?;
            let scores = read_scores(logits).map_err(|error| error.after_steps(steps.len()))?;
            Ok(Outcome { steps, ..Outcome::logits(scores) })
        })
    }

    /// Waits for the numbers.
    ///
    /// # Errors
    ///
    /// If the device fails, or scores or losses are not finite.
    pub fn read(self) -> Result<Outcome, MethodError> {
        (self.0)()
    }
}
