//! The small CLIP of the recordings, for the tests of this crate and of mint-tuner.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mint_clip::{Checkpoint, Clip, Lanes, LoadOptions};
use mint_golden::Recording;

/// The model, with two lanes.
pub fn small_clip() -> Clip {
    small_clip_in(Lanes::new(2))
}

/// The model.
pub fn small_clip_in(lanes: Lanes) -> Clip {
    let name = Path::new("small_clip.safetensors");
    let bytes = mint_golden::small_clip();
    Checkpoint::from_bytes(name, bytes, LoadOptions::default())
        .and_then(|checkpoint| checkpoint.load(&Device::flex(), lanes))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A recorded tensor.
pub fn tensor<const D: usize>(recording: &Recording, name: &str) -> Tensor<D> {
    let data = TensorData::new(recording.floats(name), recording.shape(name));
    Tensor::from_data(data, &Device::flex())
}

/// A recorded tensor of integers.
pub fn int_tensor<const D: usize>(recording: &Recording, name: &str) -> Tensor<D, Int> {
    let data = TensorData::new(recording.integers(name), recording.shape(name));
    Tensor::from_data(data, &Device::flex())
}

/// The values of a tensor in row-major order.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("the tensor holds floats")
}

/// The values of an integer tensor in row-major order.
pub fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    tensor.try_into_vec_as::<i64>().expect("the tensor holds integers")
}
