//! PBM, PGM and PPM, in text and in bytes, with Pillow's scaling of other depths than 8 bits, which
//! is not that of the crate `image`.

use image::RgbImage;

use super::PIXELS_PER_BYTE;
use super::error::{DecodeError, check_size};
use super::saturated;

/// The forms `P1` to `P6`.
#[derive(Clone, Copy)]
enum Form {
    Bitmap,
    Grey,
    Color,
}

pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let (form, in_text) = match bytes.get(..2) {
        Some(b"P1") => (Form::Bitmap, true),
        Some(b"P2") => (Form::Grey, true),
        Some(b"P3") => (Form::Color, true),
        Some(b"P4") => (Form::Bitmap, false),
        Some(b"P5") => (Form::Grey, false),
        Some(b"P6") => (Form::Color, false),
        _ => return Err(DecodeError::Format),
    };
    let mut tokens = Tokens { rest: &bytes[2..] };
    let (width, height) = (tokens.number()?, tokens.number()?);
    let largest = match form {
        Form::Bitmap => 1,
        _ => tokens.number()?,
    };
    if width == 0 || height == 0 || !(1..=65_535).contains(&largest) {
        return Err(damaged(
            "its header has a size or a largest value of 0, or a value above 65535",
        ));
    }
    check_size((width, height), bytes.len(), PIXELS_PER_BYTE)?;
    let channels = if matches!(form, Form::Color) { 3 } else { 1 };
    let line = width as usize * channels;
    let samples: Vec<u32> = match (form, in_text) {
        (Form::Bitmap, true) => tokens.bits(line * height as usize)?,
        (_, true) => {
            (0..line * height as usize).map(|_| tokens.number()).collect::<Result<_, _>>()?
        }
        (Form::Bitmap, false) => {
            let rows = lines(tokens.rest, line.div_ceil(8), height)?;
            let bit = |row: &[u8], x: usize| u32::from(row[x / 8] >> (7 - x % 8) & 1);
            rows.flat_map(|row| (0..line).map(move |x| bit(row, x))).collect()
        }
        (_, false) if largest < 256 => {
            lines(tokens.rest, line, height)?.flatten().map(|&byte| byte.into()).collect()
        }
        (_, false) => lines(tokens.rest, 2 * line, height)?
            .flat_map(|row| row.as_chunks::<2>().0)
            .map(|&pair| u16::from_be_bytes(pair).into())
            .collect(),
    };
    if in_text && samples.iter().any(|&sample| sample > largest) {
        return Err(damaged("a sample is above the largest value"));
    }
    let level = |&sample: &u32| -> u8 {
        match form {
            Form::Bitmap => 255 * (1 - sample as u8),
            // Grey of more than 8 bits is kept in 16 of them first.
            Form::Grey if largest > 255 => saturated(scaled(sample, largest, 65_535) as u16),
            _ => scaled(sample, largest, 255) as u8,
        }
    };
    let levels: Vec<u8> = match channels {
        1 => samples.iter().flat_map(|sample| [level(sample); 3]).collect(),
        _ => samples.iter().map(level).collect(),
    };
    RgbImage::from_raw(width, height, levels).ok_or(DecodeError::CutOff)
}

/// From `0..=largest` to `0..=full`, rounded to even.
fn scaled(sample: u32, largest: u32, full: u32) -> u32 {
    let share = f64::from(sample) / f64::from(largest) * f64::from(full);
    (share.round_ties_even() as u32).min(full)
}

/// Rows of this many bytes.
fn lines(
    bytes: &[u8],
    length: usize,
    height: u32,
) -> Result<std::slice::ChunksExact<'_, u8>, DecodeError> {
    let all = bytes.get(..length * height as usize).ok_or(DecodeError::CutOff)?;
    Ok(all.chunks_exact(length))
}

/// Words of a text, between blanks and comments.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl Tokens<'_> {
    /// A whole number, and the one blank after it.
    fn number(&mut self) -> Result<u32, DecodeError> {
        self.skip_blanks();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        self.rest = match rest {
            [first, rest @ ..] if is_blank(*first) => rest,
            [] => rest,
            [b'#', ..] => rest,
            _ => return Err(damaged("a number was expected")),
        };
        match number {
            Some(number) => Ok(number),
            None if digits.is_empty() && self.rest.is_empty() => Err(DecodeError::CutOff),
            None => Err(damaged("a number was expected")),
        }
    }

    /// Bits, which may stand without blanks between them.
    fn bits(&mut self, count: usize) -> Result<Vec<u32>, DecodeError> {
        let mut bits = Vec::new();
        while bits.len() < count {
            self.skip_blanks();
            match self.rest.split_first() {
                Some((bit @ (b'0' | b'1'), rest)) => {
                    bits.push(u32::from(bit - b'0'));
                    self.rest = rest;
                }
                Some(_) => return Err(damaged("a bit was expected")),
                None => return Err(DecodeError::CutOff),
            }
        }
        Ok(bits)
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.rest {
                [first, rest @ ..] if is_blank(*first) => self.rest = rest,
                [b'#', rest @ ..] => {
                    let end = rest.iter().position(|&byte| byte == b'\n' || byte == b'\r');
                    self.rest = &rest[end.unwrap_or(rest.len())..];
                }
                _ => return,
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}

fn damaged(what: &str) -> DecodeError {
    DecodeError::Damaged(what.to_owned())
}
