//! The MLP's activation and its derivative.

use burn::tensor::Tensor;

use super::vector::{exp, vectorized};
use super::{CpuTensor, tensor};
use crate::activation::QUICK_GELU;
use crate::config::Activation;

/// The activation of each value; nothing if it is not one of those here, or not on the CPU.
pub fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    if activation != Activation::QuickGelu {
        return None;
    }
    let shape = x.dims();
    let x = CpuTensor::new(x.clone())?;
    let values = vectorized(|| x.values().iter().map(|&x| quick_gelu(x)).collect());
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
    let pairs = x.values().iter().zip(gradient.values());
    let values = vectorized(|| {
        pairs
            .map(|(&x, gradient)| {
                let gate = gate(x);
                gradient * gate * (1.0 + QUICK_GELU as f32 * x * (1.0 - gate))
            })
            .collect()
    });
    Some(tensor(values, shape))
}

/// Adds a bias to each row and applies the activation, in place.
pub(super) fn add_and_activate(rows: &mut [f32], bias: &[f32]) {
    vectorized(|| {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value = quick_gelu(*value + bias);
            }
        }
    });
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
