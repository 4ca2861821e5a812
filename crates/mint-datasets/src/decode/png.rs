//! PNG. Pillow asks for less than the standard does: the checksums of the pixels' chunks do not
//! matter, nor does an end.

use std::borrow::Cow;
use std::io::Cursor;

use image::RgbImage;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Transformations};

use super::error::{DecodeError, check_size};
use super::{PIXELS_PER_BYTE, high_byte, saturated};

pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let Completed { bytes, whole } = completed(bytes)?;
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(!whole);
    options.set_ignore_crc(true);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(&bytes[..]), options);
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    check_size((width, height), bytes.len(), PIXELS_PER_BYTE)?;
    let samples = Samples {
        color: info.color_type,
        depth: info.bit_depth,
        palette: info.palette.as_deref().unwrap_or_default().to_vec(),
    };
    let line = info.raw_row_length() - 1; // without the number of its filter
    let mut pixels = Vec::new();
    if info.interlaced {
        let mut lines = vec![0; line * height as usize];
        reader.next_frame(&mut lines)?;
        lines.chunks_exact(line).for_each(|line| samples.append(line, width, &mut pixels));
    } else {
        for _ in 0..height {
            let row = reader.next_row()?.ok_or(DecodeError::CutOff)?;
            samples.append(row.data(), width, &mut pixels);
        }
        if whole {
            reader.next_row()?; // reads on to the checksum of all pixels
        }
    }
    RgbImage::from_raw(width, height, pixels).ok_or(DecodeError::CutOff)
}

/// A file with an end.
struct Completed<'a> {
    bytes: Cow<'a, [u8]>,
    /// Whether the compressed pixels have their end.
    whole: bool,
}

/// Checks what Pillow checks, the sums of all chunks before the pixels, and gives the file an end
/// where it has none. Whether all pixels are there, the decoder finds.
fn completed(bytes: &[u8]) -> Result<Completed<'_>, DecodeError> {
    /// Length of the signature.
    const START: usize = 8;
    const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
    let mut rest = bytes.get(START..).ok_or(DecodeError::CutOff)?;
    let mut in_pixels = false;
    while let Some((length, after)) = rest.split_first_chunk().filter(|(_, after)| after.len() > 4)
    {
        let length = u32::from_be_bytes(*length) as usize;
        let is_pixels = after.starts_with(b"IDAT");
        if in_pixels && !is_pixels {
            break;
        }
        in_pixels |= is_pixels;
        let Some((chunk, after)) = after.split_at_checked(4 + length) else {
            let before = &bytes[..bytes.len() - rest.len()];
            let length = &(after.len() as u32 - 4).to_be_bytes();
            let bytes = Cow::Owned([before, length, after, &[0; 4], END].concat());
            return if is_pixels {
                Ok(Completed { bytes, whole: false })
            } else {
                Err(DecodeError::CutOff)
            };
        };
        match after.split_first_chunk() {
            Some((sum, after)) => {
                if !is_pixels && crc32fast::hash(chunk) != u32::from_be_bytes(*sum) {
                    let name = chunk[..4].escape_ascii();
                    return Err(DecodeError::Damaged(format!("the sum of `{name}` is wrong")));
                }
                rest = after;
            }
            None if is_pixels => {
                let sum = &[0; 4][after.len()..];
                let bytes = Cow::Owned([bytes, sum, END].concat());
                return Ok(Completed { bytes, whole: true });
            }
            None => return Err(DecodeError::CutOff),
        }
    }
    let bytes = match (in_pixels, rest.len()) {
        (false, _) => return Err(DecodeError::CutOff),
        (true, 0..12) => Cow::Owned([&bytes[..bytes.len() - rest.len()], END].concat()),
        (true, _) => Cow::Borrowed(bytes),
    };
    Ok(Completed { bytes, whole: true })
}

/// What the samples of a row are.
struct Samples {
    color: ColorType,
    depth: BitDepth,
    /// Red, green and blue of each index.
    palette: Vec<u8>,
}

impl Samples {
    /// Appends the colours of a row.
    fn append(&self, row: &[u8], width: u32, pixels: &mut Vec<u8>) {
        if (self.color, self.depth) == (ColorType::Rgb, BitDepth::Eight) {
            return pixels.extend_from_slice(row);
        }
        let channels = self.color.samples();
        for x in 0..width as usize {
            let sample = |channel: usize| self.sample(row, x * channels + channel);
            let eight = |channel: usize| match self.depth {
                BitDepth::Sixteen => high_byte(sample(channel)),
                _ => sample(channel) as u8,
            };
            pixels.extend(match self.color {
                ColorType::Grayscale => [self.grey(sample(0)); 3],
                ColorType::GrayscaleAlpha => [eight(0); 3],
                ColorType::Rgb | ColorType::Rgba => [eight(0), eight(1), eight(2)],
                ColorType::Indexed => {
                    let start = 3 * usize::from(sample(0));
                    // Pillow's palettes are filled up with black.
                    let color = |channel| self.palette.get(start + channel).copied();
                    [0, 1, 2].map(|channel| color(channel).unwrap_or(0))
                }
            });
        }
    }

    fn sample(&self, row: &[u8], index: usize) -> u16 {
        let packed = |bits: usize| {
            let shift = 8 - bits - index * bits % 8;
            u16::from(row[index * bits / 8] >> shift) & ((1 << bits) - 1)
        };
        match self.depth {
            BitDepth::One => packed(1),
            BitDepth::Two => packed(2),
            BitDepth::Four => packed(4),
            BitDepth::Eight => row[index].into(),
            BitDepth::Sixteen => u16::from_be_bytes([row[2 * index], row[2 * index + 1]]),
        }
    }

    fn grey(&self, sample: u16) -> u8 {
        match self.depth {
            BitDepth::One => sample as u8 * 255,
            BitDepth::Two => sample as u8 * 85,
            BitDepth::Four => sample as u8 * 17,
            BitDepth::Eight => sample as u8,
            BitDepth::Sixteen => saturated(sample),
        }
    }
}

impl From<DecodingError> for DecodeError {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::CutOff
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}
