//! Numbers recorded from the official implementations, for the tests of the other crates.
//!
//! `data/` holds the recordings and `README.md` says how they were made. Nothing that users run
//! depends on this crate.

#![warn(missing_docs)]

use std::path::{Path, PathBuf};

use half::f16;
use image::RgbImage;
use safetensors::{Dtype, SafeTensors};

/// The path of a recorded file, such as `preprocess/manifest.json`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// A recorded JSON file.
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A recorded RGB image.
pub fn rgb_image(name: &str) -> RgbImage {
    image::open(path(name)).unwrap_or_else(|error| panic!("{name}: {error}")).to_rgb8()
}

/// A recorded safetensors file.
pub struct Recording {
    name: String,
    bytes: Vec<u8>,
}

impl Recording {
    /// Reads `data/{name}.safetensors`.
    pub fn open(name: &str) -> Self {
        let name = format!("{name}.safetensors");
        Self { bytes: read(&name), name }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let tensors = self.tensors();
        let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// A value of the file's metadata.
    pub fn metadata(&self, key: &str) -> String {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).expect("recordings are valid");
        let value = metadata.metadata().as_ref().and_then(|entries| entries.get(key));
        value.unwrap_or_else(|| panic!("{}: no metadata `{key}`", self.name)).clone()
    }

    /// The shape of a tensor.
    pub fn shape(&self, tensor: &str) -> Vec<usize> {
        self.view(tensor, |view| view.shape().to_vec())
    }

    /// The values of a floating-point tensor.
    pub fn floats(&self, tensor: &str) -> Vec<f32> {
        self.view(tensor, |view| match view.dtype() {
            Dtype::F16 => parse(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::F32 => parse(view.data(), f32::from_le_bytes),
            Dtype::F64 => parse(view.data(), |bytes| f64::from_le_bytes(bytes) as f32),
            dtype => panic!("{}: `{tensor}` is {dtype:?}", self.name),
        })
    }

    /// The only value of a floating-point tensor, in double precision.
    pub fn double(&self, tensor: &str) -> f64 {
        let values = self.view(tensor, |view| match view.dtype() {
            Dtype::F64 => parse(view.data(), f64::from_le_bytes),
            _ => self.floats(tensor).into_iter().map(f64::from).collect(),
        });
        assert_eq!(values.len(), 1, "{}: `{tensor}` is not a scalar", self.name);
        values[0]
    }

    /// The values of an integer tensor.
    pub fn integers(&self, tensor: &str) -> Vec<i64> {
        self.view(tensor, |view| match view.dtype() {
            Dtype::I32 => parse(view.data(), |bytes| i32::from_le_bytes(bytes).into()),
            Dtype::I64 => parse(view.data(), i64::from_le_bytes),
            dtype => panic!("{}: `{tensor}` is {dtype:?}", self.name),
        })
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn view<T>(
        &self,
        tensor: &str,
        read: impl FnOnce(safetensors::tensor::TensorView<'_>) -> T,
    ) -> T {
        let tensors = self.tensors();
        let view = tensors.tensor(tensor);
        read(view.unwrap_or_else(|error| panic!("{}: `{tensor}`: {error}", self.name)))
    }
}

/// Panics at the first values that differ by more than `tolerance`; returns the largest difference.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let mut largest = 0.0f32;
    let mut wrong = Vec::new();
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let same = actual == expected || (actual.is_nan() && expected.is_nan());
        let difference = if same { 0.0 } else { (actual - expected).abs() };
        largest = largest.max(difference);
        if difference.is_nan() || difference > tolerance {
            wrong.push(format!("[{index}] {actual} instead of {expected}"));
        }
    }
    let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    assert!(
        wrong.is_empty(),
        "{what}: {} of {} values differ by more than {tolerance:e} (largest {largest:e}): {shown}",
        wrong.len(),
        actual.len(),
    );
    largest
}

fn read(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let chunks = bytes.as_chunks::<N>().0;
    chunks.iter().map(|&chunk| value(chunk)).collect()
}
