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
            // The default decoder's inverse transform and upsampling round differently.
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
