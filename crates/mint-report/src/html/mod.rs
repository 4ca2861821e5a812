//! One page that holds everything: no scripts, and nothing that is fetched.

mod classes;
mod explained;
mod plots;
mod runs;
mod test_set;
mod thumbnails;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::grid::{Grid, GridCell};
use crate::paired::Verdict;
use crate::runs::{Cell, Run};
use crate::table::MARKS;

pub use explained::{ExplainedAnswer, ExplainedMethod, ExplainedPage, ExplainedPicture};
pub use thumbnails::Pictures;

/// How the page looks.
const STYLE: &str = include_str!("style.css");

/// A page about runs: the paper's table, then each test set, then what the runs used.
pub fn page(runs: &[Run], pictures: &dyn Pictures) -> String {
    let grid = Grid::of_runs(runs);
    let unfinished: Vec<String> = runs
        .iter()
        .filter(|run| !run.finished)
        .flat_map(|run| &run.folders)
        .map(|folder| folder.display().to_string())
        .collect();
    let title = "Test-time adaptation: results";
    let header = html! {
        h1 { (title) }
        @if !unfinished.is_empty() { p.warning { "Not finished: " (unfinished.join(", ")) } }
        @for note in notes(runs) { p.warning { (note) } }
        nav aria-label="Test sets" {
            ul {
                @for set in &grid.sets { li { a href=(format!("#{set}")) { (set) } } }
                li { a href="#runs" { "Time, memory, settings" } }
            }
        }
    };
    let main = html! {
        section aria-labelledby="table" {
            h2 id="table" { "Top-1 in percent" }
            (paper_table(&grid))
        }
        @for set in &grid.sets { (test_set::section(set, runs, pictures)) }
        (runs::section(runs))
    };
    document(title, &header, &main)
}

/// A page of its own.
fn document(title: &str, header: &Markup, main: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                // Nothing is asked of anybody, whatever a name of a class contains.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (header) }
                main { (main) }
            }
        }
    };
    page.into_string()
}

/// What readers of the numbers have to know.
fn notes(runs: &[Run]) -> Vec<String> {
    let divided = runs.iter().filter(|run| !run.divided_memories.is_empty());
    divided
        .map(|run| {
            format!(
                "{} remembered the images of its own part only: the run was divided into {} parts.",
                run.divided_memories.join(", "),
                run.folders.len()
            )
        })
        .collect()
}

fn paper_table(grid: &Grid) -> Markup {
    let is_marked = grid
        .lines
        .iter()
        .flat_map(|line| &line.cells)
        .flatten()
        .any(|cell| cell.verdict.is_some_and(|verdict| verdict != Verdict::Even));
    scrolling(
        "Top-1 by method and test set",
        html! { "Small: 95 % intervals, or the number of seeds. Bold: the largest of a column."
        @if is_marked { " " (MARKS) "." } },
        html! { thead { tr {
            th scope="col" { "Method" }
            th scope="col" { "Start" }
            @for set in &grid.sets { th.number scope="col" { (set) } }
            th.number scope="col" { "Mean" }
        } }
        tbody {
            @for line in &grid.lines {
                tr {
                    th scope="row" { (line.method) }
                    td { (line.start) }
                    @for cell in &line.cells { td.number { (top1(cell.as_ref())) } }
                    td.number { (percent(line.mean())) }
                }
                @if line.is_published() {
                    tr.published {
                        th scope="row" { (line.method) ", published" }
                        td {}
                        @for value in &line.published { td.number { (percent(*value)) } }
                        td.number { (percent(line.published_mean())) }
                    }
                }
            }
        } },
    )
}

fn top1(cell: Option<&GridCell>) -> Markup {
    let Some(cell) = cell else { return html! { "–" } };
    let number = match cell.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", cell.top1),
        None => format!("{:.1}", cell.top1),
    };
    html! {
        @if cell.is_best { strong { (number) } } @else { (number) }
        (mark(cell.verdict))
        br;
        small {
            @match cell.interval {
                Some((low, high)) => { (format!("{low:.1}–{high:.1}")) }
                None => {
                    (cell.seeds) " seeds, lowest tenth " (percent(cell.lowest))
                }
            }
        }
    }
}

/// A mark that is read aloud as a word.
fn mark(verdict: Option<Verdict>) -> Markup {
    match verdict {
        Some(Verdict::Better) => html! { span.better role="img" aria-label="better" { "▲" } },
        Some(Verdict::Worse) => html! { span.worse role="img" aria-label="worse" { "▼" } },
        Some(Verdict::Even) | None => html! {},
    }
}

/// A table, which may be wider than the page and can be reached by the keyboard, below what it says.
fn scrolling(label: &str, caption: Markup, content: Markup) -> Markup {
    html! {
        p.caption { (caption) }
        div.scrolling role="region" tabindex="0" aria-label=(label) { table { (content) } }
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.1}"))
}

/// A method as a reader tells it from the others.
fn label(cell: &Cell, among: &[&Cell]) -> String {
    let like = |other: &&&Cell| other.row.method == cell.row.method;
    let mut label = cell.row.method.clone();
    let others: Vec<_> = among.iter().filter(like).collect();
    if others.len() > 1 {
        label.push_str(&format!(", {}", cell.named_row().start));
        if others.iter().any(|other| other.row.seed != cell.row.seed) {
            label.push_str(&format!(", seed {}", cell.row.seed));
        }
    }
    label
}
