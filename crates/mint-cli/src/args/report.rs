//! Options of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs, or of several; the parts of a divided run (`--shard`) are put together
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: ReportFormat,
    /// Also write the one run that the folders are the parts of, as if it had never been divided
    #[arg(long, value_name = "DIR")]
    pub merge: Option<PathBuf>,
    /// Folder of the test sets, for the pictures of a page, if they are no longer where the run was
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for the terminal; of several test sets, one column per set
    Text,
    /// A line per method and test set, with intervals, calibration and times
    Long,
    /// One JSON object
    Json,
    /// A table for a document
    Markdown,
    /// A line per method and test set with everything that is known
    Csv,
    /// A table for a paper, with the package `booktabs`
    Latex,
    /// A page with plots and pictures that needs nothing else
    Html,
}
