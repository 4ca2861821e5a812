//! Rows as a table for readers.

use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};
use mint_eval::{Row, published_top1};

use crate::grid::Grid;
use crate::like::is_like;
use crate::paired::Verdict;

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStyle {
    /// For a terminal: of several test sets the top-1 percentages alone, one column per set.
    Text,
    /// For a terminal, one line per method and test set.
    Long,
    /// For a document; of several test sets as for a terminal.
    Markdown,
}

/// What the marks mean.
pub(crate) const MARKS: &str =
    "▲ better, ▼ worse than zero-shot CLIP on the same images (McNemar's exact test, p < 0.05)";

/// What takes the place of the test set in a mean over several.
const MEAN: &str = "mean";
/// Test sets of the published mean.
const SHIFTED: [&str; 4] = ["A", "R", "V", "K"];

/// Characters of a line in a terminal of the usual width.
const WIDTH: usize = 80;

/// Draws the rows; percentages with one decimal.
///
/// For a terminal the table is at most 80 characters wide. With a line per method and test set, what
/// is equal in all rows is said above it, what does not fit is left out, which is said below it, and
/// means over A, R, V and K follow where a method has them all.
pub fn table(rows: &[Row], style: TableStyle) -> String {
    if style != TableStyle::Long && rows.iter().any(|row| row.test_set != rows[0].test_set) {
        return draw_grid(&Grid::of_rows(rows), style);
    }
    by_line(rows, style)
}

/// Draws a grid, the mean last. For a terminal, as many columns at a time as fit.
pub fn draw_grid(grid: &Grid, style: TableStyle) -> String {
    let sets = &grid.sets;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut has_marks = false;
    for line in &grid.lines {
        let cells = line.cells.iter().map(|cell| {
            optional(cell.as_ref(), |cell| {
                let mark = cell.verdict.map_or("", Verdict::mark);
                has_marks |= !mark.is_empty();
                let deviation = cell.deviation.map_or(String::new(), |it| format!("±{it:.1}"));
                format!("{:.1}{deviation}{mark}", cell.top1)
            })
        });
        let name = [line.method.clone(), line.start.clone()];
        lines.push(name.into_iter().chain(cells).chain([percent(line.mean())]).collect());
        let mut below = |name: &str, values: Vec<Option<f64>>, mean: Option<f64>| {
            let name = [String::new(), name.to_owned()];
            let values = values.into_iter().chain([mean]).map(percent);
            lines.push(name.into_iter().chain(values).collect());
        };
        if line.has_seeds() {
            below("lowest tenth", line.lowest(), line.lowest_mean());
        }
        if line.is_published() {
            below("published", line.published.clone(), line.published_mean());
        }
    }
    let draw = |columns: Range<usize>| {
        // The mean comes with the last test set.
        let end = columns.end + usize::from(columns.end == sets.len());
        let shown = |line: &[String]| -> Vec<String> {
            line[..2].iter().chain(&line[columns.start + 2..end + 2]).cloned().collect()
        };
        let mut table = Table::new();
        table.load_preset(preset(style));
        let titles = ["method", "start"].into_iter().chain(sets.iter().map(String::as_str));
        let titles: Vec<String> = titles.chain([MEAN]).map(str::to_owned).collect();
        table.set_header(shown(&titles));
        for line in &lines {
            table.add_row(shown(line));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            if style != TableStyle::Markdown {
                column.set_padding((0, 1));
            }
            if index > 1 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    };
    let fits = |text: &str| {
        style == TableStyle::Markdown || text.lines().all(|line| line.chars().count() <= WIDTH)
    };
    let mut blocks = Vec::new();
    let mut from = 0;
    while from < sets.len() {
        let most = (from + 1..=sets.len()).rev().find(|&to| fits(&draw(from..to)));
        let to = most.unwrap_or(from + 1);
        blocks.push(draw(from..to));
        from = to;
    }
    // Paragraphs of a document are apart.
    let end = if style == TableStyle::Markdown { "\n\n" } else { "\n" };
    let note = if has_marks { format!("{end}{MARKS}") } else { String::new() };
    format!("top-1 in percent{end}{}{note}", blocks.join("\n\n"))
}

/// One line per method and test set.
fn by_line(rows: &[Row], style: TableStyle) -> String {
    let rows: Vec<Row> = rows.iter().cloned().chain(means(rows)).collect();
    let any_published = rows.iter().any(|row| row.published_top1.is_some());
    let mut columns = columns(any_published);
    if style == TableStyle::Markdown {
        return draw(&rows, &columns, style);
    }
    let is_constant = |column: &Column| {
        column.is_setting()
            && rows.windows(2).all(|pair| (column.cell)(&pair[0]) == (column.cell)(&pair[1]))
    };
    let (constant, varying) = columns.drain(..).partition(is_constant);
    columns = varying;
    let mut left_out: Vec<&str> = Vec::new();
    let mut text = draw(&rows, &columns, style);
    while text.lines().any(|line| line.chars().count() > WIDTH) {
        let needed_least = (0..columns.len())
            .filter_map(|index| Some((columns[index].least_needed?, index)))
            .min();
        let Some((_, index)) = needed_least else { break };
        left_out.push(columns.remove(index).title);
        text = draw(&rows, &columns, style);
    }
    if let Some(row) = rows.first() {
        let all: Vec<String> = constant
            .iter()
            .map(|column: &Column| (column.title, (column.cell)(row)))
            .filter(|(_, cell)| cell != "-")
            .map(|(title, cell)| format!("{title} {cell}"))
            .collect();
        if !all.is_empty() {
            text = format!("all rows: {}\n{text}", all.join(", "));
        }
    }
    if !left_out.is_empty() {
        text.push_str(&format!("\nnot shown, as too wide: {}", left_out.join(", ")));
    }
    text
}

fn draw(rows: &[Row], columns: &[Column], style: TableStyle) -> String {
    let mut table = Table::new();
    table.load_preset(preset(style));
    table.set_header(columns.iter().map(|column| column.title));
    for row in rows {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    }
    for (column, drawn) in columns.iter().zip(table.column_iter_mut()) {
        if column.is_number {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
        if style != TableStyle::Markdown {
            drawn.set_padding((0, 1));
        }
    }
    table.trim_fmt()
}

fn preset(style: TableStyle) -> &'static str {
    match style {
        TableStyle::Text | TableStyle::Long => presets::NOTHING,
        TableStyle::Markdown => presets::ASCII_MARKDOWN,
    }
}

fn percent(value: Option<f64>) -> String {
    optional(value, |value| format!("{value:.1}"))
}

/// A column of the table.
struct Column {
    title: &'static str,
    is_number: bool,
    cell: fn(&Row) -> String,
    /// Where it may be left out: the lower, the sooner.
    least_needed: Option<u8>,
}

impl Column {
    /// Whether it says how a row was run, and not what came out.
    fn is_setting(&self) -> bool {
        ["views", "share", "steps", "seed", "images"].contains(&self.title)
    }
}

fn columns(any_published: bool) -> Vec<Column> {
    let text = |title, cell| Column { title, is_number: false, cell, least_needed: None };
    let number = |title, cell| Column { title, is_number: true, cell, least_needed: None };
    let less = |needed, column: Column| Column { least_needed: Some(needed), ..column };
    let mut columns = vec![
        text("set", |row| row.test_set.clone()),
        text("method", |row| row.method.clone()),
        text("start", |row| row.start.clone()),
        less(4, number("views", |row| row.views.to_string())),
        less(1, number("share", |row| optional(row.share, |share| share.to_string()))),
        less(3, number("steps", |row| row.steps.to_string())),
        less(0, number("seed", |row| row.seed.to_string())),
        less(5, number("images", |row| row.images.to_string())),
        number("top-1 %", |row| format!("{:.1}", row.top1)),
        number("95 %", interval),
        less(6, number("top-5 %", |row| format!("{:.1}", row.top5))),
        number("ECE %", |row| optional(row.calibration_error, |error| format!("{error:.1}"))),
        number("added s", |row| format!("{:.3}", row.seconds_per_image)),
    ];
    if any_published {
        let published =
            number("published", |row| optional(row.published_top1, |top1| format!("{top1:.2}")));
        columns.insert(10, published);
    }
    columns
}

/// A mean over sets has none of its own.
fn interval(row: &Row) -> String {
    if row.test_set == MEAN {
        "-".to_owned()
    } else {
        format!("{:.1}-{:.1}", row.top1_low, row.top1_high)
    }
}

fn optional<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or("-".to_owned(), text)
}

