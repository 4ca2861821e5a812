//! Files to RGB pixels, as Pillow's `convert("RGB")` returns them.

mod error;
mod gif;
#[cfg(feature = "libjpeg")]
mod libjpeg;
mod netpbm;
mod png;
mod tiff;

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Rgb, RgbImage, Rgba};

pub use self::error::DecodeError;
use self::error::check_size;

/// File name endings of the formats that are read.
pub(crate) const EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "pgm", "pbm",
    "pnm",
];

/// The most pixels that a byte of a compressed file stands for: a JPEG has at least a bit for the
/// first coefficient of each block, and deflate expands a byte to at most 1,032, of eight pixels
/// at most.
const PIXELS_PER_BYTE: u64 = 8 * 1032;

/// What decodes JPEG files; the samples depend on it.
pub const JPEG_DECODER: &str =
    if cfg!(feature = "libjpeg") { "libjpeg-turbo" } else { "zune-jpeg" };

/// What is made of the orientation that a camera writes into a file (EXIF).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// It is ignored, as the published results were made: pixels are as they are stored.
    #[default]
    Stored,
    /// The image is as everybody looks at it: turned, transparent parts on white, and 16-bit grey
    /// from black to white.
    Upright,
}

/// Decodes an image. Alpha is dropped without compositing; EXIF orientation is ignored, but for
/// TIFF, which Pillow turns.
///
/// The samples are those of Pillow 12. JPEG needs the feature `libjpeg` (on by default) for that:
/// without it up to a fifth of the samples differ, by at most 6 levels of 255, and files that are
/// cut off are not all refused.
///
/// # Errors
///
/// If the file is cut off, damaged, too large, or of a format or kind that is not supported.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    match image::guess_format(bytes).map_err(|_| DecodeError::Format)? {
        #[cfg(feature = "libjpeg")]
        ImageFormat::Jpeg => libjpeg::decode(bytes),
        ImageFormat::Png => png::decode(bytes),
        ImageFormat::Gif => gif::decode(bytes),
        ImageFormat::Tiff => tiff::decode(bytes),
        ImageFormat::Pnm => netpbm::decode(bytes),
        ImageFormat::WebP if webp_is_cut_off(bytes) => Err(DecodeError::CutOff),
        format => {
            let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
            check_size(decoder.dimensions(), bytes.len(), PIXELS_PER_BYTE)?;
            Ok(DynamicImage::from_decoder(decoder)?.into_rgb8())
        }
    }
}

/// [`decode`], or the image as viewers show it, if that is asked for.
///
/// # Errors
///
/// Those of [`decode`].
pub fn decode_turned(bytes: &[u8], orientation: Orientation) -> Result<RgbImage, DecodeError> {
    let image = decode(bytes)?;
    if orientation == Orientation::Stored {
        return Ok(image);
    }
    let mut image = DynamicImage::ImageRgb8(as_shown(bytes).unwrap_or(image));
    image.apply_orientation(turn(bytes));
    Ok(image.into_rgb8())
}

/// What Pillow's conversion does not show as viewers do: pixels that are in part transparent, and
/// 16-bit grey, which it saturates at 255. `None` for all other images.
fn as_shown(bytes: &[u8]) -> Option<RgbImage> {
    let format = image::guess_format(bytes).ok()?;
    if matches!(format, ImageFormat::Jpeg | ImageFormat::Pnm | ImageFormat::Bmp) {
        return None;
    }
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().ok()?;
    let color = decoder.color_type();
    if !color.has_alpha() && color != ColorType::L16 {
        return None;
    }
    let turned =
        if format == ImageFormat::Tiff { decoder.orientation().ok()? } else { Turn::NoTransforms };
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    image.apply_orientation(turned);
    let image = image.into_rgba8();
    let shown = |&Rgba([red, green, blue, alpha]): &Rgba<u8>| {
        let over = |sample: u8| {
            let (sample, alpha) = (u32::from(sample), u32::from(alpha));
            ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        Rgb([over(red), over(green), over(blue)])
    };
    let pixels: Vec<u8> = image.pixels().flat_map(|pixel| shown(pixel).0).collect();
    RgbImage::from_raw(image.width(), image.height(), pixels)
}

/// How an image that was decoded is to be turned. What cannot be read says nothing.
fn turn(bytes: &[u8]) -> Turn {
    let of_format = |format| {
        let reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.into_decoder().and_then(|mut decoder| decoder.orientation())
    };
    match image::guess_format(bytes) {
        // It was turned already.
        Ok(ImageFormat::Tiff) | Err(_) => Turn::NoTransforms,
        Ok(format) => of_format(format).unwrap_or(Turn::NoTransforms),
    }
}

/// A WebP file says its length at its start.
fn webp_is_cut_off(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    length.is_none_or(|length| bytes.len() < 8 + length as usize)
}

/// Pillow keeps the high byte of 16-bit samples, but for grey ones.
fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// Pillow's 16-bit grey saturates.
fn saturated(sample: u16) -> u8 {
    sample.min(255) as u8
}
