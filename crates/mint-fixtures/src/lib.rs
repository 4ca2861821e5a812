//! The recordings' model, views and classes as Burn's tensors, for tests.

#![allow(clippy::missing_panics_doc, reason = "tests panic where a recording does not fit")]

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mint_clip::{Checkpoint, Clip, Lanes, LoadOptions};
use mint_golden::Recording;

/// The device of all tests.
#[cfg(not(feature = "wgpu"))]
pub fn device() -> Device {
    Device::flex()
}

/// The device of all tests: what the graphics driver has.
#[cfg(feature = "wgpu")]
pub fn device() -> Device {
    use mint_device::{Backend, Chosen, FailureWatch};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    let open = || {
        tracing_subscriber::registry().with(FailureWatch::new(|_| {})).init();
        let chosen = Chosen { backend: Backend::Wgpu, gpu: None, threads: None };
        chosen.open(mint_clip::Precision::F32).unwrap_or_else(|error| panic!("{error}")).device
    };
    DEVICE.get_or_init(open).clone()
}

/// The model, with two lanes; on a device that is parallel inside, with everything in one job.
pub fn small_clip() -> Clip {
    small_clip_in(if device() == Device::flex() { Lanes::new(2) } else { Lanes::inline() })
}

/// The model.
pub fn small_clip_in(lanes: Lanes) -> Clip {
    let name = Path::new("small_clip.safetensors");
    let bytes = mint_golden::small_clip();
    Checkpoint::from_bytes(name, bytes, LoadOptions::default())
        .and_then(|checkpoint| checkpoint.load(&device(), lanes))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Names of the recordings' classes.
///
/// # Panics
///
/// If the recording is damaged, as all functions here.
pub fn class_names() -> Vec<String> {
    let classes = Recording::open("mint_seq").metadata("classes");
    serde_json::from_str(&classes).expect("a list of names")
}

/// Normalised pixels of the 16 recorded views of an image. Shape: `[view, channel, row, column]`.
pub fn views(image: usize) -> Tensor<4> {
    tensor(&Recording::open("pixels"), &format!("img{image}"))
}

/// A recorded tensor.
pub fn tensor<const D: usize>(recording: &Recording, name: &str) -> Tensor<D> {
    let data = TensorData::new(recording.floats(name), recording.shape(name));
    Tensor::from_data(data, &device())
}

/// A recorded tensor of integers.
pub fn int_tensor<const D: usize>(recording: &Recording, name: &str) -> Tensor<D, Int> {
    let data = TensorData::new(recording.integers(name), recording.shape(name));
    Tensor::from_data(data, &device())
}

/// The values of a tensor in row-major order.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    mint_clip::read(tensor).expect("the device delivers it")
}

/// The values of an integer tensor in row-major order.
pub fn integers<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
    mint_clip::read(tensor).expect("the device delivers it")
}
