//! Small drawings. Their words are in their titles, for those who do not see them.

use maud::{Markup, html};
use mint_eval::{Calibration, RecordedLine};

use crate::runs::Cell;
use crate::stream::Window;

/// Width and height of the drawn part.
const SIDE: f64 = 140.0;
/// Room for the numbers at the left and below.
const MARGIN: f64 = 38.0;

/// Share of right answers by confidence.
pub fn calibration(label: &str, cell: &Cell) -> Markup {
    let mut calibration = Calibration::default();
    for result in cell.lines.iter().filter_map(RecordedLine::result) {
        if let Some(confidence) = result.confidence() {
            calibration.add(confidence, result.is_right(), 0.0);
        }
    }
    let [bins, _] = calibration.bins();
    let most = bins.iter().map(|bin| bin.images).max().unwrap_or(0).max(1) as f64;
    let title = format!(
        "Calibration of {label}: expected error {:.1} percent",
        cell.row.calibration_error.unwrap_or_default()
    );
    let dots = bins.iter().filter(|bin| bin.images > 0).map(|bin| {
        let images = bin.images as f64;
        let radius = 2.0 + 5.0 * (images / most).sqrt();
        (x(bin.confidence / images), y(bin.right as f64 / images), radius)
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

/// A number of each step of adaptation.
pub fn steps(label: &str, values: &[f32]) -> Markup {
    let (low, high) =
        values.iter().fold((f32::MAX, f32::MIN), |(low, high), &it| (low.min(it), high.max(it)));
    let (low, span) = (f64::from(low), f64::from(high - low).max(f64::from(f32::MIN_POSITIVE)));
    let last = values.len().saturating_sub(1).max(1) as f64;
    let place =
        |(step, &value): (usize, &f32)| (x(step as f64 / last), y((f64::from(value) - low) / span));
    let places: Vec<(f64, f64)> = values.iter().enumerate().map(place).collect();
    let points: Vec<String> =
        places.iter().map(|(x, y)| format!("{},{}", tenth(*x), tenth(*y))).collect();
    let in_words: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
    frame(
        label,
        &format!("{label} of each step: {}", in_words.join(", ")),
        html! {
            polyline.method points=(points.join(" ")) {}
            @for (x, y) in places { circle.method cx=(tenth(x)) cy=(tenth(y)) r="3" {} }
            (axes("step 1", &format!("step {}", values.len()), &format!("{low:.2}"), &format!("{high:.2}")))
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
