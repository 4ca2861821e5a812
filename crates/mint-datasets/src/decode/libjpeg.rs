//! JPEG decoding with libjpeg-turbo's algorithm, sample for sample.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::RgbImage;
use mozjpeg::{ColorSpace, Decompress};

use super::error::{DecodeError, check_size};

/// The most pixels that a byte stands for: a block has a bit at least for its first coefficient,
/// and colour has fewer blocks. Beyond that only an arithmetic coder goes, which Pillow lacks.
const PIXELS_PER_BYTE: u64 = 8 * 64;

pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let cut_off = Cell::new(false);
    let source = Source { rest: bytes, cut_off: &cut_off };
    // The library reports damaged files by unwinding.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_or_unwind(source, bytes.len())));
    if cut_off.get() {
        return Err(DecodeError::CutOff);
    }
    let message = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
        Ok(message) => message.trim_start_matches("libjpeg fatal error: ").to_owned(),
        Err(_) => "the decoder gave up".to_owned(),
    };
    decoded.unwrap_or_else(|panic| Err(DecodeError::Damaged(message(panic))))
}

/// Bytes that notice when more are asked for than there are. Pillow calls a file cut off if that
/// happens before the last row, and not by how it ends: bytes may follow the image, and the end
/// marker may be missing where the decoder does not look ahead to it.
struct Source<'a> {
    rest: &'a [u8],
    cut_off: &'a Cell<bool>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.cut_off.set(true);
            // The library makes up an end marker where the kind is `UnexpectedEof`.
            return Err(io::Error::other("cut off"));
        }
        Ok(self.rest)
    }

    fn consume(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }
}

fn decode_or_unwind(source: Source<'_>, length: usize) -> Result<RgbImage, DecodeError> {
    let error = |error: io::Error| DecodeError::Damaged(error.to_string());
    let decoder = Decompress::new_reader(source).map_err(error)?;
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    check_size((width, height), length, PIXELS_PER_BYTE)?;
    let cmyk = matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let samples = if cmyk {
        let mut started = decoder.to_colorspace(ColorSpace::JCS_CMYK).map_err(error)?;
        let inks: Vec<[u8; 4]> = started.read_scanlines().map_err(error)?;
        inks.into_iter().flat_map(inverted_cmyk_to_rgb).collect()
    } else {
        let mut started = decoder.rgb().map_err(error)?;
        let pixels: Vec<[u8; 3]> = started.read_scanlines().map_err(error)?;
        pixels.into_flattened()
    };
    RgbImage::from_raw(width, height, samples).ok_or(DecodeError::CutOff)
}

/// Adobe's files store inverted inks; the conversion is Pillow's.
fn inverted_cmyk_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let paper = i32::from(black);
    [cyan, magenta, yellow].map(|ink| {
        let product = i32::from(255 - ink) * paper + 128;
        let scaled = ((product >> 8) + product) >> 8;
        (paper - scaled).clamp(0, 255) as u8
    })
}
