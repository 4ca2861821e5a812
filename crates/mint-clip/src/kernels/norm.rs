//! Layer normalisation.

use burn::tensor::Tensor;

use super::vector::{dot, sum, vectorized};
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
    let mut output = Vec::with_capacity(rows * width);
    let mut normalized = Vec::with_capacity(rows * width);
    let mut inverse_std = Vec::with_capacity(rows);
    vectorized(|| {
        for row in x.values().chunks_exact(width) {
            let mean = sum(row) / width as f32;
            let start = normalized.len();
            normalized.extend(row.iter().map(|value| value - mean));
            let centered = &mut normalized[start..];
            let variance = dot(centered, centered) / width as f32;
            let inverse = 1.0 / (variance + LAYER_NORM_EPSILON as f32).sqrt();
            for value in centered.iter_mut() {
                *value *= inverse;
            }
            let parts = centered.iter().zip(weight).zip(bias);
            output.extend(parts.map(|((value, weight), bias)| value * weight + bias));
            inverse_std.push(inverse);
        }
    });
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
    let mut result = Vec::with_capacity(gradient.values().len());
    let mut scaled = vec![0.0; width];
    vectorized(|| {
        let rows = gradient.values().chunks_exact(width);
        let rows = rows.zip(normalized.values().chunks_exact(width)).zip(inverse_std.values());
        for ((gradient, normalized), inverse) in rows {
            for ((scaled, gradient), weight) in scaled.iter_mut().zip(gradient).zip(weight) {
                *scaled = gradient * weight;
            }
            let mean = sum(&scaled) / width as f32;
            let projection = dot(&scaled, normalized) / width as f32;
            let pairs = scaled.iter().zip(normalized);
            result.extend(
                pairs.map(|(scaled, value)| (scaled - mean - value * projection) * inverse),
            );
        }
    });
    Some(tensor(result, shape))
}
