//! Labelled images, wherever their bytes are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::decode::{DecodeError, Orientation, decode_turned};
use crate::fine_grained::{EXCHANGED_FOOD, FineGrained};
use crate::folder_error::FolderError;
use crate::member::Member;
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

impl LabelledImage {
    /// A warning if files are listed more than once, which counts them more than once.
    ///
    /// # Errors
    ///
    /// If a file is listed with two classes.
    pub(crate) fn repeated(images: &[Self]) -> Result<Option<String>, String> {
        let mut labels = HashMap::new();
        let mut repeats = 0;
        for Self { path, label } in images {
            match labels.insert(path, label) {
                None => {}
                Some(other) if other == label => repeats += 1,
                Some(_) => return Err(format!("`{}` is listed with two classes", path.display())),
            }
        }
        let warning = || format!("{repeats} of {} entries are repeated", images.len());
        Ok((repeats > 0).then(warning))
    }
}

/// Where the bytes of a set are.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files below a folder.
    Folder(PathBuf),
    /// Parts of tar files, in the order of the images.
    Members(Arc<Vec<Member>>),
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
    /// Food101 with two class names exchanged, as in the published code of TPT and MINT
    /// ([`EXCHANGED_FOOD`]); other sets are returned as they are.
    ///
    /// # Errors
    ///
    /// If it is Food101 with other names, from a split file of the user's.
    pub fn with_official_food101(mut self) -> Result<Self, FolderError> {
        if self.test_set != Some(TestSet::FineGrained(FineGrained::Food101)) {
            return Ok(self);
        }
        let [one, other] = EXCHANGED_FOOD;
        let usual = &FineGrained::Food101.facts().names;
        if [one, other].iter().any(|&label| self.class_names.get(label) != usual.get(label)) {
            return Err(FolderError::OtherNames { title: self.title });
        }
        self.class_names.swap(one, other);
        self.id = "food101-official".to_owned();
        self.title = format!("{} (official names)", self.title);
        Ok(self)
    }

    /// The folder that paths are below; `None` if the set is not a folder of files.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Folder(folder) => Some(folder),
            Source::Members(_) | Source::Embedded(_) => None,
        }
    }

    /// The bytes of an image.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn bytes(&self, index: usize) -> Result<Cow<'static, [u8]>, ImageError> {
        let path = &self.images[index].path;
        let read = |source| ImageError::Read { path: path.clone(), source };
        match &self.source {
            Source::Folder(root) => self::read(&root.join(path)).map(Cow::Owned),
            Source::Members(members) => members[index].read().map(Cow::Owned).map_err(read),
            Source::Embedded(bytes) => {
                bytes(path).ok_or_else(|| read(std::io::ErrorKind::NotFound.into()))
            }
        }
    }

    /// Reads and decodes an image; its orientation is ignored.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not an image.
    pub fn load(&self, index: usize) -> Result<RgbImage, ImageError> {
        self.decode(index, &self.bytes(index)?, Orientation::Stored)
    }

    /// Decodes the bytes of an image.
    ///
    /// # Errors
    ///
    /// If they are not an image.
    pub fn decode(
        &self,
        index: usize,
        bytes: &[u8],
        orientation: Orientation,
    ) -> Result<RgbImage, ImageError> {
        decode_turned(bytes, orientation).map_err(|source| {
            let path = &self.images[index].path;
            let path = self.folder().map_or_else(|| path.clone(), |folder| folder.join(path));
            ImageError::Decode { path, source }
        })
    }
}
