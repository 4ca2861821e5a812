//! From 8-bit RGB pixels to the normalised planes that CLIP reads.

use image::RgbImage;
use multiversion::multiversion;

/// Mean and standard deviation of each channel, for samples scaled to 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Subtracted from each channel.
    pub mean: [f32; 3],
    /// Each channel is divided by it.
    pub std: [f32; 3],
}

impl Normalization {
    /// The values that every published CLIP image encoder was trained with.
    #[allow(clippy::excessive_precision, reason = "these are the published digits")]
    pub const CLIP: Self = Self {
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.26130258, 0.27577711],
    };

    /// The normalised value of each 8-bit sample. Shape: `[channel, 256]`.
    ///
    /// Computed in single precision in the order of torchvision's `ToTensor` and `Normalize`.
    pub fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|sample| {
                (sample as f32 / 255.0 - self.mean[channel]) / self.std[channel]
            })
        })
    }

    /// Normalises the samples of one channel, in the order of torchvision's operations.
    pub(crate) fn apply(&self, channel: usize, samples: &[u8], values: &mut [f32]) {
        normalize_plane(samples, self.mean[channel], self.std[channel], values);
    }

    /// Normalised planes of an image. Shape: `[channel, row, column]`.
    pub fn planes(&self, image: &RgbImage) -> Vec<f32> {
        let table = self.table();
        map_planes(image, |channel, sample| table[channel][sample as usize])
    }
}

#[multiversion(targets = "simd")]
fn normalize_plane(samples: &[u8], mean: f32, std: f32, values: &mut [f32]) {
    for (value, sample) in values.iter_mut().zip(samples) {
        *value = (f32::from(*sample) / 255.0 - mean) / std;
    }
}

/// The image's samples as planes. Shape: `[channel, row, column]`.
pub fn planes(image: &RgbImage) -> Vec<u8> {
    map_planes(image, |_, sample| sample)
}

fn map_planes<T>(image: &RgbImage, value: impl Fn(usize, u8) -> T) -> Vec<T> {
    let samples = image.as_raw();
    let mut planes = Vec::with_capacity(samples.len());
    for channel in 0..3 {
        let plane = samples.iter().skip(channel).step_by(3);
        planes.extend(plane.map(|&sample| value(channel, sample)));
    }
    planes
}
