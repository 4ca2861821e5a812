//! Every resize, crop and operation against pixels recorded from Pillow 12 and torchvision.

use image::{RgbImage, imageops};
use mint_augment::affine::{Affine, rotate};
use mint_augment::augmix::Mixture;
use mint_augment::columns::Columns;
use mint_augment::crop::{CleanResize, CropBox, RandomResizedCrop, center_box, short_side_size};
use mint_augment::operation::{Operation, OperationKind};
use mint_augment::resample::{Filter, resize};
use mint_augment::{Normalization, tone};
use mint_golden::{Bound, Recording, assert_close, json, rgb_image};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const SIZE: u32 = 224;

fn manifest() -> Value {
    json("preprocess/manifest.json")
}

fn picture(name: &Value) -> RgbImage {
    rgb_image(&format!("preprocess/{}", name.as_str().expect("a file name")))
}

fn entries<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}`"))
}

fn unsigned(value: &Value) -> u32 {
    value.as_u64().expect("an unsigned number") as u32
}

#[track_caller]
fn assert_same_pixels(what: &str, actual: &RgbImage, expected: &RgbImage) {
    assert_eq!(actual.dimensions(), expected.dimensions(), "{what}: size");
    let samples = actual.as_raw().iter().zip(expected.as_raw());
    let different = samples.filter(|(actual, expected)| actual != expected).count();
    assert_eq!(different, 0, "{what}: samples that differ from Pillow's");
}

fn crop_box(ijhw: &Value) -> CropBox {
    CropBox {
        top: unsigned(&ijhw[0]),
        left: unsigned(&ijhw[1]),
        height: unsigned(&ijhw[2]),
        width: unsigned(&ijhw[3]),
    }
}

fn resized_crop(case: &Value, rectangle: &Value, flip: bool) -> RgbImage {
    let source = picture(&case["in"]);
    let mut view = resize(&crop_box(rectangle).crop(&source), SIZE, SIZE, Filter::Bilinear);
    if flip {
        imageops::flip_horizontal_in_place(&mut view);
    }
    view
}

#[test]
fn clean_views_match_pillow() {
    let manifest = manifest();
    let mut compared = 0;
    for case in entries(&manifest, "base").iter().filter(|case| case["out_base224"].is_string()) {
        let source = picture(case.get("decoded_rgb").unwrap_or(&case["in"]));
        let view = CleanResize::Shortest.apply(&source, SIZE);
        assert_same_pixels(&case["in"].to_string(), &view, &picture(&case["out_base224"]));
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn random_resized_crops_match_pillow() {
    let manifest = manifest();
    for case in entries(&manifest, "rrc") {
        let view = resized_crop(case, &case["ijhw"], case["hflip"] == true);
        assert_same_pixels(&case["out"].to_string(), &view, &picture(&case["out"]));
    }
    assert_eq!(entries(&manifest, "rrc").len(), 8);
}

/// Planes as an image.
fn interleaved(planes: &[u8]) -> RgbImage {
    let plane = planes.len() / 3;
    RgbImage::from_fn(SIZE, SIZE, |x, y| {
        let place = (y * SIZE + x) as usize;
        image::Rgb([planes[place], planes[plane + place], planes[2 * plane + place]])
    })
}

#[test]
fn crops_of_a_turned_picture_match_pillow() {
    let manifest = manifest();
    let mut planes = vec![0; 3 * (SIZE * SIZE) as usize];
    for case in entries(&manifest, "base").iter().filter(|case| case["out_base224"].is_string()) {
        let source = picture(case.get("decoded_rgb").unwrap_or(&case["in"]));
        Columns::new(&source).clean(CleanResize::Shortest, SIZE, &mut planes);
        let expected = picture(&case["out_base224"]);
        assert_same_pixels(&case["in"].to_string(), &interleaved(&planes), &expected);
    }
    for case in entries(&manifest, "rrc") {
        let (rectangle, mirrored) = (crop_box(&case["ijhw"]), case["hflip"] == true);
        Columns::new(&picture(&case["in"])).resized_crop(rectangle, SIZE, mirrored, &mut planes);
        let expected = picture(&case["out"]);
        assert_same_pixels(&case["out"].to_string(), &interleaved(&planes), &expected);
    }
}

#[test]
fn resized_sizes_and_crop_offsets_follow_torchvision() {
    let manifest = manifest();
    for case in entries(&manifest, "resize_size_rule") {
        let (width, height) = (unsigned(&case["wh"][0]), unsigned(&case["wh"][1]));
        let resized = short_side_size(width, height, SIZE);
        let expected = (unsigned(&case["resized_wh"][0]), unsigned(&case["resized_wh"][1]));
        assert_eq!(resized, expected, "resized size of {width}x{height}");
        let square = center_box(resized.0, resized.1, SIZE);
        let expected = [unsigned(&case["crop_top_left"][0]), unsigned(&case["crop_top_left"][1])];
        assert_eq!([square.top, square.left], expected, "crop offset of {width}x{height}");
    }
}

#[test]
fn operations_match_pillow() {
    let manifest = manifest();
    let source = picture(&manifest["augmix_src"]);
    for case in entries(&manifest, "augmix_ops") {
        let number = case["param"].as_f64().unwrap_or_default();
        let whole = number as i32;
        let output = match case["op"].as_str().expect("a name") {
            "autocontrast" => tone::autocontrast(&source),
            "equalize" => tone::equalize(&source),
            "posterize" => tone::posterize(&source, whole as u32),
            "solarize" => tone::solarize(&source, whole as u32),
            "rotate" => rotate(&source, whole),
            "shear_x" => Affine::shear_x(number).apply(&source),
            "shear_y" => Affine::shear_y(number).apply(&source),
            "translate_x" => Affine::translate(number, 0.0).apply(&source),
            "translate_y" => Affine::translate(0.0, number).apply(&source),
            name => panic!("unknown operation {name}"),
        };
        assert_same_pixels(&case["out"].to_string(), &output, &picture(&case["out"]));
    }
    assert_eq!(entries(&manifest, "augmix_ops").len(), 18);
}

#[test]
fn tone_operations_match_pillow_on_degenerate_images() {
    let cases = json("preprocess/degenerate.json");
    let image = |rows: &Value| {
        let rows = rows.as_array().expect("rows");
        let width = rows[0].as_array().expect("pixels").len();
        RgbImage::from_fn(width as u32, rows.len() as u32, |x, y| {
            let pixel = &rows[y as usize][x as usize];
            image::Rgb(std::array::from_fn(|channel| unsigned(&pixel[channel]) as u8))
        })
    };
    for (name, case) in cases.as_object().expect("cases") {
        let source = image(&case["in"]);
        let check = |operation: &str, output: RgbImage| {
            assert_same_pixels(&format!("{name} {operation}"), &output, &image(&case[operation]));
        };
        check("autocontrast", tone::autocontrast(&source));
        check("equalize", tone::equalize(&source));
        check("posterize4", tone::posterize(&source, 4));
    }
}

#[test]
fn normalisation_matches_torchvision() {
    let recording = Recording::open("preprocess/augmix");
    let table = Normalization::CLIP.table().concat();
    assert_close("table", &table, &recording.floats("normalise_table_rgb_256"), Bound::EXACT);
}

/// The official draws of one mixture, in their order.
struct Draws<'a>(std::slice::Iter<'a, Value>);

impl Draws<'_> {
    fn next(&mut self, expected: &str) -> &Value {
        let draw = self.0.next().unwrap_or_else(|| panic!("no draw left for `{expected}`"));
        assert_eq!(draw[0], expected);
        &draw[1]
    }

    fn number(&mut self, expected: &str) -> f64 {
        self.next(expected).as_f64().expect("a number")
    }

    fn operation(&mut self) -> Operation {
        let kind = match self.next("choice").as_str().expect("a name") {
            "autocontrast" => OperationKind::Autocontrast,
            "equalize" => OperationKind::Equalize,
            "posterize" => OperationKind::Posterize,
            "rotate" => OperationKind::Rotate,
            "solarize" => OperationKind::Solarize,
            "shear_x" => OperationKind::ShearX,
            "shear_y" => OperationKind::ShearY,
            "translate_x" => OperationKind::TranslateX,
            "translate_y" => OperationKind::TranslateY,
            name => panic!("unknown operation {name}"),
        };
        let (level, negative) = match kind {
            OperationKind::Autocontrast | OperationKind::Equalize => (0.0, false),
            OperationKind::Posterize | OperationKind::Solarize => (self.number("uniform"), false),
            OperationKind::TranslateX | OperationKind::TranslateY => {
                (self.number("uniform"), self.number("random") > 0.5)
            }
            _ => (self.number("uniform"), self.number("uniform") > 0.5),
        };
        kind.at_level(level, negative, (SIZE, SIZE))
    }

    fn mixture(&mut self) -> Mixture {
        let weights = self.next("dirichlet").clone();
        Mixture {
            chain_weights: std::array::from_fn(|i| weights[i].as_f64().expect("a weight") as f32),
            original_weight: self.number("beta") as f32,
            chains: std::array::from_fn(|_| {
                let length = self.number("randint") as usize;
                (0..length).map(|_| self.operation()).collect()
            }),
        }
    }
}

#[test]
fn augmix_matches_the_official_mixtures() {
    let manifest = manifest();
    let recording = Recording::open("preprocess/augmix");
    let cases = entries(&manifest["augmix_full"], "cases");
    assert_eq!(cases.len(), 3);
    for (index, case) in cases.iter().enumerate() {
        let view = resized_crop(case, &case["box_ijhw"], case["hflip"] == true);
        let mut draws = Draws(entries(case, "draws_in_order").iter());
        let mixture = draws.mixture();
        assert_eq!(draws.0.len(), 0, "every draw is used");
        let mixed = mixture.apply(&view, &Normalization::CLIP);
        let side = SIZE as usize;
        let sampled: Vec<f32> = (0..3 * 28 * 28)
            .map(|i| mixed[(i / 784) * side * side + (i / 28 % 28) * 8 * side + (i % 28) * 8])
            .collect();
        let expected = recording.floats(&format!("mix{index}.out_every8"));
        assert_close(&format!("mix{index}"), &sampled, &expected, Bound::EXACT);
    }
}

#[test]
fn random_crops_have_torchvisions_distribution() {
    let manifest = manifest();
    let expected = &manifest["rrc_distribution_361x241"];
    let (width, height) = (361u32, 241u32);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = 20_000;
    let boxes: Vec<CropBox> =
        (0..count).map(|_| RandomResizedCrop::default().sample(width, height, &mut rng)).collect();
    let mean =
        |value: &dyn Fn(&CropBox) -> f64| boxes.iter().map(value).sum::<f64>() / f64::from(count);
    let area = |b: &CropBox| f64::from(b.width * b.height) / f64::from(width * height);
    let ratio = |b: &CropBox| f64::from(b.width) / f64::from(b.height);
    // Five standard errors of the difference of two means over 20,000 draws each.
    for (name, actual, tolerance) in [
        ("area_frac_mean", mean(&area), 0.012),
        ("ratio_mean", mean(&ratio), 0.009),
        ("i_mean", mean(&|b| f64::from(b.top)), 1.8),
        ("j_mean", mean(&|b| f64::from(b.left)), 3.5),
    ] {
        let recorded = expected[name].as_f64().expect("a mean");
        assert!((actual - recorded).abs() < tolerance, "{name}: {actual}, recorded {recorded}");
    }
    let deciles = |value: &dyn Fn(&CropBox) -> f64| {
        let mut sorted: Vec<f64> = boxes.iter().map(value).collect();
        sorted.sort_by(f64::total_cmp);
        (1..10).map(|decile| sorted[decile * sorted.len() / 10]).collect::<Vec<f64>>()
    };
    for (name, actual) in
        [("area_frac_deciles", deciles(&area)), ("ratio_deciles", deciles(&ratio))]
    {
        for (actual, recorded) in actual.iter().zip(entries(expected, name)) {
            let recorded = recorded.as_f64().expect("a decile");
            assert!((actual - recorded).abs() < 0.02, "{name}: {actual}, recorded {recorded}");
        }
    }
}
