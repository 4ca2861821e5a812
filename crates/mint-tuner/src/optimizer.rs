//! AdamW with PyTorch's settings, one state per tensor.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::MethodError;
use crate::settings;

/// Settings of AdamW. The defaults are those of the official code (and of PyTorch, but for the
/// learning rate).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptimizerConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, relative to the learning rate.
    pub weight_decay: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { learning_rate: 5e-3, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl OptimizerConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a setting is not a number, or out of its range.
    pub fn check(&self) -> Result<(), MethodError> {
        settings::not_negative("learning-rate", self.learning_rate)?;
        settings::decay("betas", self.betas.0)?;
        settings::decay("betas", self.betas.1)?;
        settings::not_negative("epsilon", self.epsilon)?;
        settings::not_negative("weight-decay", self.weight_decay)
    }
}

/// The optimizer of one tensor. A fresh one has no moments.
///
/// Loshchilov and Hutter, *Decoupled Weight Decay Regularization* (2019), algorithm 2, with the
/// operations in PyTorch's order, so that not even the last bit differs from the official runs:
/// adaptation resets the moments for every image, and the first steps divide gradients by their
/// own size, which makes much of little differences. (Burn's AdamW rounds in other places.)
#[derive(Debug, Clone)]
pub struct TensorOptimizer<const D: usize> {
    config: OptimizerConfig,
    moments: Option<(Tensor<D>, Tensor<D>)>,
    steps: i32,
}

impl<const D: usize> TensorOptimizer<D> {
    /// Without moments.
    pub fn new(config: &OptimizerConfig) -> Self {
        Self { config: *config, moments: None, steps: 0 }
    }

    /// The tensor after one step along `gradient`.
    pub fn step(&mut self, tensor: Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
        let OptimizerConfig { learning_rate, betas, epsilon, weight_decay } = self.config;
        let zeros = || gradient.zeros_like();
        let (first, second) = self.moments.take().unwrap_or_else(|| (zeros(), zeros()));
        let first = first.clone() + (gradient.clone() - first) * (1.0 - betas.0);
        let second = second * betas.1 + gradient.square() * (1.0 - betas.1);
        self.moments = Some((first.clone(), second.clone()));
        self.steps += 1;

        let step_size = learning_rate / (1.0 - betas.0.powi(self.steps));
        let correction = (1.0 - betas.1.powi(self.steps)).sqrt();
        let denominator = second.sqrt() / correction + epsilon;
        tensor * (1.0 - learning_rate * weight_decay) - first * step_size / denominator
    }
}
