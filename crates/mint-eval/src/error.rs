//! Why an evaluation stopped, or its record cannot be used.

use std::io;
use std::path::PathBuf;

use mint_augment::ViewError;
use mint_datasets::ImageSet;
use mint_tuner::MethodError;

use crate::cache::CacheError;
use crate::loader::LoadError;
use crate::method_id::MethodId;
use crate::record::run_info::{Difference, Versions, listed};
use crate::session::SessionError;

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A method cannot run.
    #[error("{} on {place}", method.title())]
    Method {
        /// The method.
        method: MethodId,
        /// Name of the set, or of the image.
        place: String,
        /// Why not.
        source: MethodError,
    },
    /// An image cannot be used, and the run is strict.
    #[error("an image cannot be used")]
    Image(#[from] LoadError),
    /// The views' configuration is impossible.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The record cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The lines of the run to resume are of other images.
    #[error(
        "cannot resume {0}: its images are not those of the record; were files added or removed?"
    )]
    OtherImages(String),
    /// There is nothing to evaluate.
    #[error("no images of {0} are left")]
    NoImages(String),
    /// Somebody wants the run to end.
    #[error("stopped after {done} of {images} images of {test_set}")]
    Stopped {
        /// Name of the set.
        test_set: String,
        /// Images that are done.
        done: usize,
        /// Images that were to be done.
        images: usize,
    },
}

impl EvalError {
    /// A method fails on a test set.
    pub(crate) fn of_set(method: MethodId, set: &ImageSet, source: MethodError) -> Self {
        Self::Method { method, place: set.title.clone(), source }
    }

    /// A session fails on a test set, or on one of its images.
    pub(crate) fn of_session(error: SessionError, set: &ImageSet, image: Option<usize>) -> Self {
        match (error, image) {
            (SessionError::View(error), _) => Self::View(error),
            (SessionError::Method { method, source }, None) => Self::of_set(method, set, source),
            (SessionError::Method { method, source }, Some(index)) => {
                Self::of_image(method, set, index, source)
            }
        }
    }

    /// A method fails on an image.
    pub(crate) fn of_image(
        method: MethodId,
        set: &ImageSet,
        index: usize,
        source: MethodError,
    ) -> Self {
        let place = format!("`{}` of {}", set.images[index].path.display(), set.title);
        Self::Method { method, place, source }
    }
}

/// A record that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The folder holds another run, or other files.
    #[error("`{}` already holds files", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no run to resume.
    #[error(
        "`{}` holds no record of a run (no `run.json`), so there is nothing to resume",
        folder.display()
    )]
    Nothing {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process writes to the folder.
    #[error("another process is writing to `{}`", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The run to resume has other settings, data or weights.
    #[error(
        "`{}` is the record of another run, which cannot be resumed as this one:{}",
        folder.display(),
        listed(differences)
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// The run was begun by another version of this program.
    #[error(
        "`{}` was begun by version {recorded} of this program, and this is {}; resume it with that version, or start a new run",
        folder.display(), Versions::default().mint
    )]
    OtherVersion {
        /// The folder.
        folder: PathBuf,
        /// The version.
        recorded: String,
    },
    /// A file of the run to resume cannot be read.
    #[error("cannot resume: `{}` is damaged ({reason})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What the methods had learned when a set began is lost.
    #[error(
        "cannot resume {next}: `{}`, which has what the methods remember of {previous}, is missing or is of an earlier image; start a new run",
        path.display()
    )]
    MemoryLost {
        /// The file.
        path: PathBuf,
        /// The set that was finished before.
        previous: String,
        /// The set to resume.
        next: String,
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
