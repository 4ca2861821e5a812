//! Which views are trusted: those whose class distribution has the lowest entropy.
//!
//! Source: Shu et al., *Test-Time Prompt Tuning* (2022), section 3.2.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::ordering;

/// Entropy of each view's class distribution, in nats. Shapes: `[view, class] -> [view]`.
///
/// Computed in log space, so that probabilities that underflow count as 0.
pub fn entropies(logits: Tensor<2>) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let terms = log_probabilities.clone().exp() * log_probabilities;
    -terms.sum_dim(1).squeeze_dim::<1>(1)
}

/// How many of `views` views are the most confident `share`: the product, truncated.
pub fn confident_count(views: usize, share: f64) -> usize {
    (views as f64 * share) as usize
}

/// Indices of the `count` views of lowest entropy, lowest first; ties go to the earlier view.
///
/// Shapes: `[view, class] -> [count]`.
pub fn confident_views(logits: Tensor<2>, count: usize) -> Tensor<1, Int> {
    ordering::smallest(entropies(logits), count)
}
