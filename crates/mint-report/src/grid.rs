//! The paper's table: a row per method, a column per test set.

use mint_eval::Row;

use crate::like::{is_like, is_like_but_for_the_seed};
use crate::paired::{Paired, Verdict};
use crate::runs::{Cell, Run};

/// Top-1 percentages by method and test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The columns: short names of test sets.
    pub sets: Vec<String>,
    /// A line per method and way to run it.
    pub lines: Vec<GridLine>,
}

/// A method, run in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct GridLine {
    /// Its name.
    pub method: String,
    /// What it starts from, and what else tells it from another line of the method.
    pub start: String,
    /// One per test set; `None` where it was not run.
    pub cells: Vec<Option<GridCell>>,
    /// Published percentages of the like, one per test set.
    pub published: Vec<Option<f64>>,
}

/// A method on a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct GridCell {
    /// Percentage of right answers; of several seeds the mean.
    pub top1: f64,
    /// 95 % interval; `None` for the mean of several seeds.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation over the seeds, if there are several.
    pub deviation: Option<f64>,
    /// Mean over the lowest tenth of the seeds, at least one ("expected tail accuracy"), if there are
    /// several: what a stream in an unlucky order gives.
    pub lowest: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
    /// Beside zero-shot CLIP on the same images: every seed has to agree. `None` if the lines are
    /// not at hand.
    pub verdict: Option<Verdict>,
    /// Whether no other line has more.
    pub is_best: bool,
}

impl Grid {
    /// Of rows alone: no verdicts, and each seed is a line of its own.
    pub fn of_rows(rows: &[Row]) -> Self {
        let rows: Vec<(&Row, Option<Verdict>)> = rows.iter().map(|row| (row, None)).collect();
        Self::new(&rows, is_like)
    }

    /// Of runs: seeds are put together.
    pub fn of_runs(runs: &[Run]) -> Self {
        let cells = runs.iter().flat_map(|run| &run.cells);
        let verdict = |cell: &Cell| Paired::with_zero_shot(&cell.lines).verdict();
        let rows: Vec<(Row, Verdict)> =
            cells.map(|cell| (cell.named_row(), verdict(cell))).collect();
        let rows: Vec<(&Row, Option<Verdict>)> =
            rows.iter().map(|(row, verdict)| (row, Some(*verdict))).collect();
        Self::new(&rows, is_like_but_for_the_seed)
    }

    fn new(rows: &[(&Row, Option<Verdict>)], is_like: fn(&Row, &Row) -> bool) -> Self {
        let mut sets: Vec<String> = Vec::new();
        let mut methods: Vec<&Row> = Vec::new();
        for (row, _) in rows {
            if !sets.contains(&row.test_set) {
                sets.push(row.test_set.clone());
            }
            if !methods.iter().any(|method| is_like(method, row)) {
                methods.push(row);
            }
        }
        let line = |method: &&Row| {
            let of_set = |set: &String| -> Vec<(&Row, Option<Verdict>)> {
                let of_set = |(row, _): &&(&Row, _)| row.test_set == *set && is_like(row, method);
                rows.iter().filter(of_set).copied().collect()
            };
            GridLine {
                method: method.method.clone(),
                start: start_of(method, &methods),
                cells: sets.iter().map(|set| cell(&of_set(set))).collect(),
                published: sets
                    .iter()
                    .map(|set| of_set(set).first().and_then(|(row, _)| row.published_top1))
                    .collect(),
            }
        };
        let mut lines: Vec<GridLine> = methods.iter().map(line).collect();
        for column in 0..sets.len() {
            let top1 = |line: &GridLine| line.cells[column].as_ref().map(|cell| cell.top1);
            let best = lines.iter().filter_map(top1).fold(f64::NEG_INFINITY, f64::max);
            for cell in lines.iter_mut().filter_map(|line| line.cells[column].as_mut()) {
                cell.is_best = cell.top1 == best;
            }
        }
        Self { sets, lines }
    }
}

impl GridLine {
    /// The mean over all test sets; `None` if the method was not run on one.
    pub fn mean(&self) -> Option<f64> {
        mean(self.cells.iter().map(|cell| cell.as_ref().map(|cell| cell.top1)))
    }

