//! Records of runs, for those who only read them.

use std::path::{Path, PathBuf};

use crate::error::RecordError;
use crate::record::lines::{RecordedLine, read_lines};
use crate::record::run_info::RunInfo;
use crate::record::{RunFile, lines_path};
use crate::row::Row;
use crate::usage::Usage;
use crate::write_whole::write_whole;

/// The record of a run, as it is on the disk now.
#[derive(Debug, Clone)]
pub struct RecordedRun {
    /// Its folder.
    pub folder: PathBuf,
    /// What was run.
    pub info: RunInfo,
    /// Whether all test sets are done.
    pub finished: bool,
    /// One row per method and finished test set.
    pub rows: Vec<Row>,
    /// What each process that worked on it used.
    pub processes: Vec<Usage>,
}

impl RecordedRun {
    /// Reads the record in a folder.
    ///
    /// # Errors
    ///
    /// If there is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let contents = RunFile::parse(folder, RunFile::read(folder)?)?;
        let RunFile { info, finished, rows, processes } = contents;
        Ok(Self { folder: folder.to_owned(), info, finished, rows, processes })
    }

    /// The whole lines of a test set and method.
    ///
    /// # Errors
    ///
    /// If there are none, or they are damaged.
    pub fn lines(&self, test_set: &str, method: &str) -> Result<Vec<RecordedLine>, RecordError> {
        let path = lines_path(&self.folder, test_set, method);
        read_lines(&path)?.ok_or_else(|| RecordError::Damaged {
            path: path.clone(),
            reason: "it is not there, and the record has its row".to_owned(),
        })
    }

    /// Writes the file about the run into its folder, which must be empty or not there yet.
    ///
    /// # Errors
    ///
    /// If the folder holds files, or cannot be written.
    pub fn create(&self) -> Result<(), RecordError> {
        let error = |source| RecordError::Write { path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(error)?;
        if std::fs::read_dir(&self.folder).map_err(error)?.next().is_some() {
            return Err(RecordError::Exists { folder: self.folder.clone() });
        }
        let Self { folder, info, finished, rows, processes } = self.clone();
        RunFile { info, finished, rows, processes }.write(&folder)
    }

    /// Writes the lines of a test set and method into the folder.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_lines(
        &self,
        test_set: &str,
        method: &str,
        lines: &[RecordedLine],
    ) -> Result<(), RecordError> {
        let path = lines_path(&self.folder, test_set, method);
        let text: String = lines.iter().map(|line| format!("{}\n", line.text())).collect();
        write_whole(&path, text.as_bytes()).map_err(|source| RecordError::Write { path, source })
    }
}
