//! JPEG decoding with libjpeg-turbo's algorithm, sample for sample.

use std::panic::catch_unwind;

use image::RgbImage;
use mozjpeg::{ColorSpace, Decompress};

use crate::decode::DecodeError;

pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    // The library reports damaged files by unwinding.
    let decoded = catch_unwind(|| decode_or_unwind(bytes));
    let message = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => "the file is damaged".to_owned(),
    };
    decoded.unwrap_or_else(|panic| Err(DecodeError::Jpeg(message(panic))))
}

fn decode_or_unwind(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let error = |error: std::io::Error| DecodeError::Jpeg(error.to_string());
    let decoder = Decompress::new_mem(bytes).map_err(error)?;
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    let cmyk = matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let samples = if cmyk {
        let mut started = decoder.to_colorspace(ColorSpace::JCS_CMYK).map_err(error)?;
        let inks: Vec<[u8; 4]> = started.read_scanlines().map_err(error)?;
        started.finish().map_err(error)?;
        inks.into_iter().flat_map(inverted_cmyk_to_rgb).collect()
    } else {
        let mut started = decoder.rgb().map_err(error)?;
        let pixels: Vec<[u8; 3]> = started.read_scanlines().map_err(error)?;
        started.finish().map_err(error)?;
        pixels.into_flattened()
    };
    RgbImage::from_raw(width, height, samples)
        .ok_or_else(|| DecodeError::Jpeg("the file ends early".to_owned()))
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
