//! Files to RGB pixels, as Pillow's `convert("RGB")` gives them.

use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};

/// Bytes that are no image.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The format is unknown, or the file is damaged.
    #[error("{0}")]
    Image(#[from] image::ImageError),
    /// libjpeg-turbo refuses the file.
    #[cfg(feature = "libjpeg")]
    #[error("{0}")]
    Jpeg(String),
}

/// Decodes an image. Alpha is dropped without compositing, EXIF orientation is ignored.
///
/// Every format but JPEG gives Pillow's samples. With the default JPEG decoder up to a fifth of
/// the samples differ from libjpeg-turbo's, by at most 6 levels of 255; the feature `libjpeg` decodes with
/// libjpeg-turbo's own algorithm instead.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    #[cfg(feature = "libjpeg")]
    if matches!(image::guess_format(bytes), Ok(image::ImageFormat::Jpeg)) {
        return crate::libjpeg::decode(bytes);
    }
    Ok(to_rgb(image::load_from_memory(bytes)?))
}

/// Pillow's conversions: 16-bit grey saturates at 255, other 16-bit samples keep their high byte.
fn to_rgb(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageLuma16(grey) => map(&grey, |Luma([v])| [(*v).min(255) as u8; 3]),
        DynamicImage::ImageLumaA16(grey) => map(&grey, |LumaA([v, _])| [high_byte(*v); 3]),
        DynamicImage::ImageRgb16(rgb) => map(&rgb, |Rgb(samples)| samples.map(high_byte)),
        DynamicImage::ImageRgba16(rgba) => {
            map(&rgba, |Rgba([red, green, blue, _])| [*red, *green, *blue].map(high_byte))
        }
        other => other.into_rgb8(),
    }
}

fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

fn map<P: image::Pixel<Subpixel = u16>>(
    image: &ImageBuffer<P, Vec<u16>>,
    rgb: impl Fn(&P) -> [u8; 3],
) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| Rgb(rgb(image.get_pixel(x, y))))
}
