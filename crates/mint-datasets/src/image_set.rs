//! Labelled images, wherever their bytes are.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::decode::{DecodeError, decode};
use crate::test_set::TestSet;

/// A test set whose files were found.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// Short name, as used on the command line and in records.
    pub id: String,
    /// Name used in tables.
    pub title: String,
    /// The published test set that this is; `None` for folders of the user's.
    pub test_set: Option<TestSet>,
    /// Names of the classes in label order.
    pub class_names: Vec<String>,
    /// All images, ordered by folder and file name.
    pub images: Vec<LabelledImage>,
    /// What is unusual about the set, such as classes without a folder.
    pub warnings: Vec<String>,
    /// Where the bytes are.
    pub source: Source,
}

/// One image of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// Path below the set's root.
    pub path: PathBuf,
    /// Index of its class.
    pub label: usize,
}

/// Where the bytes of a set are.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files below a folder.
    Folder(PathBuf),
    /// Bytes within the program, by path.
    Embedded(fn(&Path) -> Option<Cow<'static, [u8]>>),
}

/// An image that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The path is not a file that an image can be read from.
    #[error("`{}` is {what}, not a file", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file is not an image that can be decoded.
    #[error("cannot decode `{}`", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: DecodeError,
    },
}

/// In which order a set is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the files are ordered.
    File,
    /// Shuffled once, by a generator seeded with this number.
    Shuffled(u64),
}

/// Reads a file. What may never end is not opened, unless it is what a shell hands over.
fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let error = |source| ImageError::Read { path: path.to_owned(), source };
    let kind = std::fs::metadata(path).map_err(error)?;
    let handed_over =
        ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"].iter().any(|start| path.starts_with(start));
    if !kind.is_file() && !handed_over {
        let what = if kind.is_dir() { "a folder" } else { "a pipe, a socket or a device" };
        return Err(ImageError::Kind { path: path.to_owned(), what });
    }
    std::fs::read(path).map_err(error)
}

impl ImageSet {
    /// Reads and decodes an image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not an image.
    pub fn load(&self, index: usize) -> Result<RgbImage, ImageError> {
        let path = &self.images[index].path;
        let (path, bytes) = match &self.source {
            Source::Folder(root) => {
                let path = root.join(path);
                let bytes = read(&path)?;
                (path, Cow::Owned(bytes))
            }
            Source::Embedded(bytes) => {
                let found = bytes(path).ok_or_else(|| ImageError::Read {
                    path: path.clone(),
                    source: std::io::ErrorKind::NotFound.into(),
                })?;
                (path.clone(), found)
            }
        };
        decode(&bytes).map_err(|source| ImageError::Decode { path, source })
    }

    /// Indices of all images in the given order.
    pub fn order(&self, order: Order) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..self.images.len()).collect();
        if let Order::Shuffled(seed) = order {
            indices.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        indices
    }
}
