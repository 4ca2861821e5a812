//! Views to tensors: the one place where pixels and tensors meet.

use mint_augment::{Normalization, ViewPixels, Views};
use mint_clip::burn::tensor::{DType, Device, Int, Tensor, TensorData};
use multiversion::multiversion;
use rayon::prelude::*;

/// Normalised pixels of all views. Shape: `[view, channel, row, column]`.
///
/// 8-bit views are uploaded as they are and normalised on the device. On the CPU, where nothing is
/// uploaded, that is one pass over the samples.
pub fn view_tensor(views: Views, normalization: &Normalization, device: &Device) -> Tensor<4> {
    let side = views.size as usize;
    let shape = [views.count, 3, side, side];
    match views.pixels {
        ViewPixels::Normalized(samples) => {
            Tensor::from_data(TensorData::new(samples, shape), device)
        }
        ViewPixels::Rgb8(samples) if *device == Device::flex() => {
            let normalized = normalized(&samples, side * side, normalization);
            Tensor::from_data(TensorData::new(normalized, shape), device)
        }
        ViewPixels::Rgb8(samples) => {
            let data = TensorData::new(samples, shape);
            let samples: Tensor<4, Int> = Tensor::from_data(data, (device, DType::U8));
            let channels =
                |values: [f32; 3]| Tensor::<1>::from_floats(values, device).reshape([1, 3, 1, 1]);
            let scaled = samples.float() / 255.0;
            (scaled - channels(normalization.mean)) / channels(normalization.std)
        }
    }
}

/// Planes of 8-bit samples, normalised in the order of torchvision's operations.
fn normalized(samples: &[u8], plane: usize, normalization: &Normalization) -> Vec<f32> {
    let mut values = vec![0.0; samples.len()];
    let planes = values.par_chunks_exact_mut(plane).zip(samples.par_chunks_exact(plane));
    planes.enumerate().for_each(|(index, (values, samples))| {
        let (mean, std) = (normalization.mean[index % 3], normalization.std[index % 3]);
        normalize_plane(samples, mean, std, values);
    });
    values
}

#[multiversion(targets = "simd")]
fn normalize_plane(samples: &[u8], mean: f32, std: f32, values: &mut [f32]) {
    for (value, sample) in values.iter_mut().zip(samples) {
        *value = (f32::from(*sample) / 255.0 - mean) / std;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_normalises_to_the_same_bits() {
        let samples: Vec<u8> = (0..3 * 256).map(|index| index as u8).collect();
        let views = Views { size: 16, count: 1, pixels: ViewPixels::Rgb8(samples) };
        let tensor = view_tensor(views, &Normalization::CLIP, &Device::flex());
        let values = tensor.into_data().try_into_vec::<f32>().expect("floats");
        assert_eq!(values, Normalization::CLIP.table().concat());
    }
}
