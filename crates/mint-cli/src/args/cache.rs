//! Options of `cache`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Format;

/// What `cache` does.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Say what is kept: images, size, and what the embeddings depend on
    List(CachePlace),
    /// Read every file and compare its checksum; ends with 1 if one is damaged
    Verify(CachePlace),
    /// Remove what is named
    ///
    /// A run that uses the cache at the same time computes again what it misses.
    #[command(group = ArgGroup::new("what").required(true).multiple(true))]
    Prune {
        /// Which cache
        #[command(flatten)]
        place: CachePlace,
        /// Damaged files, and groups whose description is damaged
        #[arg(long, group = "what")]
        damaged: bool,
        /// Groups that nothing was added to for this many days
        #[arg(long, value_name = "DAYS", group = "what")]
        older_than: Option<u64>,
        /// Groups by the names of their folders
        #[arg(long, value_name = "NAME", group = "what")]
        group: Vec<String>,
        /// Everything
        #[arg(long, group = "what")]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// A cache.
#[derive(Debug, Args)]
pub struct CachePlace {
    /// Folder of the cache
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Form of the results on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
}
