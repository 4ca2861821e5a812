//! Options of `datasets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

/// Options of `datasets`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DatasetsArgs {
    /// What to do instead of listing.
    #[command(subcommand)]
    pub command: Option<DatasetsCommand>,
    /// Where the sets are, and how to write about them.
    #[command(flatten)]
    pub place: DatasetsPlace,
}

/// Where the sets are, and how to write about them.
#[derive(Debug, Args)]
pub struct DatasetsPlace {
    /// Folder that holds the test sets
    #[arg(long, value_name = "DIR", env = "MINT_DATA", default_value = "data")]
    pub data: PathBuf,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What `datasets` does beyond listing.
#[derive(Debug, Subcommand)]
pub enum DatasetsCommand {
    /// Read every image, and say what is missing, damaged, doubled or misplaced
    ///
    /// Ends with 1 if a set, or an image of it, cannot be used; warnings alone end with 0.
    Doctor(DoctorArgs),
}

/// Options of `datasets doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Test sets, as for `--test-sets` [default: all that are found]
    #[arg(value_name = "SETS")]
    pub sets: Option<String>,
    /// First mend what loses nothing: move images up that are a folder too deep, and sort ImageNet's
    /// flat validation folder into class folders
    #[arg(long)]
    pub fix: bool,
    /// Only say what `--fix` would move
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
    /// The classes of ImageNet's validation images: `ILSVRC2012_devkit_t12.tar.gz`, `valprep.sh`,
    /// `LOC_val_solution.csv`, or a synset per line
    #[arg(long, value_name = "FILE", requires = "fix")]
    pub labels: Option<PathBuf>,
    /// Where the sets are, and how to write about them.
    #[command(flatten)]
    pub place: DatasetsPlace,
}
