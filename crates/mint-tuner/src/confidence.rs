//! Which views are trusted: those whose class distribution has the lowest entropy.
//!
//! Source: Shu et al., *Test-Time Prompt Tuning* (2022), section 3.2.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::MethodError;
use crate::ordering;
use crate::settings;

/// Entropy of each view's class distribution, in nats. Shapes: `[view, class] -> [view]`.
///
/// Computed in log space, so that probabilities that underflow count as 0.
pub fn entropies(logits: Tensor<2>) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let terms = log_probabilities.clone().exp() * log_probabilities;
    -terms.sum_dim(1).squeeze_dim::<1>(1)
}

/// The share of an image's views that a method trusts: above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct ConfidentShare(f64);

impl ConfidentShare {
    /// A tenth: the published code of most methods.
    pub const TENTH: Self = Self(0.1);

    /// Three tenths: ZERO's published code.
    pub const THREE_TENTHS: Self = Self(0.3);

    /// # Errors
    ///
    /// If the share is not above 0 and at most 1.
    pub fn new(share: f64) -> Result<Self, MethodError> {
        settings::share("confident-share", share)?;
        Ok(Self(share))
    }

    /// The share as a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// How many of `views` views that is: the product, truncated.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn count(self, views: usize) -> Result<usize, MethodError> {
        match (views as f64 * self.0) as usize {
            0 => Err(MethodError::Config(format!(
                "a confident share of {} chooses none of {views} views; use at least {} views",
                self.0,
                (1.0 / self.0).ceil()
            ))),
            count => Ok(count),
        }
    }
}

impl TryFrom<f64> for ConfidentShare {
    type Error = MethodError;

    fn try_from(share: f64) -> Result<Self, MethodError> {
        Self::new(share)
    }
}

impl From<ConfidentShare> for f64 {
    fn from(share: ConfidentShare) -> f64 {
        share.0
    }
}

/// Indices of the `count` views of lowest entropy, lowest first; ties go to the earlier view.
///
/// Shapes: `[view, class] -> [count]`.
pub fn confident_views(logits: Tensor<2>, count: usize) -> Tensor<1, Int> {
    ordering::smallest(entropies(logits), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_views_is_at_least_one_view() {
        let share = ConfidentShare::TENTH;
        assert!(matches!(share.count(10), Ok(1)));
        let message = share.count(9).expect_err("that is none").to_string();
        assert!(message.ends_with("use at least 10 views"), "{message}");
        assert!(matches!(ConfidentShare::new(1.0).and_then(|all| all.count(7)), Ok(7)));
        for share in [0.0, -0.1, 1.1, f64::NAN] {
            let message = ConfidentShare::new(share).expect_err("refused").to_string();
            assert!(message.starts_with("`confident-share` is"), "{message}");
        }
    }
}
