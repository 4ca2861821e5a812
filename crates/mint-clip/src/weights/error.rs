//! Why a weight file cannot be used.

use std::path::PathBuf;

use super::dimensions::Tower;
/// A weight file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read the weights `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the weights `{}`", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not of a known format, or damaged.
    #[error("`{}` cannot be opened: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors do not make a CLIP model.
    #[error("`{}` does not hold a CLIP model that fits: {}", file.display(), list(problems))]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// Every missing, unused and misshapen tensor.
        problems: Vec<String>,
    },
    /// A file with one tower where both are needed.
    #[error("`{}` has no {tower}", file.display())]
    TowerMissing {
        /// The file.
        file: PathBuf,
        /// The tower that is not there.
        tower: Tower,
    },
    /// The stored scale of the logits is useless.
    #[error("`{}`: the scale of the logits is {scale}", file.display())]
    LogitScale {
        /// The file.
        file: PathBuf,
        /// Its exponential.
        scale: f32,
    },
    /// Nothing was given.
    #[error("no weight file is given")]
    NoFile,
}

/// The first few of many problems.
fn list(problems: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match problems.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}; and {more} more of the kind"),
    }
}
