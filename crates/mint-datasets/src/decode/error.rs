//! Why bytes are not an image.

use image::ImageError;

/// The most pixels of an image: Pillow refuses more as a decompression bomb.
pub const MOST_PIXELS: u64 = 178_956_970;

/// Bytes that are not an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first bytes are those of no format that is read.
    #[error("it is not a JPEG, PNG, GIF, TIFF, BMP, WebP or PNM file, whatever its name says")]
    Format,
    /// The image is larger than Pillow reads.
    #[error(
        "it has {width} x {height} pixels, and more than {MOST_PIXELS} are not supported, as in Pillow"
    )]
    TooLarge {
        /// Pixels in a row.
        width: u32,
        /// Number of rows.
        height: u32,
    },
    /// The file ends before the image does.
    #[error("the file is cut off: it ends before the image does")]
    CutOff,
    /// The header says more than the file can hold.
    #[error(
        "its header says {width} x {height} pixels, which {bytes} bytes cannot hold; the file is damaged"
    )]
    Implausible {
        /// Pixels in a row.
        width: u32,
        /// Number of rows.
        height: u32,
        /// Length of the file.
        bytes: usize,
    },
    /// Samples that would have to be scaled to become 8-bit colours.
    #[error("its samples are {0}, which are not supported")]
    Samples(&'static str),
    /// The file is damaged, or uses what the decoder lacks.
    #[error("the file is damaged, or of a kind that is not supported: {0}")]
    Damaged(String),
}

impl From<ImageError> for DecodeError {
    fn from(error: ImageError) -> Self {
        match &error {
            ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::CutOff
            }
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// Checks a size before memory is taken for it.
///
/// `per_byte` is the most pixels that a byte of the file can stand for.
pub(super) fn check_size(
    (width, height): (u32, u32),
    bytes: usize,
    per_byte: u64,
) -> Result<(), DecodeError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MOST_PIXELS {
        return Err(DecodeError::TooLarge { width, height });
    }
    if pixels > per_byte.saturating_mul(bytes as u64) {
        return Err(DecodeError::Implausible { width, height, bytes });
    }
    Ok(())
}
