//! Products with the weights of frozen linear layers.

use burn::tensor::Tensor;
use multiversion::multiversion;

use super::activation::add_and_activate;
use super::matrix::{Matrix, MatrixMut, Update, multiply, product};
use super::{CpuTensor, tensor};
use crate::config::Activation;

/// `x w + bias`. Shapes: `[batch, token, in]`, `[in, out]`, `[out]`.
pub fn linear(x: &Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Option<Tensor<3>> {
    let [batch, tokens, _] = x.dims();
    let [inner, outer] = weight.dims();
    let (x, weight) = (CpuTensor::new(x.clone())?, CpuTensor::new(weight)?);
    let rows = Matrix::new(x.values(), [batch * tokens, inner]);
    let weight = Matrix::new(weight.values(), [inner, outer]);
    let values = match bias {
        None => product(rows, weight),
        Some(bias) => {
            let mut values = CpuTensor::new(bias)?.values().repeat(batch * tokens);
            multiply(MatrixMut::strided(&mut values, outer), Update::Add, rows, weight);
            values
        }
    };
    Some(tensor(values, [batch, tokens, outer]))
}

/// The activation of `x w + bias`. Shapes: those of [`linear`].
pub fn linear_activated(
    x: &Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    activation: Activation,
) -> Option<Tensor<3>> {
    if activation != Activation::QuickGelu {
        return None;
    }
    let [batch, tokens, _] = x.dims();
    let [inner, outer] = weight.dims();
    let x = CpuTensor::new(x.clone())?;
    let (weight, bias) = (CpuTensor::new(weight)?, CpuTensor::new(bias)?);
    let rows = Matrix::new(x.values(), [batch * tokens, inner]);
    let mut values = product(rows, Matrix::new(weight.values(), [inner, outer]));
    add_and_activate(&mut values, bias.values());
    Some(tensor(values, [batch, tokens, outer]))
}

/// `residual + x w + bias`, in the residual's memory unless others share it.
///
/// Shapes: those of [`linear`], residual `[batch, token, out]`. The error returns the residual.
#[expect(clippy::result_large_err, reason = "the error is the tensor that was given")]
pub fn linear_added(
    residual: Tensor<3>,
    x: &Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Result<Tensor<3>, Tensor<3>> {
    let shape = residual.dims();
    let [inner, outer] = weight.dims();
    let operands = (CpuTensor::new(x.clone()), CpuTensor::new(weight), CpuTensor::new(bias));
    let (Some(x), Some(weight), Some(bias)) = operands else { return Err(residual) };
    let shared = residual.clone();
    let Some(own) = CpuTensor::new(residual) else { return Err(shared) };
    drop(shared);
    let mut values = own.into_values();
    add_to_rows(&mut values, bias.values());
    let rows = Matrix::new(x.values(), [values.len() / outer, inner]);
    let weight = Matrix::new(weight.values(), [inner, outer]);
    multiply(MatrixMut::strided(&mut values, outer), Update::Add, rows, weight);
    Ok(tensor(values, shape))
}

/// The gradient at `x` of [`linear`]: `gradient w^T`. Shape: `[batch, token, out]`.
pub fn linear_pullback(weight: Tensor<2>, gradient: &Tensor<3>) -> Option<Tensor<3>> {
    let [batch, tokens, _] = gradient.dims();
    let [inner, outer] = weight.dims();
    let (weight, gradient) = (CpuTensor::new(weight)?, CpuTensor::new(gradient.clone())?);
    let rows = Matrix::new(gradient.values(), [batch * tokens, outer]);
    let values = product(rows, Matrix::new(weight.values(), [inner, outer]).transposed());
    Some(tensor(values, [batch, tokens, inner]))
}

#[multiversion(targets = "simd")]
fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}
