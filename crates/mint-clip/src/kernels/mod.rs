//! Operations of a frozen block as single passes over memory, for tensors on the CPU.
//!
//! Burn's own operations compute the same; there each step reads and writes memory of its own, and
//! exponentials are scalar. The functions here take the values out of tensors of the CPU backend
//! ([`CpuTensor`]), through the conversions that Burn has for extensions, and return `None` for
//! tensors on any other device or with a gradient graph, so that callers fall back to Burn's
//! operations. Tests compare both.

mod activation;
mod attention;
mod linear;
mod matrix;
mod norm;
#[cfg(test)]
mod tests;
mod vector;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData};

pub use activation::{activate, activate_pullback};
pub use attention::{AttentionShape, attend, attend_pullback, attend_traced};
pub use linear::{linear, linear_activated, linear_added, linear_pullback};
pub use norm::{norm_pullback, norm_traced};

/// Values of a tensor on the CPU, in row-major order.
pub struct CpuTensor {
    tensor: FloatTensor<Flex>,
}

impl CpuTensor {
    /// Takes the values of a tensor in single precision; `None` if they are elsewhere.
    ///
    /// Values that do not lie in row-major order are copied.
    pub fn new<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        let tensor = tensor.try_into_primitive::<Flex>().ok()?;
        if tensor.dtype() != DType::F32 {
            return None;
        }
        let contiguous = tensor.layout().is_contiguous();
        Some(Self { tensor: if contiguous { tensor } else { tensor.to_contiguous() } })
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        self.tensor.as_slice().expect("the values are in row-major order")
    }

    /// The values, to change; copied if another tensor shares them.
    pub fn into_values(self) -> Vec<f32> {
        let data = self.tensor.into_data();
        data.try_into_vec().expect("the values are in single precision")
    }
}

/// A tensor on the CPU.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let tensor = FloatTensor::<Flex>::from_data(TensorData::new(values, shape));
    Tensor::from_primitive::<Flex>(tensor)
}
