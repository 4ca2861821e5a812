//! Records as runs: found, read, and put together from their parts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mint_eval::{
    Difference, MethodId, RUN_FILE, RecordError, RecordedLine, RecordedRun, Row, RunInfo, Shard,
    Usage, recounted,
};

use crate::like::is_like;
use crate::paired::Paired;

/// A run, of one record or of all its parts.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folders of its records, those of parts in their order.
    pub folders: Vec<PathBuf>,
    /// What was run; without a part.
    pub info: RunInfo,
    /// Whether all test sets are done.
    pub finished: bool,
    /// What each process that worked on it used.
    pub processes: Vec<Usage>,
    /// A method on a test set each.
    pub cells: Vec<Cell>,
    /// Methods whose results depend on how the images were divided, if they were.
    pub divided_memories: Vec<String>,
}

/// A method on a test set.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What was counted.
    pub row: Row,
    /// One line per image, in their order; without their texts.
    pub lines: Vec<RecordedLine>,
    /// Settings that tell it from another run's cell of the same method and start; empty for the
    /// first of them.
    pub variant: String,
}

impl Cell {
    fn new(row: &Row, lines: Vec<RecordedLine>) -> Self {
        Self { row: recounted(row.clone(), &lines), lines, variant: String::new() }
    }

    /// The row as a table names it: the variant goes with the start.
    pub fn named_row(&self) -> Row {
        let mut row = self.row.clone();
        if !self.variant.is_empty() {
            row.start = format!("{}, {}", row.start, self.variant);
        }
        row
    }
}

/// Records that cannot be reported on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no record.
    #[error("`{}` holds no record of a run (no `{RUN_FILE}`)", .0.display())]
    NoRecord(PathBuf),
    /// A record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The lines of a record are not what its row says.
    #[error(
        "`{}`: the lines of {method} on {test_set} do not give the row in `{RUN_FILE}`; were files changed?",
        folder.display()
    )]
    OtherLines {
        /// The record.
        folder: PathBuf,
        /// The method.
        method: String,
        /// The test set.
        test_set: String,
    },
    /// A part of a run is not finished.
    #[error("`{}` is a part of a run and not finished; resume it first", .0.display())]
    Unfinished(PathBuf),
    /// Parts of a run are missing.
    #[error(
        "`{}` is part {} of {} of a run, and of the others {} missing{}",
        folder.display(),
        shard.index,
        shard.count,
        are_missing(missing),
        nearly(similar)
    )]
    Gap {
        /// A part that is there.
        folder: PathBuf,
        /// Which one it is.
        shard: Shard,
        /// Those that are not there.
        missing: Vec<usize>,
        /// A part of another run, and what tells it from this one.
        similar: Option<(PathBuf, Vec<Difference>)>,
    },
    /// A part of a run is there twice.
    #[error("`{}` and `{}` are the same part of a run", one.display(), other.display())]
    Overlap {
        /// A part.
        one: PathBuf,
        /// The same part.
        other: PathBuf,
    },
    /// Two runs have other results of the same thing.
    #[error(
        "`{}` and `{}` both have {method} on {test_set} with the same settings and other results; name one of them",
        one.display(),
        other.display()
    )]
    Twice {
        /// A run.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
        /// The method.
        method: String,
        /// The test set.
        test_set: String,
    },
    /// A part has other images than the division gives it.
    #[error("the parts of {test_set} do not fit together: `{}` has {images} images", folder.display())]
    Uneven {
        /// The part.
        folder: PathBuf,
        /// The test set.
        test_set: String,
        /// Its images.
        images: usize,
    },
}

fn are_missing(missing: &[usize]) -> String {
    let numbers: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let verb = if missing.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", numbers.join(", "))
}

fn nearly(similar: &Option<(PathBuf, Vec<Difference>)>) -> String {
    let Some((folder, differences)) = similar else { return String::new() };
    let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
    format!("; `{}` is of another run: {}", folder.display(), differences.join("; "))
}

