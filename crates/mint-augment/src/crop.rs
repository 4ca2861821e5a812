//! Crops: short side and centre for the clean view, random resized crops for the others.

use image::{RgbImage, imageops};
use rand::{Rng, RngExt};

use crate::resample::{Filter, resize};

/// A rectangle of source pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Number of rows.
    pub height: u32,
    /// Number of columns.
    pub width: u32,
}

impl CropBox {
    /// Copies the rectangle out of `image`.
    ///
    /// # Panics
    ///
    /// If the rectangle does not lie inside the image.
    pub fn crop(self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        assert!(
            self.left + self.width <= width && self.top + self.height <= height,
            "{self:?} does not lie inside {width}x{height} pixels"
        );
        imageops::crop_imm(image, self.left, self.top, self.width, self.height).to_image()
    }
}

/// `(width, height)` after the short side was resized to `size`, the long side truncated.
pub fn short_side_size(width: u32, height: u32, size: u32) -> (u32, u32) {
    let long =
        |long: u32, short: u32| (f64::from(size) * f64::from(long) / f64::from(short)) as u32;
    if width <= height { (size, long(height, width)) } else { (long(width, height), size) }
}

/// The centred square of side `size` in an image that is at least that large.
///
/// Half pixels round to even, as in the official transform.
pub fn center_box(width: u32, height: u32, size: u32) -> CropBox {
    let offset = |side: u32| (f64::from(side - size) / 2.0).round_ties_even() as u32;
    CropBox { top: offset(height), left: offset(width), height: size, width: size }
}

/// How the clean view is brought to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CleanResize {
    /// The short side to the size of a view, then the centre square: what almost all models were
    /// trained with.
    #[default]
    Shortest,
    /// Both sides to the size of a view, whatever becomes of the proportions.
    Squash,
}

impl CleanResize {
    /// The size that a `width` x `height` image is resized to, and the rectangle of it that is the
    /// clean view of side `size`.
    pub(crate) fn sizes(self, width: u32, height: u32, size: u32) -> ((u32, u32), CropBox) {
        let (width, height) = match self {
            Self::Shortest => short_side_size(width, height, size),
            Self::Squash => (size, size),
        };
        ((width, height), center_box(width, height, size))
    }

    /// The rectangle of a `width` x `height` image that its clean view of side `size` shows, to the
    /// nearest pixel.
    pub(crate) fn source(self, width: u32, height: u32, size: u32) -> CropBox {
        let ((resized_width, resized_height), window) = self.sizes(width, height, size);
        let side = |from: u32, length: u32, resized: u32, source: u32| {
            let scaled =
                |at| (f64::from(at) * f64::from(source) / f64::from(resized)).round() as u32;
            let first = scaled(from).min(source - 1);
            (first, scaled(from + length).clamp(first + 1, source) - first)
        };
        let (left, width) = side(window.left, window.width, resized_width, width);
        let (top, height) = side(window.top, window.height, resized_height, height);
        CropBox { top, left, height, width }
    }

    /// The clean view of side `size`, with the bicubic filter.
    ///
    /// On a Pillow image [`CleanResize::Shortest`] equals torchvision's `Resize(size, BICUBIC)` and
    /// `CenterCrop(size)`, [`CleanResize::Squash`] equals `Resize((size, size), BICUBIC)`.
    pub fn apply(self, image: &RgbImage, size: u32) -> RgbImage {
        let ((width, height), center) = self.sizes(image.width(), image.height(), size);
        center.crop(&resize(image, width, height, Filter::Bicubic))
    }
}

/// The distribution of random resized crops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomResizedCrop {
    /// Share of the image's area, drawn uniformly from this range.
    pub area: (f64, f64),
    /// Width over height, drawn uniformly in its logarithm from this range.
    pub aspect_ratio: (f64, f64),
}

impl Default for RandomResizedCrop {
    /// Area 0.08 to 1, aspect ratio 3/4 to 4/3.
    fn default() -> Self {
        Self { area: (0.08, 1.0), aspect_ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }
}

impl RandomResizedCrop {
    /// Tries before the central crop is taken.
    const TRIES: usize = 10;

    /// Draws a rectangle of a `width` x `height` image.
    pub fn sample(&self, width: u32, height: u32, rng: &mut impl Rng) -> CropBox {
        let image_area = f64::from(width) * f64::from(height);
        let (ratio_low, ratio_high) = self.aspect_ratio;
        for _ in 0..Self::TRIES {
            let area = image_area * uniform(rng, self.area);
            let ratio = uniform(rng, (ratio_low.ln(), ratio_high.ln())).exp();
            let crop_width = (area * ratio).sqrt().round_ties_even() as u32;
            let crop_height = (area / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                return CropBox {
                    top: rng.random_range(0..=height - crop_height),
                    left: rng.random_range(0..=width - crop_width),
                    height: crop_height,
                    width: crop_width,
                };
            }
        }
        self.central(width, height)
    }

    /// The largest central rectangle whose aspect ratio is allowed.
    fn central(&self, width: u32, height: u32) -> CropBox {
        let (ratio_low, ratio_high) = self.aspect_ratio;
        let ratio = f64::from(width) / f64::from(height);
        let rounded = |side: f64| (side.round_ties_even() as u32).max(1);
        let (crop_width, crop_height) = if ratio < ratio_low {
            (width, rounded(f64::from(width) / ratio_low).min(height))
        } else if ratio > ratio_high {
            (rounded(f64::from(height) * ratio_high).min(width), height)
        } else {
            (width, height)
        };
        CropBox {
            top: (height - crop_height) / 2,
            left: (width - crop_width) / 2,
            height: crop_height,
            width: crop_width,
        }
    }
}

/// Uniform in `[low, high)`; `low` where the range is empty.
fn uniform(rng: &mut impl Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// No box of the allowed areas and shapes fits into so long an image, so the fallback is taken.
    #[test]
    fn very_long_images_fall_back_to_the_largest_central_box() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let wide = RandomResizedCrop::default().sample(4000, 12, &mut rng);
        assert_eq!(wide, CropBox { top: 0, left: 1992, height: 12, width: 16 });
        let tall = RandomResizedCrop::default().sample(12, 4000, &mut rng);
        assert_eq!(tall, CropBox { top: 1992, left: 0, height: 16, width: 12 });
    }

    proptest! {
        #[test]
        fn random_crops_lie_inside_the_image(
            width in 1u32..3000, height in 1u32..3000, seed: u64
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rectangle = RandomResizedCrop::default().sample(width, height, &mut rng);
            prop_assert!(rectangle.width >= 1 && rectangle.left + rectangle.width <= width);
            prop_assert!(rectangle.height >= 1 && rectangle.top + rectangle.height <= height);
        }

        #[test]
        fn the_centre_square_fits_after_the_short_side_rule(
            width in 1u32..5000, height in 1u32..5000, size in 1u32..400
        ) {
            let (resized_width, resized_height) = short_side_size(width, height, size);
            prop_assert_eq!(resized_width.min(resized_height), size);
            let square = center_box(resized_width, resized_height, size);
            prop_assert!(square.left + size <= resized_width);
            prop_assert!(square.top + size <= resized_height);
        }
    }

    #[test]
    fn a_thin_image_falls_back_to_the_central_crop() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let rectangle = RandomResizedCrop::default().sample(1000, 3, &mut rng);
        assert_eq!(rectangle, CropBox { top: 0, left: 498, height: 3, width: 4 });
    }
}
