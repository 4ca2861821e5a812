//! Half precision in the towers: which numbers are stored in which type.
//!
//! Linear layers and the residual stream between them are in the tower's precision. LayerNorm,
//! softmax, embeddings before the first block and everything that leaves a tower (class tokens,
//! embeddings, gradients) are in single precision, as mixed precision has it elsewhere. In a tower
//! of single precision nothing is converted.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Type of the numbers in the towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: 10 bits of mantissa, largest number 65,504.
    F16,
    /// Half precision with the range of single precision: 7 bits of mantissa.
    Bf16,
}

impl Precision {
    /// Burn's name for it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let all = [Self::F32, Self::F16, Self::Bf16];
        let found = all.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

/// A name that is not that of a precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of f32, f16, bf16")]
pub struct UnknownPrecision(String);

/// Converts, unless there is nothing to convert.
pub(crate) fn to_dtype<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// In single precision.
pub(crate) fn in_single<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    to_dtype(x, DType::F32)
}

/// Keeps a gradient within the range of half precision on its way back through a tower.
///
/// A pullback is linear, so its input may be multiplied by any number and its result divided by it.
/// The number is chosen for each gradient, on the device; single precision needs none.
pub(crate) struct GradientScale {
    /// Shape: `[1, 1]`.
    factor: Option<Tensor<2>>,
    dtype: DType,
}

impl GradientScale {
    /// Largest entry of a scaled gradient. Inside a tower gradients may grow a thousandfold before
    /// they leave half precision's range, and shrink a millionfold.
    const LARGEST: f64 = 16.0;

    /// For a gradient `[row, embed]` in single precision, and a tower of this type.
    pub(crate) fn new(gradient: &Tensor<2>, dtype: DType) -> Self {
        let factor = (dtype != DType::F32).then(|| {
            let largest = gradient.clone().abs().max().clamp_min(1e-30);
            (largest.recip() * Self::LARGEST).reshape([1, 1])
        });
        Self { factor, dtype }
    }

    /// Into the tower.
    pub(crate) fn apply(&self, gradient: Tensor<2>) -> Tensor<2> {
        match &self.factor {
            None => gradient,
            Some(factor) => to_dtype(gradient * factor.clone(), self.dtype),
        }
    }

    /// Out of the tower.
    pub(crate) fn undo<const D: usize>(&self, gradient: Tensor<D>) -> Tensor<D> {
        match &self.factor {
            None => gradient,
            Some(factor) => in_single(gradient) / factor.clone().reshape([1; D]),
        }
    }
}