/// The folders of all records in some folders, or below them, sorted.
///
/// # Errors
///
/// If a folder cannot be read, or there is no record in one.
pub fn find_records(folders: &[PathBuf]) -> Result<Vec<PathBuf>, ReportError> {
    let mut found = Vec::new();
    for folder in folders {
        let before = found.len();
        search(folder, &mut found)?;
        if found.len() == before {
            return Err(ReportError::NoRecord(folder.clone()));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ReportError> {
    if folder.join(RUN_FILE).is_file() {
        found.push(folder.to_owned());
        return Ok(());
    }
    let error = |source| ReportError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        // Links are not followed: they may lead round in circles.
        if entry.file_type().map_err(error)?.is_dir() {
            search(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// Reads records, and puts the parts of divided runs together.
///
/// # Errors
///
/// If a record is damaged, or the parts of a run are not all there, once each, and finished.
///
/// A method that was run in the same way on the same images by two of the runs is counted once if the
/// results are the same, and an error otherwise.
pub fn read_runs(folders: &[PathBuf]) -> Result<Vec<Run>, ReportError> {
    // A sweep has millions of lines; their texts are for those who write them again.
    let mut runs = read(folders, Texts::Dropped)?;
    name_variants(&mut runs);
    drop_doubles(&mut runs)?;
    Ok(runs)
}

/// Whether lines keep the text that they were read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Kept,
    Dropped,
}

fn read(folders: &[PathBuf], texts: Texts) -> Result<Vec<Run>, ReportError> {
    let mut runs = Vec::new();
    let mut parts: Vec<(Shard, RecordedRun)> = Vec::new();
    for folder in folders {
        let record = RecordedRun::read(folder)?;
        match record.info.config.shard {
            None => runs.push(whole(record, texts)?),
            Some(shard) => parts.push((shard, record)),
        }
    }
    while let Some((shard, first)) = parts.first().cloned() {
        let (together, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(other, record)| {
                other.count == shard.count && differences(&first.info, &record.info).is_empty()
            });
        parts = others;
        runs.push(merged(together, &parts, texts)?);
    }
    Ok(runs)
}

/// Says of each cell what tells it from the first one that looks the same in a table.
fn name_variants(runs: &mut [Run]) {
    let key = |row: &Row| {
        (row.method.clone(), row.start.clone(), row.views, row.share.map(f64::to_bits), row.steps)
    };
    let mut first_of = Vec::new();
    for index in 0..runs.len() {
        let (before, rest) = runs.split_at_mut(index);
        let Some(run) = rest.first_mut() else { continue };
        for cell in &mut run.cells {
            let known = first_of.iter().find(|(known, _)| *known == key(&cell.row));
            match known {
                None => first_of.push((key(&cell.row), index)),
                Some((_, first)) if *first < index => {
                    cell.variant = variant(&cell.row, &run.info, &before[*first].info);
                }
                Some(_) => {}
            }
        }
    }
}

/// What tells a row from one of another run, of all that the row depends on.
fn variant(row: &Row, info: &RunInfo, first: &RunInfo) -> String {
    let differences = differences(info, first);
    let relevant = differences.iter().filter(|difference| concerns(row, &difference.name));
    let text = |difference: &Difference| format!("{} {}", difference.name, difference.now);
    relevant.map(text).collect::<Vec<_>>().join(", ")
}

/// Whether a setting can change the results of a row.
fn concerns(row: &Row, setting: &str) -> bool {
    // Columns of their own, or which sets and methods were run together.
    if ["seed", "methods", "test-sets"].contains(&setting) || setting.starts_with("test set") {
        return false;
    }
    let mut parts = setting.split('.');
    let is_method = |name: &str| name.parse::<MethodId>().is_ok();
    match (parts.next(), parts.next()) {
        (Some("texts" | "starts"), Some(method)) => method == row.method,
        (Some("context"), _) => row.start == "context",
        (Some("class-texts"), _) => row.start == "class texts",
        (Some(section), _) if is_method(section) => section == row.method,
        _ => true,
    }
}

/// Leaves out what two runs have both.
fn drop_doubles(runs: &mut Vec<Run>) -> Result<(), ReportError> {
    let is_same = |one: &Cell, other: &Cell| {
        let of = |cell: &Cell| (cell.row.clone(), cell.variant.clone());
        let (one, other) = (of(one), of(other));
        is_like(&one.0, &other.0) && one.0.test_set == other.0.test_set && one.1 == other.1
    };
    for index in 0..runs.len() {
        let (before, rest) = runs.split_at_mut(index);
        let Some(run) = rest.first_mut() else { continue };
        let mut problem = None;
        run.cells.retain(|cell| {
            let double = before.iter().find_map(|earlier| {
                let cell = earlier.cells.iter().find(|other| is_same(other, cell))?;
                Some((earlier, cell))
            });
            let Some((earlier, other)) = double else { return true };
            if Paired::of(&cell.lines, &other.lines).is_none_or(|paired| paired.differ() > 0) {
                problem = Some((earlier.folders[0].clone(), cell.row.clone()));
            }
            false
        });
        if let Some((one, row)) = problem {
            let other = run.folders[0].clone();
            return Err(ReportError::Twice {
                one,
                other,
                method: row.method,
                test_set: row.test_set,
            });
        }
    }
    runs.retain(|run| !run.cells.is_empty() || !run.finished);
    Ok(())
}

/// What tells two runs apart, besides which part of the images they are, and where files are.
fn differences(one: &RunInfo, other: &RunInfo) -> Vec<Difference> {
    let plain = |info: &RunInfo| {
        let mut info = info.clone();
        info.config.shard = None;
        info.test_sets.iter_mut().for_each(|set| set.folder = None);
        info
    };
    plain(one).differences(&plain(other))
}

fn whole(record: RecordedRun, texts: Texts) -> Result<Run, ReportError> {
    let mut cells = Vec::new();
    for row in &record.rows {
        cells.push(Cell::new(row, lines_of(&record, row, texts)?));
    }
    let RecordedRun { folder, info, finished, processes, .. } = record;
    let divided_memories = Vec::new();
    Ok(Run { folders: vec![folder], info, finished, processes, cells, divided_memories })
}

/// The lines of a row, which must give it.
fn lines_of(
    record: &RecordedRun,
    row: &Row,
    texts: Texts,
) -> Result<Vec<RecordedLine>, ReportError> {
    let lines = record.lines(&row.test_set, &row.method)?;
    let recounted = recounted(row.clone(), &lines);
    let counts = |row: &Row| (row.images, row.unreadable, row.top1.to_bits(), row.top5.to_bits());
    if counts(&recounted) != counts(row) {
        return Err(ReportError::OtherLines {
            folder: record.folder.clone(),
            method: row.method.clone(),
            test_set: row.test_set.clone(),
        });
    }
    Ok(match texts {
        Texts::Kept => lines,
        Texts::Dropped => lines.into_iter().map(RecordedLine::without_text).collect(),
    })
}

/// All parts of a run as one. `others` are parts of other runs, to explain a gap.
fn merged(
    mut parts: Vec<(Shard, RecordedRun)>,
    others: &[(Shard, RecordedRun)],
    texts: Texts,
) -> Result<Run, ReportError> {
    parts.sort_by_key(|(shard, _)| shard.index);
    let (shard, first) = parts[0].clone();
    if let Some(pair) = parts.windows(2).find(|pair| pair[0].0.index == pair[1].0.index) {
        let [one, other] = [&pair[0].1, &pair[1].1].map(|record| record.folder.clone());
        return Err(ReportError::Overlap { one, other });
    }
    let missing: Vec<usize> = (0..shard.count)
        .filter(|index| parts.iter().all(|(shard, _)| shard.index != *index))
        .collect();
    if !missing.is_empty() {
        let similar = others.iter().find(|(other, _)| missing.contains(&other.index));
        let similar = similar
            .map(|(_, record)| (record.folder.clone(), differences(&record.info, &first.info)));
        return Err(ReportError::Gap { folder: first.folder, shard, missing, similar });
    }
    if let Some((_, part)) = parts.iter().find(|(_, part)| !part.finished) {
        return Err(ReportError::Unfinished(part.folder.clone()));
    }
    let mut cells = Vec::new();
    for mut row in first.rows {
        let mut of_parts = Vec::new();
        for (_, part) in &parts {
            let same = |other: &&Row| other.test_set == row.test_set && other.method == row.method;
            let uneven = || ReportError::Uneven {
                folder: part.folder.clone(),
                test_set: row.test_set.clone(),
                images: 0,
            };
            let own = part.rows.iter().find(same).ok_or_else(uneven)?;
            if own.temperature != row.temperature {
                row.temperature = None; // each part fitted its own
            }
            of_parts.push((part, lines_of(part, own, texts)?));
        }
        cells.push(Cell::new(&row, interleaved(&row.test_set, of_parts)?));
    }
    let mut info = first.info;
    let divided_memories = info.config.remembering();
    info.config.shard = None;
    Ok(Run {
        folders: parts.iter().map(|(_, part)| part.folder.clone()).collect(),
        info,
        finished: true,
        processes: parts.into_iter().flat_map(|(_, part)| part.processes).collect(),
        cells,
        divided_memories: divided_memories.iter().map(|id| id.name().to_owned()).collect(),
    })
}

/// The lines in the order of the whole run: part `i` of `n` has every `n`-th image from `i` on.
fn interleaved(
    test_set: &str,
    parts: Vec<(&RecordedRun, Vec<RecordedLine>)>,
) -> Result<Vec<RecordedLine>, ReportError> {
    let count = parts.len();
    let images: usize = parts.iter().map(|(_, lines)| lines.len()).sum();
    for (index, (part, lines)) in parts.iter().enumerate() {
        if lines.len() != (images + count - 1 - index) / count {
            return Err(ReportError::Uneven {
                folder: part.folder.clone(),
                test_set: test_set.to_owned(),
                images: lines.len(),
            });
        }
    }
    let mut lines: Vec<_> = parts.into_iter().map(|(_, lines)| lines.into_iter()).collect();
    Ok((0..images).filter_map(|position| lines[position % count].next()).collect())
}

impl Run {
    /// Writes the run as one record, as if it had never been divided.
    ///
    /// # Errors
    ///
    /// If the folder holds files, or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), ReportError> {
        for run in read(&self.folders, Texts::Kept)? {
            let record = RecordedRun {
                folder: folder.to_owned(),
                info: run.info,
                finished: run.finished,
                rows: run.cells.iter().map(|cell| cell.row.clone()).collect(),
                processes: run.processes,
            };
            record.create()?;
            for Cell { row, lines, .. } in &run.cells {
                record.write_lines(&row.test_set, &row.method, lines)?;
            }
        }
        Ok(())
    }
}
