//! The command line as it is typed.

mod cache;
mod datasets;
mod memory;
mod model;
mod predict;
mod report;
mod run;
mod weights;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::cache::{CacheCommand, CachePlace};
pub use self::datasets::{DatasetsArgs, DatasetsCommand, DatasetsPlace, DoctorArgs};
pub use self::memory::MemoryCommand;
pub use self::model::{ModelArgs, OrientationArg};
pub use self::predict::{OpenWorldArgs, PredictArgs, PredictFormat};
pub use self::report::{ReportArgs, ReportFormat};
pub use self::run::{CachePrecisionArg, RunArgs, TableFormat, TextArgs, TextsArg};
pub use self::weights::WeightsCommand;

/// What scripts need to know.
const EXIT_CODES: &str = "\
Exit codes: 0 everything was done; 1 something could not be done, or images could not be read; \
2 the command line cannot be parsed; 130 and 143 a signal ended the run, which `--resume` continues";

/// Test-time adaptation for CLIP: adapts to each image without labels, then classifies it.
///
/// Without any option the embedded demo is run.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do instead of evaluating test sets.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of an evaluation.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Everything but evaluating.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify images with class names of your own
    ///
    /// The default method, clip, is the fastest, and looks at each picture on its own. What methods
    /// that remember (mint, sar, tda, onzeta, boostadapter, dota, oga, dpe) say of a picture depends
    /// on the pictures before it; else a picture has the same answer wherever it stands, since its
    /// random views are drawn by its content.
    #[command(after_help = EXIT_CODES)]
    Predict(Box<PredictArgs>),
    /// List the test sets and where they are, or check every image of them
    Datasets(DatasetsArgs),
    /// Inspect, verify and convert weight files
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// List, verify and prune the embeddings that `--cache` keeps
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Show what `predict --memory` keeps
    #[command(subcommand)]
    Memory(MemoryCommand),
    /// Print the tables of finished runs
    Report(ReportArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    #[command(hide = true)]
    Man {
        /// Folder for the pages, such as `~/.local/share/man/man1`
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for the terminal
    Text,
    /// One JSON object
    Json,
}
