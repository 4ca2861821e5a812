//! The lines of a record: one for each image and method.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::RecordError;

/// One image as one method saw it.
#[derive(Debug, Clone, Serialize)]
pub struct ImageLine<'a> {
    /// Path below the set's root.
    pub path: &'a str,
    /// Index of the image's class.
    pub label: usize,
    /// What the scores are: `logits`, or `votes`, which do not measure confidence.
    pub scores: String,
    /// The five best classes, the best first.
    pub top5: Vec<ScoredClass<'a>>,
    /// Brier score of the class distribution; `None` for votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brier: Option<f32>,
    /// All scores of an image that the temperature was fitted on, or is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<&'a [f32]>,
    /// The class that zero-shot CLIP predicts.
    pub zero_shot_top1: usize,
    /// Loss of each step of adaptation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<f32>,
    /// Time that the method added. The only value that differs between equal runs.
    pub seconds: f64,
}

/// A class with its score.
#[derive(Debug, Clone, Serialize)]
pub struct ScoredClass<'a> {
    /// Index.
    pub class: usize,
    /// Name.
    pub name: &'a str,
    /// Score.
    pub score: f32,
    /// Its probability; `None` for votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
}

/// An image that could not be used.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorLine<'a> {
    /// Path below the set's root.
    pub path: &'a str,
    /// Index of the image's class.
    pub label: usize,
    /// What was wrong, and why.
    pub error: &'a str,
}

/// A line as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedLine {
    text: String,
    value: LineResult,
}

/// What counts of a line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct LineResult {
    path: String,
    label: usize,
    #[serde(default)]
    top5: Vec<RecordedClass>,
    brier: Option<f32>,
    held_out: Option<Vec<f32>>,
    #[serde(default)]
    zero_shot_top1: usize,
    error: Option<String>,
    #[serde(default)]
    seconds: f64,
}

/// One of the best classes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RecordedClass {
    /// Index.
    pub class: usize,
    /// Name.
    pub name: String,
    /// Its probability; `None` for votes.
    pub probability: Option<f32>,
}

/// What a method made of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedResult<'a> {
    /// Index of the image's class.
    pub label: usize,
    /// The best classes, the best first.
    pub best: &'a [RecordedClass],
    /// Brier score; `None` for votes.
    pub brier: Option<f32>,
    /// All scores of an image that the temperature was fitted on; `None` for the others, whose
    /// probabilities count.
    pub held_out: Option<&'a [f32]>,
    /// The class that zero-shot CLIP predicts.
    pub zero_shot_top1: usize,
    /// Time that the method added.
    pub seconds: f64,
}

impl RecordedResult<'_> {
    /// The class with the best score.
    pub fn top1(&self) -> Option<usize> {
        self.best.first().map(|class| class.class)
    }

    /// Whether that is the image's.
    pub fn is_right(&self) -> bool {
        self.top1() == Some(self.label)
    }

    /// Probability of the class with the best score; `None` for votes, and where the temperature was
    /// not yet fitted.
    pub fn confidence(&self) -> Option<f32> {
        self.best.first().and_then(|class| class.probability).filter(|_| self.held_out.is_none())
    }
}

impl RecordedLine {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { text: line.to_owned(), value: serde_json::from_str(line)? })
    }

    /// The line as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line without its text, which is most of it.
    pub fn without_text(self) -> Self {
        Self { text: String::new(), ..self }
    }

    /// Path below the set's root.
    pub fn path(&self) -> &str {
        &self.value.path
    }

    /// Index of the image's class.
    pub fn label(&self) -> usize {
        self.value.label
    }

    /// What counts; `None` for an image that could not be used.
    pub fn result(&self) -> Option<RecordedResult<'_>> {
        let LineResult { label, top5, brier, held_out, zero_shot_top1, error, seconds, .. } =
            &self.value;
        if error.is_some() {
            return None;
        }
        Some(RecordedResult {
            label: *label,
            best: top5,
            brier: *brier,
            held_out: held_out.as_deref(),
            zero_shot_top1: *zero_shot_top1,
            seconds: *seconds,
        })
    }
}

/// The whole lines of a file; what follows the last line end was cut off while it was written.
/// `None` if there is no file.
pub(crate) fn read_lines(path: &Path) -> Result<Option<Vec<RecordedLine>>, RecordError> {
    let damaged = |reason: String| RecordError::Damaged { path: path.to_owned(), reason };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| damaged(error.to_string()))?,
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |(number, line): (usize, &str)| {
        RecordedLine::parse(line).map_err(|error| damaged(format!("line {number}: {error}")))
    };
    (1..).zip(whole.lines()).map(parse).collect::<Result<_, _>>().map(Some)
}

/// Appends lines, each written out at once.
#[derive(Debug)]
pub struct LineWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LineWriter {
    /// At the end of a file that is there.
    pub(crate) fn append(path: PathBuf) -> Result<Self, RecordError> {
        match File::options().append(true).open(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file) }),
            Err(source) => Err(RecordError::Write { path, source }),
        }
    }

    /// Writes one value as a line.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        let mut write = || -> io::Result<()> {
            serde_json::to_writer(&mut self.file, line)?;
            self.file.write_all(b"\n")?;
            self.file.flush()
        };
        write().map_err(|source| RecordError::Write { path: self.path.clone(), source })
    }

    /// Waits until the lines so far are on the disk.
    ///
    /// # Errors
    ///
    /// If the disk does not take them.
    pub fn sync(&self) -> Result<(), RecordError> {
        let synced = self.file.get_ref().sync_data();
        synced.map_err(|source| RecordError::Write { path: self.path.clone(), source })
    }
}
