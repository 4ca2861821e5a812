//! Decoded samples against Pillow's.

use mint_datasets::decode;
use mint_golden::{json, path, rgb_image};

/// Largest difference and share of the samples that differ, in percent.
fn difference(input: &str, expected: &str) -> (u8, f64) {
    let bytes =
        std::fs::read(path(&format!("preprocess/{input}"))).expect("the recording is there");
    let image = decode(&bytes).unwrap_or_else(|error| panic!("{input}: {error}"));
    let expected = rgb_image(&format!("preprocess/{expected}"));
    assert_eq!(image.dimensions(), expected.dimensions(), "{input}: size");
    let differences: Vec<u8> =
        image.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).collect();
    let different = differences.iter().filter(|&&difference| difference > 0).count();
    let largest = differences.iter().copied().max().expect("the image has samples");
    (largest, 100.0 * different as f64 / differences.len() as f64)
}

#[test]
fn decoding_matches_pillow() {
    let manifest = json("preprocess/manifest.json");
    let cases = manifest["base"].as_array().expect("a list");
    let cases: Vec<_> = cases.iter().filter(|case| case["decoded_rgb"].is_string()).collect();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let input = case["in"].as_str().expect("a name");
        let expected = case["decoded_rgb"].as_str().expect("a name");
        let (largest, percent) = difference(input, expected);
        println!("{input}: {percent:.2} % of the samples differ, by at most {largest}");
        let jpeg = input.ends_with(".jpg");
        if jpeg && !cfg!(feature = "libjpeg") {
            // The decoder in Rust rounds its inverse transform and upsampling in other places.
            assert!(largest <= 6 && percent <= 20.0, "{input}: {largest}, {percent} %");
        } else {
            assert_eq!(largest, 0, "{input}: {percent} % of the samples differ");
        }
    }
}

#[test]
fn damaged_files_are_errors() {
    let good = std::fs::read(path("preprocess/in/plain420.jpg")).expect("the recording is there");
    assert!(decode(&good[..100]).is_err(), "a JPEG cut within its header");
    assert!(decode(b"not an image").is_err());
    assert!(decode(&[]).is_err());
    let png = std::fs::read(path("preprocess/in/gray.png")).expect("the recording is there");
    assert!(decode(&png[..png.len() / 2]).is_err(), "a PNG cut in the middle");
}

/// Pictures and what Pillow makes of them: size and checksum of the samples, or nothing.
#[cfg(feature = "libjpeg")]
#[test]
fn every_format_is_read_and_refused_as_pillow_does() {
    use sha2::{Digest, Sha256};

    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pillow");
    let expected = std::fs::read_to_string(folder.join("expected.json")).expect("the list");
    let expected: std::collections::BTreeMap<String, Option<String>> =
        serde_json::from_str(&expected).expect("JSON");
    assert!(expected.len() > 120, "{} pictures", expected.len());
    for (name, expected) in expected {
        let bytes = std::fs::read(folder.join(&name)).expect("the picture");
        let seen = decode(&bytes).map(|image| {
            let (width, height) = image.dimensions();
            format!("{width}x{height} {:x}", Sha256::digest(image.as_raw()))
        });
        match (seen, expected) {
            (Ok(seen), Some(expected)) => assert_eq!(seen, expected, "{name}"),
            (Err(_), None) => {}
            (seen, expected) => panic!("{name}: {seen:?}, and Pillow has {expected:?}"),
        }
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_memory_is_taken() {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(30_000u32.to_be_bytes());
    header.extend(30_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let sum = crc32fast::hash(&header);
    png.extend(13u32.to_be_bytes());
    png.extend(header);
    png.extend(sum.to_be_bytes());
    png.extend(b"\0\0\0\x02IDAT\x78\x9c\0\0\0\0");
    let message = decode(&png).expect_err("a bomb").to_string();
    assert!(message.contains("30000 x 30000") && message.contains("178956970"), "{message}");
    let pnm = decode(b"P6\n9000 9000\n255\n....").expect_err("it has four bytes").to_string();
    assert!(pnm.contains("9000 x 9000"), "{pnm}");
    // A valid JPEG whose header is changed to claim 12,000 rows and columns.
    let good = std::fs::read(path("preprocess/in/plain420.jpg")).expect("the recording is there");
    let frame = good.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame header");
    let mut large = good;
    large[frame + 5..frame + 9].copy_from_slice(&[0x2e, 0xe0, 0x2e, 0xe0]);
    let message = decode(&large).expect_err("the file is too short").to_string();
    assert!(message.contains("12000 x 12000") || cfg!(not(feature = "libjpeg")), "{message}");
}
