//! The record of a run: one JSON file about the run, and one JSON line an image and method.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evaluate::Row;

/// Name of the file about the run.
pub const RUN_FILE: &str = "run.json";

/// A record that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder holds another run.
    #[error(
        "`{}` already holds the record of a run; name another folder with `--output`",
        folder.display()
    )]
    Exists {
        /// The folder.
        folder: PathBuf,
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
#[derive(Debug, Clone, Serialize)]
pub struct WeightsInfo {
    /// File, or a name for embedded weights.
    pub file: String,
    /// Hexadecimal SHA-256 of the file.
    pub sha256: String,
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
    /// The five best classes, the best first.
    pub top5: Vec<ScoredClass<'a>>,
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
        if folder.join(RUN_FILE).exists() {
            return Err(RecordError::Exists { folder: folder.to_owned() });
        }
        let error = |source| RecordError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(error)?;
        let record = Self { folder: folder.to_owned(), info };
        record.write_run(false, &[])?;
        Ok(record)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the lines of one test set and method.
    pub fn lines(&self, test_set: &str, method: &str) -> Result<LineWriter, RecordError> {
        let path = self.folder.join(format!("{test_set}-{method}.jsonl"));
        let file = File::create(&path)
            .map_err(|source| RecordError::Write { path: path.clone(), source })?;
        Ok(LineWriter { path, file: BufWriter::new(file) })
    }

    /// Adds the rows so far.
    pub fn update(&self, rows: &[Row]) -> Result<(), RecordError> {
        self.write_run(false, rows)
    }

    /// Adds the rows and marks the run as complete.
    pub fn finish(&self, rows: &[Row]) -> Result<(), RecordError> {
        self.write_run(true, rows)
    }

    /// Writes a temporary file and renames it, so that the file is always whole.
    fn write_run(&self, finished: bool, rows: &[Row]) -> Result<(), RecordError> {
        let path = self.folder.join(RUN_FILE);
        let temporary = self.folder.join(format!("{RUN_FILE}.partial"));
        let write = || -> io::Result<()> {
            let contents = RunFile { info: &self.info, finished, rows };
            let mut text = serde_json::to_string_pretty(&contents)?;
            text.push('\n');
            fs::write(&temporary, text)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| RecordError::Write { path: path.clone(), source })
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
