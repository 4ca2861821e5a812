//! The record of a run: one JSON file about the run, and one JSON line an image and method.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::row::Row;

/// Name of the file about the run.
pub const RUN_FILE: &str = "run.json";

/// A record that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder holds another run, or other files.
    #[error(
        "`{}` already holds files; go on with the run in it by `--resume`, or name another folder with `--output`",
        folder.display()
    )]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The run to go on with had other settings.
    #[error(
        "`{}` is the record of a run with other {difference}; `--resume` goes on with equal ones only",
        folder.display()
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        difference: &'static str,
    },
    /// A file of the run to go on with cannot be read.
    #[error("cannot go on: `{}` is damaged ({reason})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What is known about a run before it starts.
#[derive(Debug, Clone, Serialize)]
pub struct RunInfo {
    /// The whole configuration.
    pub config: serde_json::Value,
    /// Seed of order and views.
    pub seed: u64,
    /// The weights.
    pub weights: WeightsInfo,
    /// Versions of this program and of Burn.
    pub versions: Versions,
    /// The machine.
    pub host: Host,
    /// The device that ran the tensors.
    pub device: String,
}

/// Which weights were used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeightsInfo {
    /// Every file that numbers were read from.
    pub files: Vec<WeightsFile>,
    /// Activation of the MLPs.
    pub activation: String,
    /// Factor of the cosine similarities.
    pub logit_scale: f32,
}

/// One of the files of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeightsFile {
    /// File, or a name for embedded weights.
    pub file: String,
    /// Hexadecimal SHA-256 of the file.
    pub sha256: String,
}

impl WeightsInfo {
    /// The names of the files.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.file.as_str()).collect();
        names.join(" + ")
    }

    /// Whether both are the same model, wherever its files lie.
    pub fn is_same_model(&self, other: &Self) -> bool {
        let checksums = |info: &Self| -> Vec<String> {
            info.files.iter().map(|file| file.sha256.clone()).collect()
        };
        checksums(self) == checksums(other)
            && self.activation == other.activation
            && self.logit_scale == other.logit_scale
    }
}

/// Versions of the programs involved.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// This project.
    pub mint: &'static str,
    /// The tensor library.
    pub burn: &'static str,
}

impl Default for Versions {
    fn default() -> Self {
        Self { mint: env!("CARGO_PKG_VERSION"), burn: env!("BURN_VERSION") }
    }
}

/// The machine of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Operating system.
    pub os: &'static str,
    /// Processor architecture.
    pub arch: &'static str,
    /// Number of cores available.
    pub cores: usize,
}

impl Host {
    /// This machine.
    pub fn current() -> Self {
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// One image as one method saw it.
#[derive(Debug, Clone, Serialize)]
pub struct ImageLine<'a> {
    /// Path below the set's root.
    pub path: &'a str,
    /// Index of the image's class.
    pub label: usize,
    /// What the scores are: `logits`, or `votes`, which are no measure of confidence.
    pub scores: &'static str,
    /// The five best classes, the best first.
    pub top5: Vec<ScoredClass<'a>>,
    /// Brier score of the class distribution; nothing for votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brier: Option<f32>,
    /// The class that zero-shot CLIP gives.
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
    /// Its probability; nothing for votes.
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
    /// What was wrong.
    pub error: &'a str,
}

/// A run's folder.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    info: RunInfo,
}

#[derive(Serialize)]
struct RunFile<'a> {
    #[serde(flatten)]
    info: &'a RunInfo,
    finished: bool,
    rows: &'a [Row],
}

