//! Named tensors of a weight file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::WeightsError;

/// The tensors of a file, by name.
#[derive(Debug, Clone)]
pub struct StateDict {
    file: PathBuf,
    tensors: BTreeMap<String, RawTensor>,
}

/// A tensor as it is stored, converted to single precision.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

impl StateDict {
    /// Reads a safetensors file.
    pub fn open(file: &Path) -> Result<Self, WeightsError> {
        let bytes = std::fs::read(file)
            .map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
        Self::from_safetensors(file, &bytes)
    }

    /// Parses a safetensors file; `file` is what errors call it.
    ///
    /// Tensors of other than floating-point types (OpenAI's files hold three integers) are skipped.
    pub fn from_safetensors(file: &Path, bytes: &[u8]) -> Result<Self, WeightsError> {
        let format_error = |reason: String| WeightsError::Format { file: file.to_owned(), reason };
        let parsed =
            SafeTensors::deserialize(bytes).map_err(|error| format_error(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.iter() {
            let values = match view.dtype() {
                Dtype::F32 => parse(view.data(), f32::from_le_bytes),
                Dtype::F16 => parse(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32()),
                Dtype::BF16 => parse(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32()),
                _ => continue,
            };
            tensors.insert(name.to_owned(), RawTensor { shape: view.shape().to_vec(), values });
        }
        Ok(Self { file: file.to_owned(), tensors })
    }

    /// The file that the tensors came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: &str, tensor: RawTensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Looks at a tensor.
    pub fn get(&self, name: &str) -> Option<&RawTensor> {
        self.tensors.get(name)
    }

    /// Takes a tensor out.
    pub fn take(&mut self, name: &str) -> Option<RawTensor> {
        self.tensors.remove(name)
    }

    /// Names of the tensors that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

fn parse<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)).collect()
}
