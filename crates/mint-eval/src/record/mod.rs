//! The record of a run: a folder with one JSON file about the run, the lines of each test set and
//! method, and what the methods remember.
//!
//! One process at a time writes to it: it holds a lock that the system drops with the process.

pub(crate) mod lines;
pub(crate) mod recorded_run;
pub(crate) mod resume;
pub(crate) mod run_info;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::RecordError;
use crate::lock;
use crate::record::lines::{LineWriter, RecordedLine, read_lines};
use crate::record::run_info::{RunInfo, Versions};
use crate::row::Row;
use crate::usage::Usage;
use crate::write_whole::write_whole;

/// Name of the file about the run.
pub const RUN_FILE: &str = "run.json";

/// Its name while it is written.
const UNFINISHED_RUN_FILE: &str = "run.json.partial";

/// Name of the file that is locked while a process writes to the folder.
const LOCK_FILE: &str = ".lock";

/// A run's folder, locked.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    info: RunInfo,
    /// What earlier processes used.
    earlier: Vec<Usage>,
    /// Released when it is closed.
    _lock: File,
}

/// The record of a run that was begun earlier, locked.
#[derive(Debug)]
pub struct EarlierRun {
    folder: PathBuf,
    contents: RunFile,
    lock: File,
}

/// The contents of [`RUN_FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    #[serde(flatten)]
    pub info: RunInfo,
    pub finished: bool,
    pub rows: Vec<Row>,
    /// What each process that worked on the run used.
    #[serde(default)]
    pub processes: Vec<Usage>,
}

impl RunFile {
    /// Reads the file of a folder as JSON: other versions may have other fields.
    pub fn read(folder: &Path) -> Result<Value, RecordError> {
        let path = folder.join(RUN_FILE);
        let damaged = |reason: String| RecordError::Damaged { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RecordError::Nothing { folder: folder.to_owned() });
            }
            other => other.map_err(|error| damaged(error.to_string()))?,
        };
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))
    }

    /// What the JSON of a folder's file says.
    pub fn parse(folder: &Path, value: Value) -> Result<Self, RecordError> {
        let path = folder.join(RUN_FILE);
        let damaged =
            |error: serde_json::Error| RecordError::Damaged { path, reason: error.to_string() };
        serde_json::from_value(value).map_err(damaged)
    }

    /// Writes the file of a folder.
    pub fn write(&self, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(RUN_FILE);
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_string_pretty(self)?;
            text.push('\n');
            write_whole(&path, text.as_bytes())
        };
        write().map_err(|source| RecordError::Write { path: path.clone(), source })
    }
}

impl Record {
    /// Creates the folder and says in it what is about to run.
    ///
    /// # Errors
    ///
    /// If the folder holds files, another process writes to it, or it cannot be written.
    pub fn create(folder: &Path, info: RunInfo) -> Result<Self, RecordError> {
        let error = |source| RecordError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(error)?;
        // Lines or a memory left by something else would be taken for this run's own.
        let holds_files = || -> io::Result<bool> {
            let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
            // What a process left that was killed before it began is no record.
            let is_file = |name: OsString| name != LOCK_FILE && name != UNFINISHED_RUN_FILE;
            names.try_fold(false, |found, name: io::Result<_>| Ok(found || is_file(name?)))
        };
        if holds_files().map_err(error)? {
            return Err(RecordError::Exists { folder: folder.to_owned() });
        }
        let lock = lock(folder)?;
        // Another process may have come and gone between the look and the lock.
        if holds_files().map_err(error)? {
            return Err(RecordError::Exists { folder: folder.to_owned() });
        }
        let record = Self { folder: folder.to_owned(), info, earlier: Vec::new(), _lock: lock };
        record.write_run(false, &[], None)?;
        Ok(record)
    }

