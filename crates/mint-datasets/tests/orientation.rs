//! Pictures that are turned as their files say.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{
    DynamicImage, ImageBuffer, ImageEncoder, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage,
};
use mint_datasets::{Orientation, decode, decode_turned};

/// An EXIF block with the tag of the orientation alone.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0".to_vec();
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

/// Four quarters of different grey, 32 wide and 16 high.
fn quarters() -> RgbImage {
    RgbImage::from_fn(32, 16, |x, y| Rgb([(60 * (x / 16) + 120 * (y / 8)) as u8; 3]))
}

#[test]
fn a_file_is_turned_as_it_says_and_only_if_that_is_asked_for() {
    let image = quarters();
    for (orientation, turned) in [
        (1, image.clone()),
        (3, image::imageops::rotate180(&image)),
        (6, image::imageops::rotate90(&image)),
        (8, image::imageops::rotate270(&image)),
    ] {
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(Cursor::new(&mut png));
        encoder.set_exif_metadata(exif(orientation)).expect("PNG has a place for it");
        encoder.write_image(&image, 32, 16, image::ExtendedColorType::Rgb8).expect("a picture");
        assert_eq!(decode(&png).expect("a picture"), image);
        let upright = decode_turned(&png, Orientation::Upright).expect("a picture");
        assert_eq!(upright, turned, "PNG, {orientation}");

        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
        encoder.set_exif_metadata(exif(orientation)).expect("JPEG has a place for it");
        encoder.encode_image(&image).expect("a picture");
        assert_eq!(decode(&jpeg).expect("a picture").dimensions(), (32, 16));
        let upright = decode_turned(&jpeg, Orientation::Upright).expect("a picture");
        assert_eq!(upright.dimensions(), turned.dimensions(), "JPEG, {orientation}");
        let difference = upright.iter().zip(turned.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(difference < Some(30), "JPEG, {orientation}: {difference:?}");
    }
}

#[test]
fn an_orientation_that_cannot_be_read_changes_nothing() {
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new(&mut jpeg);
    encoder.set_exif_metadata(b"nothing".to_vec()).expect("any bytes");
    encoder.encode_image(&quarters()).expect("a picture");
    let upright = decode_turned(&jpeg, Orientation::Upright).expect("a picture");
    assert_eq!(upright, decode(&jpeg).expect("a picture"));
}

#[test]
fn a_picture_as_viewers_show_it_has_white_behind_it_and_all_of_its_greys() {
    let encoded = |image: DynamicImage, format| {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("it can be written");
        bytes
    };
    let clear = RgbaImage::from_fn(3, 1, |x, _| Rgba([200, 0, 100, [0, 51, 255][x as usize]]));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let bytes = encoded(DynamicImage::ImageRgba8(clear.clone()), format);
        let stored = decode_turned(&bytes, Orientation::Stored).expect("a picture");
        assert!(stored.pixels().all(|pixel| pixel.0 == [200, 0, 100]), "{format:?}");
        let shown = decode_turned(&bytes, Orientation::Upright).expect("a picture");
        let expected = [[255, 255, 255], [244, 204, 224], [200, 0, 100]];
        assert!(shown.pixels().map(|pixel| pixel.0).eq(expected), "{format:?} {shown:?}");
    }
    let grey = ImageBuffer::from_fn(3, 1, |x, _| Luma([[0, 32_896, 65_535][x as usize]]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let bytes = encoded(DynamicImage::ImageLuma16(grey.clone()), format);
        let shown = decode_turned(&bytes, Orientation::Upright).expect("a picture");
        assert!(shown.pixels().map(|pixel| pixel.0[0]).eq([0, 128, 255]), "{format:?} {shown:?}");
        let stored = decode_turned(&bytes, Orientation::Stored).expect("a picture");
        assert!(stored.pixels().map(|pixel| pixel.0[0]).eq([0, 255, 255]), "as Pillow has it");
    }
}
