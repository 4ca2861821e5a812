//! Layer normalisation over the last axis, with the pullback that frozen blocks need.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::layer_norm;

use crate::config::LAYER_NORM_EPSILON;
use crate::kernels;
use crate::precision::{in_single, to_dtype};

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Gain. Shape: `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Offset. Shape: `[width]`.
    pub bias: Param<Tensor<1>>,
}

/// What [`LayerNorm::pullback`] needs of the forward pass.
#[derive(Debug, Clone)]
pub struct NormTrace {
    /// `(x - mean) / std`. Shape: that of the input.
    normalized: Tensor<3>,
    /// `1 / std`. Shape: `[batch, token, 1]`.
    inverse_std: Tensor<3>,
}

impl LayerNorm {
    /// Shape of input and output: `[..., width]`. Computed in single precision.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let (weight, bias) = (self.weight.val(), Some(self.bias.val()));
        to_dtype(layer_norm(in_single(x), weight, bias, LAYER_NORM_EPSILON), dtype)
    }

    /// [`LayerNorm::forward`], keeping what the pullback needs. Shapes: `[batch, token, width]`.
    pub fn forward_traced(&self, x: Tensor<3>) -> (Tensor<3>, NormTrace) {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if let Some((output, normalized, inverse_std)) = kernels::norm_traced(&x, weight, bias) {
            return (output, NormTrace { normalized, inverse_std });
        }
        let dtype = x.dtype();
        let x = in_single(x);
        let mean = x.clone().mean_dim(2);
        let centered = x - mean;
        let variance = centered.clone().square().mean_dim(2);
        let inverse_std = (variance + LAYER_NORM_EPSILON).sqrt().recip();
        let normalized = centered * inverse_std.clone();
        let output =
            normalized.clone() * self.weight.val().unsqueeze() + self.bias.val().unsqueeze();
        (to_dtype(output, dtype), NormTrace { normalized, inverse_std })
    }

    /// Gradient at gain and offset from the gradient at the output.
    ///
    /// Shapes: `[batch, token, width] -> [2, width]`.
    pub fn parameter_pullback(&self, trace: &NormTrace, gradient: Tensor<3>) -> Tensor<2> {
        let [batch, tokens, width] = gradient.dims();
        let gradient = in_single(gradient);
        let sum = |x: Tensor<3>| x.reshape([batch * tokens, width]).sum_dim(0);
        let weight = sum(gradient.clone() * trace.normalized.clone());
        Tensor::cat(vec![weight, sum(gradient)], 0)
    }

    /// Gradient at the input from the gradient at the output. Shapes: `[batch, token, width]`.
    pub fn pullback(&self, trace: &NormTrace, gradient: Tensor<3>) -> Tensor<3> {
        let NormTrace { normalized, inverse_std } = trace.clone();
        let weight = self.weight.val();
        let fused = kernels::norm_pullback(&normalized, &inverse_std, weight, &gradient);
        if let Some(gradient) = fused {
            return gradient;
        }
        let dtype = gradient.dtype();
        let scaled = in_single(gradient) * self.weight.val().unsqueeze();
        let mean = scaled.clone().mean_dim(2);
        let projection = (scaled.clone() * normalized.clone()).mean_dim(2);
        to_dtype((scaled - mean - normalized * projection) * inverse_std, dtype)
    }
}
