//! Frozen linear layers.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::Tensor;

/// A linear layer from its weight `[in, out]` and bias `[out]`.
pub(crate) fn frozen_linear(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Linear {
    Linear { weight: Param::from_tensor(weight), bias: bias.map(Param::from_tensor) }
}

/// Gradient at a linear layer's input from the gradient at its output.
///
/// Shapes: `[batch, token, out] -> [batch, token, in]`.
pub(crate) fn pull_through(layer: &Linear, gradient: Tensor<3>) -> Tensor<3> {
    let weight = layer.weight.val();
    let [batch, tokens, width] = gradient.dims();
    let input_width = weight.dims()[0];
    gradient.reshape([batch * tokens, width]).matmul(weight.transpose()).reshape([
        batch,
        tokens,
        input_width,
    ])
}
