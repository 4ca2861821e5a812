//! Layer normalisation.

use burn::tensor::Tensor;
use multiversion::multiversion;

use super::vector::{dot, sum};
use super::{CpuTensor, tensor};
use crate::config::LAYER_NORM_EPSILON;

/// The output, `(x - mean) / std`, and `1 / std`. Shapes: `[batch, token, width]` twice, then
/// `[batch, token, 1]`.
pub fn norm_traced(
    x: &Tensor<3>,
    weight: Tensor<1>,
    bias: Tensor<1>,
) -> Option<(Tensor<3>, Tensor<3>, Tensor<3>)> {
    let [batch, tokens, width] = x.dims();
    let x = CpuTensor::new(x.clone())?;
    let (weight, bias) = (CpuTensor::new(weight)?, CpuTensor::new(bias)?);
    let (weight, bias) = (weight.values(), bias.values());
    let rows = batch * tokens;
    let (mut output, mut normalized) = (vec![0.0; rows * width], vec![0.0; rows * width]);
    let mut inverse_std = vec![0.0; rows];
    let each = x.values().chunks_exact(width).zip(output.chunks_exact_mut(width));
    let each = each.zip(normalized.chunks_exact_mut(width)).zip(&mut inverse_std);
    for (((x, output), normalized), inverse_std) in each {
        *inverse_std = norm_row(x, weight, bias, normalized, output);
    }
    let shape = [batch, tokens, width];
    Some((
        tensor(output, shape),
        tensor(normalized, shape),
        tensor(inverse_std, [batch, tokens, 1]),
    ))
}

/// The gradient at the input, from what [`norm_traced`] gave and the gradient at the output.
pub fn norm_pullback(
    normalized: &Tensor<3>,
    inverse_std: &Tensor<3>,
    weight: Tensor<1>,
    gradient: &Tensor<3>,
) -> Option<Tensor<3>> {
    let shape @ [_, _, width] = gradient.dims();
    let normalized = CpuTensor::new(normalized.clone())?;
    let inverse_std = CpuTensor::new(inverse_std.clone())?;
    let (weight, gradient) = (CpuTensor::new(weight)?, CpuTensor::new(gradient.clone())?);
    let weight = weight.values();
    let mut result = vec![0.0; gradient.values().len()];
    let each = gradient.values().chunks_exact(width).zip(normalized.values().chunks_exact(width));
    let each = each.zip(inverse_std.values()).zip(result.chunks_exact_mut(width));
    for (((gradient, normalized), inverse), result) in each {
        pull_row(gradient, weight, normalized, *inverse, result);
    }
    Some(tensor(result, shape))
}

/// Gives `1 / std`.
#[multiversion(targets = "simd")]
fn norm_row(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    normalized: &mut [f32],
    output: &mut [f32],
) -> f32 {
    let mean = sum(x) / x.len() as f32;
    for (centered, x) in normalized.iter_mut().zip(x) {
        *centered = x - mean;
    }
    let variance = dot(normalized, normalized) / x.len() as f32;
    let inverse = 1.0 / (variance + LAYER_NORM_EPSILON as f32).sqrt();
    let parameters = weight.iter().zip(bias);
    for ((value, output), (weight, bias)) in normalized.iter_mut().zip(output).zip(parameters) {
        *value *= inverse;
        *output = *value * weight + bias;
    }
    inverse
}

#[multiversion(targets = "simd")]
fn pull_row(
    gradient: &[f32],
    weight: &[f32],
    normalized: &[f32],
    inverse: f32,
    result: &mut [f32],
) {
    for ((scaled, gradient), weight) in result.iter_mut().zip(gradient).zip(weight) {
        *scaled = gradient * weight;
    }
    let mean = sum(result) / result.len() as f32;
    let projection = dot(result, normalized) / result.len() as f32;
    for (scaled, value) in result.iter_mut().zip(normalized) {
        *scaled = (*scaled - mean - value * projection) * inverse;
    }
}
