//! A test set: its methods side by side, how sure they are, and what they changed.

use maud::{Markup, html};
use mint_eval::Row;

use super::plots;
use super::thumbnails::{Pictures, changed_images};
use super::{classes, label, mark, percent, scrolling};
use crate::paired::Paired;
use crate::runs::{Cell, Run};
use crate::stream::windows;

/// Windows of a stream.
const WINDOWS: usize = 20;

pub fn section(set: &str, runs: &[Run], pictures: &dyn Pictures) -> Markup {
    let of_set: Vec<(&Run, &Cell)> = runs
        .iter()
        .flat_map(|run| run.cells.iter().map(move |cell| (run, cell)))
        .filter(|(_, cell)| cell.row.test_set == set)
        .collect();
    let cells: Vec<&Cell> = of_set.iter().map(|(_, cell)| *cell).collect();
    let labels: Vec<String> = cells.iter().map(|cell| label(cell, &cells)).collect();
    html! {
        section aria-labelledby=(set) {
            h2 id=(set) { (set) }
            (methods(set, &cells, &labels))
            @if cells.len() > 1 { (against_each_other(set, &cells, &labels)) }
            h3 { "How sure the methods are" }
            p {
                "Share of right answers by the probability of the answer, in 15 bins; on the line both \
                 are equal. The size of a dot grows with its images. Votes are no probabilities."
            }
            div.plots {
                @for (cell, label) in cells.iter().zip(&labels) {
                    @if cell.row.calibration_error.is_some() { (plots::calibration(label, cell)) }
                }
            }
            h3 { "Along the stream" }
            p {
                "Top-1 of images in a row, in the order in which they came: the method (line) and \
                 zero-shot CLIP on the same images (dashes)."
            }
            div.plots {
                @for (cell, label) in cells.iter().zip(&labels) {
                    (plots::stream(label, &windows(&cell.lines, WINDOWS)))
                }
            }
            (classes::section(set, &cells, &labels))
            h3 { "Images that a method fixed and broke" }
            p { "Fixed: zero-shot CLIP is wrong, and the method right. Broken: the other way round." }
            @for ((run, cell), label) in of_set.iter().zip(&labels) {
                (changed_images(run, cell, label, pictures))
            }
        }
    }
}

fn methods(set: &str, cells: &[&Cell], labels: &[String]) -> Markup {
    let row = |(cell, label): (&&Cell, &String)| {
        let Row {
            start,
            images,
            unreadable,
            top1,
            top1_low,
            top1_high,
            top5,
            mean_per_class,
            calibration_error,
            calibration_error_20,
            temperature,
            brier,
            seconds_per_image,
            ..
        } = &cell.named_row();
        let paired = Paired::with_zero_shot(&cell.lines);
        html! { tr {
            th scope="row" { (label) }
            td { (start) }
            td.number { (format!("{top1:.1}")) (mark(Some(paired.verdict()))) }
            td.number { (format!("{top1_low:.1}–{top1_high:.1}")) }
            td.number { (paired.first) " / " (paired.second) }
            td.number { (p_value(&paired)) }
            td.number { (format!("{top5:.1}")) }
            td.number { (format!("{mean_per_class:.1}")) }
            td.number { (percent(*calibration_error)) " / " (percent(*calibration_error_20)) }
            td.number { (temperature.map_or("–".to_owned(), |it| format!("{it:.2}"))) }
            td.number { (brier.map_or("–".to_owned(), |brier| format!("{brier:.3}"))) }
            td.number { (format!("{seconds_per_image:.3}")) }
            td.number { (images) @if *unreadable > 0 { " (" (unreadable) " unreadable)" } }
        } }
    };
    let titles = [
        "Top-1 %",
        "95 %",
        "Fixed / broken",
        "p",
        "Top-5 %",
        "Per class %",
        "ECE % (15 / 20 bins)",
        "Temperature",
        "Brier",
        "Added s",
        "Images",
    ];
    let caption = html! { "Methods on " (set) ". Fixed, broken and p: beside zero-shot CLIP." };
    let content = html! {
        thead { tr {
            th scope="col" { "Method" }
            th scope="col" { "Start" }
            @for title in titles { th.number scope="col" { (title) } }
        } }
        tbody { @for pair in cells.iter().zip(labels) { (row(pair)) } }
    };
    scrolling(&format!("Methods on {set}"), caption, content)
}

fn p_value(paired: &Paired) -> String {
    let p = paired.p_value();
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// Every pair of methods on the same images.
fn against_each_other(set: &str, cells: &[&Cell], labels: &[String]) -> Markup {
    let pair = |one: &Cell, other: &Cell| match Paired::of(&one.lines, &other.lines) {
        Some(paired) => html! {
            (paired.first) " : " (paired.second) (mark(Some(paired.verdict())))
        },
        None => html! { "–" },
    };
    let caption = html! {
        "Images that only the method of the row got right, and only the one of the column. The mark "
        "is the row's. No correction for many comparisons is made."
    };
    let content = html! {
        thead { tr {
            th scope="col" { "Method" }
            @for label in labels { th.number scope="col" { (label) } }
        } }
        tbody {
            @for (one, label) in cells.iter().zip(labels) { tr {
                th scope="row" { (label) }
                @for other in cells {
                    td.number {
                        @if std::ptr::eq(*one, *other) { "·" } @else { (pair(one, other)) }
                    }
                }
            } }
        }
    };
    html! {
        details {
            summary { "Each method beside each other one" }
            (scrolling(&format!("Pairs of methods on {set}"), caption, content))
        }
    }
}
