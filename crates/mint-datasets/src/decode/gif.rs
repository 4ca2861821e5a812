//! GIF: the first picture, on the background that Pillow gives it.

use std::borrow::Cow;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::RgbImage;

use super::PIXELS_PER_BYTE;
use super::error::{DecodeError, MOST_PIXELS, check_size};

pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let bytes = &whole_blocks(bytes);
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        MOST_PIXELS.try_into().expect("the limit is above 0"),
    ));
    let mut decoder = options.read_info(&bytes[..])?;
    let screen = (decoder.width(), decoder.height());
    if let Some(frame) = decoder.next_frame_info()? {
        let size = (frame.width.into(), frame.height.into());
        check_size(size, bytes.len(), PIXELS_PER_BYTE)?;
    }
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let mut indices = vec![0; decoder.buffer_size()];
    let frame = decoder.current_frame_info().ok_or(DecodeError::CutOff)?.clone();
    decoder.read_into_buffer(&mut indices)?;
    // Pillow makes the picture larger where the frame goes beyond it.
    let width = u32::from(screen.0).max(u32::from(frame.left) + u32::from(frame.width));
    let height = u32::from(screen.1).max(u32::from(frame.top) + u32::from(frame.height));
    check_size((width, height), usize::MAX, 1)?;
    let palette = frame.palette.or(global);
    let color = |index: u8| color(palette.as_deref(), index);
    let background = color(frame.transparent.unwrap_or(0));
    let mut image = RgbImage::from_pixel(width, height, image::Rgb(background));
    let rows = indices.chunks_exact(usize::from(frame.width).max(1));
    for (row, y) in rows.zip(u32::from(frame.top)..) {
        for (&index, x) in row.iter().zip(u32::from(frame.left)..) {
            image.put_pixel(x, y, image::Rgb(color(index)));
        }
    }
    Ok(image)
}

/// Without the block of the first picture that is not whole, if there is one: Pillow reads whole
/// blocks only.
fn whole_blocks(bytes: &[u8]) -> Cow<'_, [u8]> {
    /// An end of blocks, and the end of the file.
    const END: [u8; 2] = [0, 0x3b];
    match first_broken_block(bytes) {
        None => Cow::Borrowed(bytes),
        Some(place) => Cow::Owned([&bytes[..place], &END].concat()),
    }
}

/// Where the first picture's data has a block that is cut off; `None` if it ends properly, or if
/// something else is wrong, which the decoder finds.
fn first_broken_block(bytes: &[u8]) -> Option<usize> {
    let colors = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut place = 13 + colors(*bytes.get(10)?);
    loop {
        let is_picture = match bytes.get(place)? {
            0x21 => {
                place += 2;
                false
            }
            0x2c => {
                place += 11 + colors(*bytes.get(place + 9)?);
                true
            }
            _ => return None,
        };
        loop {
            match bytes.get(place) {
                Some(0) => break,
                Some(&length) if place + usize::from(length) < bytes.len() => {
                    place += 1 + usize::from(length);
                }
                _ => return is_picture.then_some(place.min(bytes.len())),
            }
        }
        if is_picture {
            return None;
        }
        place += 1;
    }
}

/// The colour of an index. Without a palette, or with one that is a ramp of greys, an index is a
/// grey; palettes are filled up with black.
fn color(palette: Option<&[u8]>, index: u8) -> [u8; 3] {
    let is_ramp = |palette: &[u8]| {
        let ramp = (0..=255u8).flat_map(|grey| [grey; 3]);
        palette.iter().copied().zip(ramp).all(|(color, grey)| color == grey)
    };
    match palette {
        None => [index; 3],
        Some(palette) => match palette.get(3 * usize::from(index)..).and_then(|rest| rest.get(..3))
        {
            Some(color) => [color[0], color[1], color[2]],
            None if is_ramp(palette) => [index; 3],
            None => [0; 3],
        },
    }
}

impl From<DecodingError> for DecodeError {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::CutOff
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}