impl Record {
    /// Creates the folder and says in it what is about to run.
    pub fn create(folder: &Path, info: RunInfo) -> Result<Self, RecordError> {
        // Lines or a memory left by something else would be taken for this run's own.
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RecordError::Exists { folder: folder.to_owned() });
        }
        let error = |source| RecordError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(error)?;
        let record = Self { folder: folder.to_owned(), info };
        record.write_run(false, &[])?;
        Ok(record)
    }

    /// Goes on with a run that was broken off; gives the rows of the sets that it had finished.
    ///
    /// A folder without a record is started anew.
    pub fn resume(folder: &Path, info: RunInfo) -> Result<(Self, Vec<Row>), RecordError> {
        let path = folder.join(RUN_FILE);
        if !path.exists() {
            return Ok((Self::create(folder, info)?, Vec::new()));
        }
        let damaged = |reason: String| RecordError::Damaged { path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| damaged(error.to_string()))?;
        let earlier: EarlierRun =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let other = |difference| RecordError::OtherRun { folder: folder.to_owned(), difference };
        // Written and read like the other: text does not keep the last bit of every number.
        let config: serde_json::Value = serde_json::from_str(&info.config.to_string())
            .map_err(|error| damaged(error.to_string()))?;
        if earlier.config != config {
            return Err(other("settings"));
        }
        if !earlier.weights.is_same_model(&info.weights) {
            return Err(other("weights"));
        }
        Ok((Self { folder: folder.to_owned(), info }, earlier.rows))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The whole lines that an earlier run left for a test set and method.
    pub fn earlier_lines(
        &self,
        test_set: &str,
        method: &str,
    ) -> Result<Vec<EarlierLine>, RecordError> {
        let path = self.lines_path(test_set, method);
        let damaged = |error: String| RecordError::Damaged { path: path.clone(), reason: error };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| damaged(error.to_string()))?,
        };
        // What follows the last line end was cut off while it was written.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let parse = |line: &str| {
            let value = serde_json::from_str(line).map_err(|error| damaged(error.to_string()))?;
            Ok(EarlierLine { text: line.to_owned(), value })
        };
        whole.lines().map(parse).collect()
    }

    /// Opens the lines of one test set and method, starting with some of an earlier run.
    pub fn lines(
        &self,
        test_set: &str,
        method: &str,
        earlier: &[EarlierLine],
    ) -> Result<LineWriter, RecordError> {
        let path = self.lines_path(test_set, method);
        let error = |source| RecordError::Write { path: path.clone(), source };
        let text: String = earlier.iter().map(|line| format!("{}\n", line.text)).collect();
        write_whole(&path, text.as_bytes()).map_err(error)?;
        let file = File::options().append(true).open(&path).map_err(error)?;
        Ok(LineWriter { path, file: BufWriter::new(file) })
    }

    fn lines_path(&self, test_set: &str, method: &str) -> PathBuf {
        self.folder.join(format!("{test_set}-{method}.jsonl"))
    }

    /// Adds the rows so far.
    pub fn update(&self, rows: &[Row]) -> Result<(), RecordError> {
        self.write_run(false, rows)
    }

    /// Adds the rows and marks the run as complete.
    pub fn finish(&self, rows: &[Row]) -> Result<(), RecordError> {
        self.write_run(true, rows)
    }

    fn write_run(&self, finished: bool, rows: &[Row]) -> Result<(), RecordError> {
        let path = self.folder.join(RUN_FILE);
        let write = || -> io::Result<()> {
            let contents = RunFile { info: &self.info, finished, rows };
            let mut text = serde_json::to_string_pretty(&contents)?;
            text.push('\n');
            write_whole(&path, text.as_bytes())
        };
        write().map_err(|source| RecordError::Write { path: path.clone(), source })
    }
}

/// Writes a temporary file and renames it, so that the file is always whole.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    fs::write(&temporary, contents)?;
    fs::rename(&temporary, path)
}

/// What a resumed run needs of the file about the run.
#[derive(Deserialize)]
struct EarlierRun {
    config: serde_json::Value,
    weights: WeightsInfo,
    rows: Vec<Row>,
}

/// A line of an earlier run.
#[derive(Debug, Clone)]
pub struct EarlierLine {
    text: String,
    value: LineResult,
}

/// What counts of a line.
#[derive(Debug, Clone, Deserialize)]
struct LineResult {
    path: String,
    label: usize,
    #[serde(default)]
    top5: Vec<EarlierClass>,
    brier: Option<f32>,
    error: Option<String>,
    #[serde(default)]
    seconds: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct EarlierClass {
    class: usize,
    probability: Option<f32>,
}

/// What a method made of an image in an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierResult {
    /// Index of the image's class.
    pub label: usize,
    /// The best classes, the best first.
    pub best: Vec<usize>,
    /// Probability of the first of them.
    pub confidence: Option<f32>,
    /// Brier score.
    pub brier: Option<f32>,
    /// Time that the method added.
    pub seconds: f64,
}

impl EarlierLine {
    /// Path below the set's root.
    pub fn path(&self) -> &str {
        &self.value.path
    }

    /// What counts; nothing for an image that could not be used.
    pub fn result(&self) -> Option<EarlierResult> {
        let LineResult { label, top5, brier, error: None, seconds, .. } = &self.value else {
            return None;
        };
        Some(EarlierResult {
            label: *label,
            best: top5.iter().map(|class| class.class).collect(),
            confidence: top5.first().and_then(|class| class.probability),
            brier: *brier,
            seconds: *seconds,
        })
    }
}

/// Appends lines, each written out at once.
#[derive(Debug)]
pub struct LineWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LineWriter {
    /// Writes one value as a line.
    pub fn write(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        let mut write = || -> io::Result<()> {
            serde_json::to_writer(&mut self.file, line)?;
            self.file.write_all(b"\n")?;
            self.file.flush()
        };
        write().map_err(|source| RecordError::Write { path: self.path.clone(), source })
    }
}
