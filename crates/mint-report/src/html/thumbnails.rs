//! Images that a method changed the answer of.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};
use maud::{Markup, html};
use mint_eval::RecordedLine;

use super::classes::names;
use crate::runs::{Cell, Run};

/// Images of each kind that are shown.
const SHOWN: usize = 6;
/// Longer side of a picture, twice that of its place on the page.
const SIDE: u32 = 144;

/// Where the pictures of a record are.
pub trait Pictures {
    /// The picture of a line; `None` if it is no longer there.
    fn picture(&self, run: &Run, test_set: &str, path: &str) -> Option<RgbImage>;
}

/// The first images that a method fixed and broke.
pub fn changed_images(run: &Run, cell: &Cell, label: &str, pictures: &dyn Pictures) -> Markup {
    let changed = |fixed: bool| -> Vec<&RecordedLine> {
        let is_of_kind = |line: &&RecordedLine| {
            line.result().is_some_and(|result| {
                let zero_shot = result.zero_shot_top1 == result.label;
                result.is_right() == fixed && zero_shot != fixed
            })
        };
        cell.lines.iter().filter(is_of_kind).collect()
    };
    let (fixed, broken) = (changed(true), changed(false));
    if fixed.is_empty() && broken.is_empty() {
        return html! {};
    }
    let names = names(&[cell]);
    let name = |class: usize| {
        names.get(&class).map_or(format!("class {class}"), |name| (*name).to_owned())
    };
    let figure = |line: &RecordedLine| {
        let Some(result) = line.result() else { return html! {} };
        let (right, zero_shot) = (name(result.label), name(result.zero_shot_top1));
        let answer = result.top1().map_or(String::new(), name);
        let alternative = format!("{right}: {}", line.path());
        html! {
            figure.picture {
                @match pictures.picture(run, &cell.row.test_set, line.path()) {
                    Some(picture) => {
                        img src=(data_url(&picture, SIDE)) alt=(alternative) loading="lazy";
                    }
                    None => { div.missing role="img" aria-label=(alternative) { "not there" } }
                }
                figcaption { b { (right) } br; (zero_shot) " → " (answer) }
            }
        }
    };
    let kind = |what: &str, lines: &[&RecordedLine]| {
        html! {
            @if !lines.is_empty() {
                h5 { (what) ": " (lines.len()) }
                div.pictures { @for line in lines.iter().take(SHOWN) { (figure(line)) } }
            }
        }
    };
    html! {
        details {
            summary { (label) ": " (fixed.len()) " fixed, " (broken.len()) " broken" }
            h4.hidden { (label) }
            (kind("Fixed", &fixed))
            (kind("Broken", &broken))
        }
    }
}

/// A small picture within the page, whose longer side has at most this many pixels.
pub fn data_url(picture: &RgbImage, side: u32) -> String {
    let side = side.min(picture.width().max(picture.height()));
    let small = DynamicImage::from(picture.clone()).resize(side, side, FilterType::Triangle);
    let small = small.into_rgb8();
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 75);
    // A picture that was decoded has pixels, and memory can be written.
    if small.write_with_encoder(encoder).is_err() {
        return String::new();
    }
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes))
}
