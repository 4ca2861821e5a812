//! Views to tensors: the one place where pixels and tensors meet.

use mint_augment::{Normalization, ViewPixels, Views};
use mint_clip::burn::tensor::{DType, Device, Int, Tensor, TensorData};
use mint_clip::{Clip, ReadError, read};

use crate::views::view_config;

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
            let samples = if device.supports_dtype(DType::U8) {
                Tensor::from_data(TensorData::new(samples, shape), (device, DType::U8))
            } else {
                in_words(&samples, device).reshape(shape)
            };
            let channels =
                |values: [f32; 3]| Tensor::<1>::from_floats(values, device).reshape([1, 3, 1, 1]);
            let scaled = samples.float() / 255.0;
            (scaled - channels(normalization.mean)) / channels(normalization.std)
        }
    }
}

/// How far a normalised sample of 8-bit views on the model's device is from the CPU's, at most; NaN
/// if some are not numbers.
///
/// # Errors
///
/// If the device delivers nothing.
pub fn upload_difference(clip: &Clip, views: usize) -> Result<f32, ReadError> {
    let config = view_config(&clip.config, views);
    let side = config.size as usize;
    // Every value in every channel, and neighbours differ.
    let samples: Vec<u8> = (0..views * 3 * side * side).map(|n| ((n * 151) >> 3) as u8).collect();
    let views = || Views {
        size: config.size,
        count: views,
        pixels: ViewPixels::Rgb8(samples.clone()),
        places: Vec::new(),
    };
    let values = |device| read::<f32, _, _>(view_tensor(views(), &config.normalization, device));
    let (cpu, device) = (values(&Device::flex())?, values(&clip.device)?);
    let differences = cpu.iter().zip(&device).map(|(cpu, device)| (cpu - device).abs());
    // NaN is larger than every number here.
    Ok(differences.max_by(f32::total_cmp).unwrap_or(0.0))
}

/// Samples for a device whose smallest whole numbers have 32 bits: uploaded four to a word, and
/// taken apart there. Shape: `[sample]`.
fn in_words(samples: &[u8], device: &Device) -> Tensor<1, Int> {
    let word = |four: &[u8]| {
        let mut bytes = [0; 4];
        bytes[..four.len()].copy_from_slice(four);
        i32::from_le_bytes(bytes)
    };
    let words: Vec<i32> = samples.chunks(4).map(word).collect();
    let count = words.len();
    let words = TensorData::new(words, [count]);
    let words: Tensor<1, Int> = Tensor::from_data(words, (device, DType::I32));
    let byte = |place| words.clone().bitwise_right_shift_scalar(8 * place).bitwise_and_scalar(0xFF);
    Tensor::stack::<2>((0..4).map(byte).collect(), 1).reshape([4 * count]).narrow(
        0,
        0,
        samples.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_in_words_are_the_samples() {
        for count in [255, 256, 257] {
            let samples: Vec<u8> = (0..count).map(|index| (index * 7) as u8).collect();
            let found = in_words(&samples, &Device::flex()).into_data();
            let found = found.try_into_vec_as::<i64>().expect("whole numbers");
            assert!(found.into_iter().eq(samples.into_iter().map(i64::from)));
        }
    }

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
