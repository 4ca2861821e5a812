//! What adaptation minimises.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// Entropy, in nats, of the mean of the views' class distributions.
///
/// `H(1/n sum_i softmax(z_i))`, in log space: with `l_i` the log-probabilities of view `i`,
/// `log p = logsumexp_i(l_i) - log n`. Source: Zhang et al., *MEMO* (2022), equation 3, as Shu et
/// al. (2022) compute it. Shapes: `[view, class] -> [1]`.
pub fn marginal_entropy(logits: Tensor<2>) -> Tensor<1> {
    let [n_views, _] = logits.dims();
    let log_probabilities = log_softmax(logits, 1);
    let largest = log_probabilities.clone().detach().max_dim(0);
    let sum = (log_probabilities - largest.clone()).exp().sum_dim(0);
    let log_mean = largest + sum.log() - (n_views as f64).ln();
    -(log_mean.clone().exp() * log_mean).sum()
}