    /// Makes the first folder `0001`, `0002`... in `parent` that is not there yet, which no other
    /// process gets as well.
    ///
    /// # Errors
    ///
    /// If no folder can be made.
    pub fn claim_folder(parent: &Path) -> Result<PathBuf, RecordError> {
        let error = |path: &Path, source| RecordError::Write { path: path.to_owned(), source };
        fs::create_dir_all(parent).map_err(|source| error(parent, source))?;
        let mut number = 1;
        loop {
            let folder = parent.join(format!("{number:04}"));
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(error(&folder, source)),
            }
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The whole lines that an earlier run left for a test set and method.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn earlier_lines(
        &self,
        test_set: &str,
        method: &str,
    ) -> Result<Vec<RecordedLine>, RecordError> {
        Ok(read_lines(&lines_path(&self.folder, test_set, method))?.unwrap_or_default())
    }

    /// Opens the lines of one test set and method, starting with some of an earlier run.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn lines(
        &self,
        test_set: &str,
        method: &str,
        earlier: &[RecordedLine],
    ) -> Result<LineWriter, RecordError> {
        let path = lines_path(&self.folder, test_set, method);
        let text: String = earlier.iter().map(|line| format!("{}\n", line.text())).collect();
        write_whole(&path, text.as_bytes())
            .map_err(|source| RecordError::Write { path: path.clone(), source })?;
        LineWriter::append(path)
    }

    /// Adds the rows so far, and what this process has used.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn update(&self, rows: &[Row], usage: &Usage) -> Result<(), RecordError> {
        self.write_run(false, rows, Some(usage))
    }

    /// Adds the rows, and what this process has used, and marks the run as complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn finish(&self, rows: &[Row], usage: &Usage) -> Result<(), RecordError> {
        self.write_run(true, rows, Some(usage))
    }

    fn write_run(
        &self,
        finished: bool,
        rows: &[Row],
        usage: Option<&Usage>,
    ) -> Result<(), RecordError> {
        // A process that found nothing left to do adds nothing.
        let usage = usage.filter(|usage| usage.images > 0);
        let processes = self.earlier.iter().chain(usage).cloned().collect();
        let contents =
            RunFile { info: self.info.clone(), finished, rows: rows.to_vec(), processes };
        contents.write(&self.folder)
    }
}

impl EarlierRun {
    /// Whether a folder holds the record of a run.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(RUN_FILE).is_file()
    }

    /// Locks and reads the record of a run to go on with.
    ///
    /// # Errors
    ///
    /// If there is none, another process writes to it, another version of this program began it,
    /// or it is damaged.
    pub fn open(folder: &Path) -> Result<Self, RecordError> {
        if !Self::is_in(folder) {
            return Err(RecordError::Nothing { folder: folder.to_owned() });
        }
        let lock = lock(folder)?;
        let value = RunFile::read(folder)?;
        // Other versions may have other fields.
        match value["versions"]["mint"].as_str() {
            Some(recorded) if recorded != Versions::default().mint => {
                let (folder, recorded) = (folder.to_owned(), recorded.to_owned());
                return Err(RecordError::OtherVersion { folder, recorded });
            }
            _ => {}
        }
        let contents = RunFile::parse(folder, value)?;
        Ok(Self { folder: folder.to_owned(), contents, lock })
    }

    /// What the run was.
    pub fn info(&self) -> &RunInfo {
        &self.contents.info
    }

    /// Resumes the run if it is the same as `now`, and returns the rows of the sets that it had
    /// finished.
    ///
    /// # Errors
    ///
    /// If anything that the results depend on differs.
    pub fn resume(self, now: &RunInfo) -> Result<(Record, Vec<Row>), RecordError> {
        let Self { folder, contents, lock } = self;
        let RunFile { info, rows, processes, .. } = contents;
        let differences = now.differences(&info);
        if !differences.is_empty() {
            return Err(RecordError::OtherRun { folder, differences });
        }
        Ok((Record { folder, info, earlier: processes, _lock: lock }, rows))
    }
}

/// The file of the lines of a test set and method.
pub(crate) fn lines_path(folder: &Path, test_set: &str, method: &str) -> PathBuf {
    folder.join(format!("{test_set}-{method}.jsonl"))
}

/// Locks a record's folder for as long as this process lives and keeps the file open.
fn lock(folder: &Path) -> Result<File, RecordError> {
    let path = folder.join(LOCK_FILE);
    match lock::lock(&path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(RecordError::Locked { folder: folder.to_owned() }),
        Err(source) => Err(RecordError::Write { path, source }),
    }
}
