//! TIFF: the one format that Pillow turns by its orientation when it opens a file.

use std::io::Cursor;

use image::codecs::tiff::TiffDecoder;
use image::{DynamicImage, ImageBuffer, ImageDecoder, Luma, LumaA, Rgb, RgbImage, Rgba};
use tiff::tags::Tag;

use super::error::{DecodeError, check_size};
use super::{PIXELS_PER_BYTE, high_byte, saturated};

pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let mut decoder = TiffDecoder::new(Cursor::new(bytes))?;
    check_size(decoder.dimensions(), bytes.len(), PIXELS_PER_BYTE)?;
    let orientation = decoder.orientation()?;
    let image = DynamicImage::from_decoder(decoder)?;
    let rgb = match image {
        DynamicImage::ImageLuma16(grey) => map(&grey, |Luma([v])| [saturated(*v); 3]),
        DynamicImage::ImageLumaA16(grey) => map(&grey, |LumaA([v, _])| [high_byte(*v); 3]),
        DynamicImage::ImageRgb16(rgb) => map(&rgb, |Rgb(samples)| samples.map(high_byte)),
        DynamicImage::ImageRgba16(rgba) => {
            map(&rgba, |Rgba([red, green, blue, _])| [*red, *green, *blue].map(high_byte))
        }
        DynamicImage::ImageRgba8(rgba) if is_premultiplied(bytes) => {
            map(&rgba, |Rgba([red, green, blue, alpha])| {
                [*red, *green, *blue].map(|color| divided(color, *alpha))
            })
        }
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            return Err(DecodeError::Samples("32-bit floats"));
        }
        other => other.into_rgb8(),
    };
    let mut rgb = DynamicImage::ImageRgb8(rgb);
    rgb.apply_orientation(orientation);
    Ok(rgb.into_rgb8())
}

/// Whether the colours were multiplied by alpha, which Pillow undoes.
fn is_premultiplied(bytes: &[u8]) -> bool {
    /// "Associated alpha" in the TIFF specification, section 18.
    const ASSOCIATED: u16 = 1;
    let extra = tiff::decoder::Decoder::new(Cursor::new(bytes))
        .and_then(|mut decoder| decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples));
    matches!(extra, Ok(Some(kinds)) if kinds.first() == Some(&ASSOCIATED))
}

fn divided(color: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (255 * u32::from(color) / u32::from(alpha)).min(255) as u8,
    }
}

fn map<P: image::Pixel>(
    image: &ImageBuffer<P, Vec<P::Subpixel>>,
    rgb: impl Fn(&P) -> [u8; 3],
) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| Rgb(rgb(image.get_pixel(x, y))))
}
