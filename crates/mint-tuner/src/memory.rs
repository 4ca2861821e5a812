//! What methods carry from image to image, for how long, and as plain tensors that can be saved.

use std::collections::BTreeMap;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::MethodError;

/// How long a method remembers what it learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Through all test sets of a run.
    #[default]
    Run,
    /// Through one test set.
    TestSet,
    /// For one image.
    Image,
}

/// What a method carries from image to image.
pub trait Remembers {
    /// How long it lasts.
    fn lifetime(&self) -> Lifetime;

    /// Goes back to the start.
    fn forget(&mut self);

    /// Everything that later results depend on, to be restored in another process.
    ///
    /// # Errors
    ///
    /// If the device cannot deliver it.
    fn save(&self) -> Result<Memory, MethodError>;

    /// Continues from what [`Remembers::save`] returned earlier.
    ///
    /// # Errors
    ///
    /// If the memory is incomplete or of another shape.
    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError>;

    /// Whether a run can be interrupted here and resumed; not within a batch of images.
    fn is_at_rest(&self) -> bool {
        true
    }

    /// Drops the images that wait for a batch to fill.
    fn discard_batch(&mut self) {}
}

/// Named tensors of a method's memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    tensors: BTreeMap<String, TensorData>,
}

impl Memory {
    /// From tensors that were saved.
    pub fn new(tensors: BTreeMap<String, TensorData>) -> Self {
        Self { tensors }
    }

    /// All tensors.
    pub fn tensors(&self) -> &BTreeMap<String, TensorData> {
        &self.tensors
    }

    /// Adds a tensor, read back from its device; an error if a value is not finite.
    pub(crate) fn with<const D: usize>(
        self,
        name: &str,
        tensor: &Tensor<D>,
    ) -> Result<Self, MethodError> {
        let values: Vec<f32> = mint_clip::read(tensor.clone())?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(MethodError::NotFinite);
        }
        Ok(self.with_data(name, TensorData::new(values, tensor.dims())))
    }

    /// Adds whole numbers.
    pub(crate) fn with_integers(self, name: &str, values: &[i64]) -> Self {
        self.with_data(name, TensorData::new(values.to_vec(), [values.len()]))
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Adds a list of numbers.
    pub(crate) fn with_floats(self, name: &str, values: &[f32]) -> Self {
        self.with_data(name, TensorData::new(values.to_vec(), [values.len()]))
    }

    fn with_data(mut self, name: &str, data: TensorData) -> Self {
        self.tensors.insert(name.to_owned(), data);
        self
    }

    /// A tensor with `D` axes.
    ///
    /// # Errors
    ///
    /// If there is no such tensor.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Tensor<D>, MethodError> {
        let data = self.data(name)?;
        if data.shape().len() != D {
            return Err(self.damaged(name));
        }
        Ok(Tensor::from_data(data.clone(), device))
    }

    /// A list of whole numbers.
    pub(crate) fn integers(&self, name: &str) -> Result<Vec<i64>, MethodError> {
        self.data(name)?.clone().try_into_vec().map_err(|_| self.damaged(name))
    }

    /// A list of numbers.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f32>, MethodError> {
        self.data(name)?.clone().try_into_vec().map_err(|_| self.damaged(name))
    }

    fn data(&self, name: &str) -> Result<&TensorData, MethodError> {
        self.tensors.get(name).ok_or_else(|| self.damaged(name))
    }

    /// What a tensor that is missing or has the wrong form is reported as.
    pub(crate) fn damaged(&self, name: &str) -> MethodError {
        MethodError::Memory(name.to_owned())
    }
}

/// Whole numbers on a device. Shape: `[item]`.
pub(crate) fn integer_tensor(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_finite_number_is_not_saved() {
        let of = |value| Tensor::<1>::from_floats([1.0, value], &Device::flex());
        let saved = Memory::default().with("keys", &of(2.0)).expect("numbers");
        assert_eq!(saved.floats("keys").expect("they are there"), [1.0, 2.0]);
        for value in [f32::NAN, f32::INFINITY] {
            let refused = Memory::default().with("keys", &of(value));
            assert!(matches!(refused, Err(MethodError::NotFinite)));
        }
    }
}
