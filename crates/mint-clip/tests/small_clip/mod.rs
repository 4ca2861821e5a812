//! The small CLIP of the recordings, for the tests of this crate and of mint-tuner.

#![allow(dead_code, reason = "each test program uses a part of it")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use mint_clip::weights::RawTensor;
use mint_clip::{Clip, Lanes, LoadOptions, StateDict};
use mint_golden::Recording;

/// Official implementation and ours add the same products in another order; 12 blocks deep, with
/// values up to about 10, that leaves differences of a few 1e-5.
pub const TOLERANCE: f32 = 2e-4;

/// The model, with the recorded rows of its token embedding and zeros elsewhere.
pub fn small_clip() -> Clip {
    let file = mint_golden::path("small_clip.safetensors");
    let mut tensors = StateDict::open(&file).expect("the recording is there");
    let rows = Recording::open("token_rows");
    let (vocabulary, width) = (49408, 128);
    let mut values = vec![0.0; vocabulary * width];
    for (id, row) in rows.integers("ids").iter().zip(rows.floats("rows").chunks(width)) {
        values[*id as usize * width..][..width].copy_from_slice(row);
    }
    let embedding = RawTensor { shape: vec![vocabulary, width], values };
    tensors.insert("token_embedding.weight", embedding);
    Clip::from_state_dict(tensors, LoadOptions::default(), &Device::flex(), Lanes::new(2))
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