/// The mean over the shifted sets of each method that has them all, once each.
fn means(rows: &[Row]) -> Vec<Row> {
    let mut means: Vec<Row> = Vec::new();
    for first in rows {
        let of_set =
            |set: &&str| rows.iter().find(|row| row.test_set == **set && is_like(row, first));
        let sets: Vec<&Row> = SHIFTED.iter().filter_map(of_set).collect();
        if sets.len() < SHIFTED.len() || means.iter().any(|mean| is_like(mean, first)) {
            continue;
        }
        let mean = |value: fn(&Row) -> f64| {
            sets.iter().map(|row| value(row)).sum::<f64>() / sets.len() as f64
        };
        means.push(Row {
            test_set: MEAN.to_owned(),
            images: sets.iter().map(|row| row.images).sum(),
            top1: mean(|row| row.top1),
            top1_low: mean(|row| row.top1_low),
            top1_high: mean(|row| row.top1_high),
            top5: mean(|row| row.top5),
            calibration_error: first
                .calibration_error
                .map(|_| mean(|row| row.calibration_error.unwrap_or_default())),
            brier: first.brier.map(|_| mean(|row| row.brier.unwrap_or_default())),
            published_top1: sets
                .iter()
                .all(|row| row.published_top1.is_some())
                .then(|| published_top1(first, "mean"))
                .flatten(),
            seconds_per_image: mean(|row| row.seconds_per_image),
            ..first.clone()
        });
    }
    means
}
