//! The MLP's activation and its derivative.

use burn::tensor::Tensor;
use multiversion::multiversion;

use super::vector::exp;
use super::{CpuTensor, tensor};
use crate::config::{Activation, QUICK_GELU};

/// The activation of each value; `None` if it is not one of those here, or not on the CPU.
pub fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    if activation != Activation::QuickGelu {
        return None;
    }
    let shape = x.dims();
    let x = CpuTensor::new(x.clone())?;
    let mut values = vec![0.0; x.values().len()];
    quick_gelu_each(x.values(), &mut values);
    Some(tensor(values, shape))
}

/// The gradient at the input: `gradient * derivative(x)`.
pub fn activate_pullback<const D: usize>(
    activation: Activation,
    x: &Tensor<D>,
    gradient: &Tensor<D>,
) -> Option<Tensor<D>> {
    if activation != Activation::QuickGelu {
        return None;
    }
    let shape = x.dims();
    let (x, gradient) = (CpuTensor::new(x.clone())?, CpuTensor::new(gradient.clone())?);
    let mut values = vec![0.0; x.values().len()];
    quick_gelu_pullback_each(x.values(), gradient.values(), &mut values);
    Some(tensor(values, shape))
}

/// Adds a bias to each row and applies QuickGELU, in place.
#[multiversion(targets = "simd")]
pub(super) fn add_and_activate(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value = quick_gelu(*value + bias);
        }
    }
}

#[multiversion(targets = "simd")]
fn quick_gelu_each(x: &[f32], results: &mut [f32]) {
    for (result, x) in results.iter_mut().zip(x) {
        *result = quick_gelu(*x);
    }
}

#[multiversion(targets = "simd")]
fn quick_gelu_pullback_each(x: &[f32], gradient: &[f32], results: &mut [f32]) {
    for ((result, x), gradient) in results.iter_mut().zip(x).zip(gradient) {
        let gate = gate(*x);
        *result = gradient * gate * (1.0 + QUICK_GELU as f32 * x * (1.0 - gate));
    }
}

/// `x * sigmoid(1.702 x)`
#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x * gate(x)
}

/// `sigmoid(1.702 x)`
#[inline(always)]
fn gate(x: f32) -> f32 {
    1.0 / (1.0 + exp(-(QUICK_GELU as f32) * x))
}
