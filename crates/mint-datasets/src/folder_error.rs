//! Why a folder is not a test set.

use std::path::PathBuf;

use crate::test_set::TestSet;

use crate::decode::EXTENSIONS;

/// A folder that holds no test set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// None of the places has the set.
    #[error("{title} was not found")]
    NotFound {
        /// Name of the set.
        title: String,
        /// A class folder or a file that it has.
        example: String,
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// The folder cannot be read.
    #[error("cannot read the folder `{}`", folder.display())]
    Read {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There are no class folders, or none of them holds an image.
    #[error("`{}` holds no images in class folders ({})", folder.display(), EXTENSIONS.join(", "))]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// There are images, but not in class folders.
    #[error(
        "`{}` holds {images} images that are in no class folder; {remedy}",
        folder.display()
    )]
    Flat {
        /// The folder.
        folder: PathBuf,
        /// The set that was looked for; `None` for a folder of one's own.
        set: Option<TestSet>,
        /// Number of images in it.
        images: usize,
        /// What to do.
        remedy: String,
    },
    /// The names that are to be exchanged are not there.
    #[error(
        "{title} has other class names, from a split file: the two that the published code exchanges are not at their places"
    )]
    OtherNames {
        /// Name of the set.
        title: String,
    },
    /// The class folders belong to something else.
    #[error(
        "`{}` is not {title}: it has the class folder `{unknown}`, which {title} has not; is it another test set?",
        folder.display()
    )]
    WrongClasses {
        /// The folder.
        folder: PathBuf,
        /// Name of the set.
        title: String,
        /// A class folder that does not belong.
        unknown: String,
    },
    /// The protocol's split file cannot be used.
    #[error("the split file `{}` cannot be used: {reason}; remove it to use the embedded list", file.display())]
    Split {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There are more or fewer class names than class folders.
    #[error(
        "`{}` has {folders} class folders with images, but {names} class names were given",
        folder.display()
    )]
    NameCount {
        /// The folder.
        folder: PathBuf,
        /// Number of class folders.
        folders: usize,
        /// Number of names.
        names: usize,
    },
    /// A class name is the name of another class folder than the one in its place.
    #[error(
        "class name {place} is `{name}`, which is also a class folder of `{}`, but folder {place} is `{other}`; \
         give the names in the order of the sorted folders, or exactly the folders' names",
        folder.display()
    )]
    Misplaced {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
        /// Its place among the names, counted from 1.
        place: usize,
        /// The class folder in that place.
        other: String,
    },
}
