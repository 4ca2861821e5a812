//! Small drawings. Their words are in their titles, for those who do not see them.

use maud::{Markup, html};
use mint_eval::{BINS, RecordedLine};

use crate::runs::Cell;
use crate::stream::Window;

/// Width and height of the drawn part.
const SIDE: f64 = 140.0;
/// Room for the numbers at the left and below.
const MARGIN: f64 = 38.0;

/// Share of right answers by confidence.
pub fn calibration(label: &str, cell: &Cell) -> Markup {
    let mut bins = [(0u32, 0u32, 0.0f64); BINS];
    for result in cell.lines.iter().filter_map(RecordedLine::result) {
        let Some(confidence) = result.best.first().and_then(|class| class.probability) else {
            continue;
        };
        let confidence = f64::from(confidence);
        let bin = (confidence * BINS as f64).ceil() as usize;
        let (images, right, sum) = &mut bins[bin.clamp(1, BINS) - 1];
        *images += 1;
        *right += u32::from(result.is_right());
        *sum += confidence;
    }
    let most = bins.iter().map(|(images, ..)| *images).max().unwrap_or(0).max(1);
    let title = format!(
        "Calibration of {label}: expected error {:.1} percent",
        cell.row.calibration_error.unwrap_or_default()
    );
    let dots = bins.iter().filter(|(images, ..)| *images > 0).map(|&(images, right, sum)| {
        let (confidence, share) = (sum / f64::from(images), f64::from(right) / f64::from(images));
        let radius = 2.0 + 5.0 * (f64::from(images) / f64::from(most)).sqrt();
        (x(confidence), y(share), radius)
    });
    frame(
        label,
        &title,
        html! {
            line.quiet x1=(x(0.0)) y1=(y(0.0)) x2=(x(1.0)) y2=(y(1.0)) {}
            @for (x, y, radius) in dots {
                circle.method cx=(tenth(x)) cy=(tenth(y)) r=(tenth(radius)) {}
            }
            (axes("0", "1 probability", "0", "1"))
        },
    )
}

/// Top-1 along the stream.
pub fn stream(label: &str, windows: &[Window]) -> Markup {
    let values = windows.iter().flat_map(|window| [window.top1, window.zero_shot_top1]);
    let low = (values.clone().fold(100.0, f64::min) / 10.0).floor() * 10.0;
    let high = ((values.fold(0.0, f64::max) / 10.0).ceil() * 10.0).max(low + 10.0);
    let images = windows.last().map_or(1, |window| window.end).max(1);
    let points = |value: fn(&Window) -> f64| {
        let mut from = 0;
        let mut points = Vec::new();
        for window in windows {
            let middle = (from + window.end) as f64 / 2.0 / images as f64;
            let height = (value(window) - low) / (high - low);
            points.push(format!("{},{}", tenth(x(middle)), tenth(y(height))));
            from = window.end;
        }
        points.join(" ")
    };
    let in_words = |value: fn(&Window) -> f64| {
        let ends = (windows.first().map_or(0.0, value), windows.last().map_or(0.0, value));
        format!("from {:.0} to {:.0} percent", ends.0, ends.1)
    };
    let title = format!(
        "Top-1 of {label} along {images} images: {}; zero-shot CLIP: {}",
        in_words(|window| window.top1),
        in_words(|window| window.zero_shot_top1)
    );
    frame(
        label,
        &title,
        html! {
            polyline.zero-shot points=(points(|window| window.zero_shot_top1)) {}
            polyline.method points=(points(|window| window.top1)) {}
            (axes("1", &format!("{images} images"), &format!("{low:.0}"), &format!("{high:.0} %")))
        },
    )
}

fn frame(label: &str, title: &str, content: Markup) -> Markup {
    let (width, height) = (MARGIN + SIDE + 10.0, SIDE + MARGIN);
    html! {
        figure {
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(title) {
                title { (title) }
                rect.quiet x=(MARGIN) y="8" width=(SIDE) height=(SIDE) {}
                (content)
            }
            figcaption { (label) }
        }
    }
}

fn axes(left: &str, right: &str, bottom: &str, top: &str) -> Markup {
    let below = SIDE + 21.0;
    html! {
        text x=(MARGIN) y=(below) { (left) }
        text.end x=(MARGIN + SIDE) y=(below) { (right) }
        text.end x=(MARGIN - 4.0) y=(SIDE + 8.0) { (bottom) }
        text.end x=(MARGIN - 4.0) y="16" { (top) }
    }
}

/// From 0 at the left to 1 at the right.
fn x(share: f64) -> f64 {
    MARGIN + share * SIDE
}

/// From 0 at the bottom to 1 at the top.
fn y(share: f64) -> f64 {
    8.0 + (1.0 - share) * SIDE
}

fn tenth(value: f64) -> String {
    format!("{value:.1}")
}