    /// The published mean over all test sets; `None` if one has no published figure.
    pub fn published_mean(&self) -> Option<f64> {
        mean(self.published.iter().copied())
    }

    /// The mean of the lowest tenths over all test sets; `None` if one has a single seed.
    pub fn lowest_mean(&self) -> Option<f64> {
        mean(self.lowest().into_iter())
    }

    /// The lowest tenth of the seeds, one per test set; `None` where there are not several.
    pub fn lowest(&self) -> Vec<Option<f64>> {
        self.cells.iter().map(|cell| cell.as_ref()?.lowest).collect()
    }

    /// Whether there are several seeds.
    pub fn has_seeds(&self) -> bool {
        self.lowest().iter().any(Option::is_some)
    }

    /// Whether anything like it was published.
    pub fn is_published(&self) -> bool {
        self.published.iter().any(Option::is_some)
    }
}

/// `None` if one is missing.
fn mean(values: impl ExactSizeIterator<Item = Option<f64>>) -> Option<f64> {
    let count = values.len();
    let sum: Option<f64> = values.sum();
    sum.filter(|_| count > 0).map(|sum| sum / count as f64)
}

/// All seeds of a method on a test set; `None` if there are none.
fn cell(seeds: &[(&Row, Option<Verdict>)]) -> Option<GridCell> {
    let &(first, verdict) = seeds.first()?;
    let n = seeds.len() as f64;
    let top1 = seeds.iter().map(|(row, _)| row.top1).sum::<f64>() / n;
    let squares: f64 = seeds.iter().map(|(row, _)| (row.top1 - top1).powi(2)).sum();
    let mut ascending: Vec<f64> = seeds.iter().map(|(row, _)| row.top1).collect();
    ascending.sort_by(f64::total_cmp);
    let tail = &ascending[..seeds.len().div_ceil(10)];
    let agree = seeds.iter().all(|(_, other)| *other == verdict);
    Some(GridCell {
        top1,
        interval: (seeds.len() == 1).then_some((first.top1_low, first.top1_high)),
        deviation: (seeds.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
        lowest: (seeds.len() > 1).then(|| tail.iter().sum::<f64>() / tail.len() as f64),
        seeds: seeds.len(),
        verdict: verdict.map(|verdict| if agree { verdict } else { Verdict::Even }),
        is_best: false,
    })
}

/// What a method starts from, and what else tells it from another line of the method.
fn start_of(method: &Row, methods: &[&Row]) -> String {
    let Row { start, views, share, steps, seed, .. } = method;
    let is_other = |row: &&&Row| row.method == method.method && row.start == *start;
    let others: Vec<&&Row> = methods.iter().filter(is_other).collect();
    let mut text = start.clone();
    let mut add = |differs: bool, what: String| {
        if differs {
            text.push_str(&format!(", {what}"));
        }
    };
    add(others.iter().any(|row| row.views != *views), format!("{views} views"));
    let share_text = share.map_or("-".to_owned(), |share| share.to_string());
    add(others.iter().any(|row| row.share != *share), format!("share {share_text}"));
    add(others.iter().any(|row| row.steps != *steps), format!("{steps} steps"));
    add(others.iter().any(|row| row.seed != *seed), format!("seed {seed}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_seeds_the_lowest_tenth_is_told() {
        let lowest = |percentages: &[f64]| {
            let rows: Vec<Row> =
                percentages.iter().map(|&top1| Row { top1, ..Row::default() }).collect();
            let seeds: Vec<(&Row, Option<Verdict>)> = rows.iter().map(|row| (row, None)).collect();
            cell(&seeds).expect("there are seeds").lowest
        };
        assert_eq!(lowest(&[50.0]), None, "a single seed has no tail");
        assert_eq!(lowest(&[60.0, 50.0, 70.0]), Some(50.0));
        let eleven: Vec<f64> = (0..11).rev().map(|seed| 40.0 + f64::from(seed)).collect();
        assert_eq!(lowest(&eleven), Some(40.5), "a tenth of eleven is begun by two");
        let line = GridLine {
            method: String::new(),
            start: String::new(),
            cells: vec![cell(&[(&Row::default(), None)]), None],
            published: vec![None; 2],
        };
        assert!(!line.has_seeds() && line.lowest_mean().is_none());
    }
}
