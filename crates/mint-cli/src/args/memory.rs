//! Options of `memory`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Format;

/// What `memory` does.
#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// Say what a memory is of, and what each method remembers: slots, counts, and how far keys and
    /// prompts have moved
    Inspect {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Form of the results on standard output
        #[arg(long, default_value = "text")]
        format: Format,
    },
}
