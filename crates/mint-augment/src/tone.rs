//! Tone operations that map each channel through a table of 256 values.
//!
//! Each equals the function of the same name in Pillow's `ImageOps`.

use image::RgbImage;

/// A table of 256 output values for each of the three channels.
type Tables = [[u8; 256]; 3];

/// Stretches each channel so that its darkest value becomes 0 and its brightest 255.
pub fn autocontrast(image: &RgbImage) -> RgbImage {
    let tables = histograms(image).map(|histogram| {
        let low = histogram.iter().position(|&count| count > 0).unwrap_or(0);
        let high = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
        if high <= low {
            return identity();
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // The cast truncates towards zero and saturates, as Pillow does.
        std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
    });
    apply(image, &tables)
}

/// Spreads each channel's values so that their cumulative histogram becomes about linear.
pub fn equalize(image: &RgbImage) -> RgbImage {
    let tables = histograms(image).map(|histogram| {
        let mut filled = histogram.iter().copied().filter(|&count| count > 0);
        let (Some(last), 2..) = (filled.next_back(), filled.by_ref().count() + 1) else {
            return identity();
        };
        let total: u64 = histogram.iter().sum();
        let step = (total - last) / 255;
        if step == 0 {
            return identity();
        }
        let mut cumulative = step / 2;
        std::array::from_fn(|value| {
            let level = (cumulative / step).min(255) as u8;
            cumulative += histogram[value];
            level
        })
    });
    apply(image, &tables)
}

/// Keeps the highest `bits` bits of each sample; 0 makes the image black, 8 keeps it.
pub fn posterize(image: &RgbImage, bits: u32) -> RgbImage {
    let mask = 0xff00u16.checked_shr(bits).unwrap_or(0xff) as u8;
    apply(image, &[std::array::from_fn(|value| value as u8 & mask); 3])
}

/// Inverts each sample that is not below `threshold`; 256 keeps the image.
pub fn solarize(image: &RgbImage, threshold: u32) -> RgbImage {
    let table = std::array::from_fn(|value| {
        let sample = value as u8;
        if (value as u32) < threshold { sample } else { 255 - sample }
    });
    apply(image, &[table; 3])
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

fn histograms(image: &RgbImage) -> [[u64; 256]; 3] {
    let mut histograms = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (histogram, &sample) in histograms.iter_mut().zip(&pixel.0) {
            histogram[sample as usize] += 1;
        }
    }
    histograms
}

fn apply(image: &RgbImage, tables: &Tables) -> RgbImage {
    let mut output = image.clone();
    for pixel in output.pixels_mut() {
        for (sample, table) in pixel.0.iter_mut().zip(tables) {
            *sample = table[*sample as usize];
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> RgbImage {
        RgbImage::from_fn(16, 16, |x, y| image::Rgb([(y * 16 + x) as u8, (x * 3) as u8, 7]))
    }

    #[test]
    fn equalizing_leaves_out_the_highest_value_that_occurs() {
        // Pillow's rule: the step is (700 - 400) / 255 = 1, so 20 becomes 300 / 1, cut off at 255.
        let image = RgbImage::from_fn(70, 10, |x, _| image::Rgb([if x < 30 { 10 } else { 20 }; 3]));
        let levels: Vec<u8> = equalize(&image).pixels().map(|pixel| pixel[0]).collect();
        assert!(levels.chunks(70).all(|row| row[..30] == [0; 30] && row[30..] == [255; 40]));
    }

    #[test]
    fn the_extreme_arguments_are_identity_or_constant() {
        let image = ramp();
        assert_eq!(posterize(&image, 8), image);
        assert!(posterize(&image, 0).as_raw().iter().all(|&sample| sample == 0));
        assert_eq!(solarize(&image, 256), image);
        assert_eq!(solarize(&solarize(&image, 0), 0), image);
    }

    #[test]
    fn autocontrast_twice_is_autocontrast_once() {
        let once = autocontrast(&ramp());
        assert_eq!(autocontrast(&once), once);
    }
}
