//! AugMix (Hendrycks et al., 2020, <https://arxiv.org/abs/1912.02781>): a random mixture of
//! three random chains of operations with the original picture.

use image::RgbImage;
use rand::{Rng, RngExt};
use rand_distr::Exp1;

use crate::operation::Operation;
use crate::pixels::Normalization;

/// Number of chains that are mixed.
pub const CHAINS: usize = 3;
/// Most operations in one chain.
const LONGEST_CHAIN: usize = 3;

/// The distribution of mixtures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugMix {
    /// Upper bound of an operation's level, out of 10.
    pub severity: f64,
}

impl Default for AugMix {
    fn default() -> Self {
        Self { severity: 1.0 }
    }
}

impl AugMix {
    /// Draws the weights and chains for an image of the given width and height.
    pub fn sample(&self, size: (u32, u32), rng: &mut impl Rng) -> Mixture {
        // Dirichlet(1, 1, 1) is three exponential draws over their sum; Beta(1, 1) is uniform.
        let draws: [f64; CHAINS] = std::array::from_fn(|_| rng.sample(Exp1));
        let total: f64 = draws.iter().sum();
        let chain_weights = draws.map(|draw| (draw / total) as f32);
        let original_weight = rng.random::<f64>() as f32;
        let chains = std::array::from_fn(|_| {
            let length = rng.random_range(1..=LONGEST_CHAIN);
            (0..length).map(|_| Operation::sample(self.severity, size, rng)).collect()
        });
        Mixture { original_weight, chain_weights, chains }
    }
}

/// One draw of AugMix.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Share of the original picture, 0 to 1.
    pub original_weight: f32,
    /// Shares of the chains within the rest; they sum to 1.
    pub chain_weights: [f32; CHAINS],
    /// The operations of each chain, in the order in which they are applied.
    pub chains: [Vec<Operation>; CHAINS],
}

impl Mixture {
    /// `m * x + (1 - m) * sum_i w_i * chain_i(x)`, mixed after normalisation.
    ///
    /// Shape: `[channel, row, column]`.
    pub fn apply(&self, image: &RgbImage, normalization: &Normalization) -> Vec<f32> {
        let mut mixed = vec![0.0f32; image.as_raw().len()];
        for (chain, weight) in self.chains.iter().zip(self.chain_weights) {
            let picture =
                chain.iter().fold(image.clone(), |picture, operation| operation.apply(&picture));
            for (sum, sample) in mixed.iter_mut().zip(normalization.planes(&picture)) {
                *sum += weight * sample;
            }
        }
        let share = self.original_weight;
        for (sum, sample) in mixed.iter_mut().zip(normalization.planes(image)) {
            *sum = share * sample + (1.0 - share) * *sum;
        }
        mixed
    }
}
