//! Views to tensors: the one place where pixels and tensors meet.

use mint_augment::{Normalization, ViewPixels, Views};
use mint_clip::burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Normalised pixels of all views. Shape: `[view, channel, row, column]`.
///
/// 8-bit views are uploaded as they are and normalised on the device. On the CPU, where nothing is
/// uploaded, that is one pass over the samples.
pub fn view_tensor(views: Views, normalization: &Normalization, device: &Device) -> Tensor<4> {
    let side = views.size as usize;
    let shape = [views.count, 3, side, side];
    match views.pixels {
        _ if *device == Device::flex() => {
            Tensor::from_data(TensorData::new(views.normalized(normalization), shape), device)
        }
        ViewPixels::Normalized(samples) => {
            Tensor::from_data(TensorData::new(samples, shape), device)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_normalises_to_the_same_bits() {
        let samples: Vec<u8> = (0..3 * 256).map(|index| index as u8).collect();
        let pixels = ViewPixels::Rgb8(samples);
        let views = Views { size: 16, count: 1, pixels, places: Vec::new() };
        let tensor = view_tensor(views, &Normalization::CLIP, &Device::flex());
        let values = tensor.into_data().try_into_vec::<f32>().expect("floats");
        assert_eq!(values, Normalization::CLIP.table().concat());
    }
}
