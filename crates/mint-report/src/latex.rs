//! The paper's table in LaTeX, for the package `booktabs`.

use std::fmt::Write;

use crate::grid::{Grid, GridCell};
use crate::paired::Verdict;

/// A `tabular` of a grid: the best of each column bold, marks where a method is better or worse than
/// zero-shot CLIP beyond chance, published figures in smaller lines below.
pub fn latex(grid: &Grid) -> String {
    let mut text = String::new();
    let mut line = |content: &str| {
        writeln!(text, "{content}").expect("a string can be written");
    };
    line(
        "% Needs \\usepackage{booktabs}. Up and down: better and worse than zero-shot CLIP on the",
    );
    line("% same images (McNemar's exact test, p < 0.05). Bold: the largest of a column.");
    line(&format!("\\begin{{tabular}}{{ll{}}}", "r".repeat(grid.sets.len() + 1)));
    line("\\toprule");
    let sets: String = grid.sets.iter().map(|set| format!(" & {}", escaped(set))).collect();
    line(&format!("Method & Start{sets} & Mean \\\\"));
    line("\\midrule");
    for method in &grid.lines {
        let cells: String =
            method.cells.iter().map(|cell| format!(" & {}", in_latex(cell.as_ref()))).collect();
        let (name, start) = (escaped(&method.method), escaped(&method.start));
        line(&format!("{name} & {start}{cells} & {} \\\\", percent(method.mean())));
        let mut below = |name: &str, values: Vec<Option<f64>>, mean: Option<f64>| {
            let small = |value| format!(" & \\footnotesize {}", percent(value));
            let cells: String = values.into_iter().chain([mean]).map(small).collect();
            line(&format!(" & \\footnotesize {name}{cells} \\\\"));
        };
        if method.has_seeds() {
            below("lowest tenth", method.lowest(), method.lowest_mean());
        }
        if method.is_published() {
            below("published", method.published.clone(), method.published_mean());
        }
    }
    line("\\bottomrule");
    line("\\end{tabular}");
    text
}

fn in_latex(cell: Option<&GridCell>) -> String {
    let Some(cell) = cell else { return "--".to_owned() };
    let number = match cell.deviation {
        Some(deviation) => format!("{:.1} $\\pm$ {deviation:.1}", cell.top1),
        None => format!("{:.1}", cell.top1),
    };
    let number = if cell.is_best { format!("\\textbf{{{number}}}") } else { number };
    let mark = match cell.verdict {
        Some(Verdict::Better) => "$^{\\uparrow}$",
        Some(Verdict::Worse) => "$^{\\downarrow}$",
        Some(Verdict::Even) | None => "",
    };
    number + mark
}

fn percent(value: Option<f64>) -> String {
    value.map_or("--".to_owned(), |value| format!("{value:.1}"))
}

/// Text without the characters that LaTeX gives a meaning.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', letter]),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '\\' => escaped.push_str("\\textbackslash{}"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
