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

/// What says how unsure a view is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertainty {
    /// Shannon's entropy.
    #[default]
    Shannon,
    /// Tsallis's entropy of this order, `(1 - sum_c p_c^q) / (q - 1)`: above 1 the likely classes
    /// count for more than with Shannon's, below 1 for less; order 1 is Shannon's.
    ///
    /// Source: Tsallis, *Possible Generalization of Boltzmann-Gibbs Statistics* (1988), equation 1.
    Tsallis(f64),
}

impl Uncertainty {
    /// Checks the order.
    ///
    /// # Errors
    ///
    /// If it is not above 0.
    pub fn check(self) -> Result<(), MethodError> {
        match self {
            Self::Shannon => Ok(()),
            Self::Tsallis(order) => settings::positive("tsallis", order),
        }
    }

    /// Of each view. Shapes: `[view, class] -> [view]`.
    pub fn of(self, logits: Tensor<2>) -> Tensor<1> {
        match self {
            Self::Tsallis(order) if order != 1.0 => {
                let powers = (log_softmax(logits, 1) * order).exp();
                (powers.sum_dim(1) - 1.0).squeeze_dim::<1>(1) / (1.0 - order)
            }
            _ => entropies(logits),
        }
    }
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
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn tsallis_entropies_are_those_computed_by_hand_and_order_1_is_shannons() {
        let distribution = [0.5f32, 0.25, 0.125, 0.125];
        let logits = Tensor::<2>::from_data([distribution.map(f32::ln)], &Device::flex());
        let value = |uncertainty: Uncertainty| {
            let values = uncertainty.of(logits.clone()).into_data();
            values.try_into_vec::<f32>().expect("numbers in single precision")[0]
        };
        let near = |actual: f32, expected: f32| {
            assert!((actual - expected).abs() < 1e-5, "{actual} {expected}");
        };
        near(value(Uncertainty::Tsallis(2.0)), 1.0 - 0.34375);
        let roots: f32 = distribution.iter().map(|p| p.sqrt()).sum();
        near(value(Uncertainty::Tsallis(0.5)), 2.0 * (roots - 1.0));
        near(value(Uncertainty::Shannon), 1.75 * 2f32.ln());
        assert_eq!(value(Uncertainty::Tsallis(1.0)), value(Uncertainty::Shannon));
        assert!((value(Uncertainty::Tsallis(1.01)) - value(Uncertainty::Shannon)).abs() < 0.02);
        for order in [0.0, -1.0, f64::NAN] {
            assert!(Uncertainty::Tsallis(order).check().is_err());
        }
    }

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
