//! Frozen linear layers.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{DType, Tensor};

use crate::config::Activation;
use crate::kernels;
use crate::precision::to_dtype;

/// A linear layer from its weight `[in, out]` and bias `[out]`.
pub(crate) fn frozen_linear(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Linear {
    Linear { weight: Param::from_tensor(weight), bias: bias.map(Param::from_tensor) }
}

/// The layer with numbers of another type.
pub(crate) fn cast(layer: Linear, dtype: DType) -> Linear {
    Linear {
        weight: Param::from_tensor(to_dtype(layer.weight.val(), dtype)),
        bias: layer.bias.map(|bias| Param::from_tensor(to_dtype(bias.val(), dtype))),
    }
}

/// `x w + bias`. Shapes: `[batch, token, in] -> [batch, token, out]`.
pub(crate) fn apply(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    let (weight, bias) = (layer.weight.val(), layer.bias.as_ref().map(Param::val));
    kernels::linear(&x, weight, bias).unwrap_or_else(|| layer.forward(x))
}

/// The activation of a layer's output. The layer has a bias. Shapes: those of [`apply`].
pub(crate) fn apply_activated(layer: &Linear, x: Tensor<3>, activation: Activation) -> Tensor<3> {
    kernels::linear_activated(&x, layer.weight.val(), bias(layer), activation)
        .unwrap_or_else(|| activation.forward(apply(layer, x)))
}

/// `residual` and a layer's output. The layer has a bias. Shapes: those of [`apply`].
pub(crate) fn apply_added(residual: Tensor<3>, layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    kernels::linear_added(residual, &x, layer.weight.val(), bias(layer))
        .unwrap_or_else(|residual| residual + apply(layer, x))
}

fn bias(layer: &Linear) -> Tensor<1> {
    layer.bias.as_ref().expect("layers of a block have a bias").val()
}

/// Gradient at a linear layer's input from the gradient at its output.
///
/// Shapes: `[batch, token, out] -> [batch, token, in]`.
pub(crate) fn pull_through(layer: &Linear, gradient: Tensor<3>) -> Tensor<3> {
    let weight = layer.weight.val();
    if let Some(result) = kernels::linear_pullback(weight.clone(), &gradient) {
        return result;
    }
    let [batch, tokens, width] = gradient.dims();
    let input_width = weight.dims()[0];
    gradient.reshape([batch * tokens, width]).matmul(weight.transpose()).reshape([
        batch,
        tokens,
        input_width,
    ])
}
