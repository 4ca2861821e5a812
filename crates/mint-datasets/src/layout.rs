//! Repairs of a data folder that lose nothing: images that lie a folder too deep, and ImageNet's
//! validation images that are not in class folders.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::listed_set;
use crate::test_set::TestSet;
use crate::walk;

/// Images that lie one folder too deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// Where they belong.
    pub outer: PathBuf,
    /// Where they are.
    pub inner: PathBuf,
}

/// A file or folder that is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Where it is.
    pub from: PathBuf,
    /// Where it belongs.
    pub to: PathBuf,
}

/// A repair that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A place is taken.
    #[error("`{}` cannot be moved: `{}` already exists", from.display(), to.display())]
    Taken {
        /// What was to be moved.
        from: PathBuf,
        /// Where it was to be moved to.
        to: PathBuf,
    },
    /// A file or folder cannot be moved or read.
    #[error("cannot move or read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A picture has no label.
    #[error("the labels have no class for `{}`", path.display())]
    NoLabel {
        /// The picture.
        path: PathBuf,
    },
}

/// Names of folders that archives and programs put around images.
const WRAPPERS: [&str; 6] = ["images", "val", "validation", "test", "data", "ILSVRC2012_img_val"];

/// Finds a set's images that lie one folder too deep in one of its usual places: in a folder that is
/// called as the set's own are, or as [`WRAPPERS`] are, so that another set, or a training part, stays
/// where it is. Links are left alone, since what they lead to may belong to others.
pub fn nested(set: TestSet, data: &Path) -> Option<Nested> {
    let places = set.folders();
    let own = places.iter().flat_map(|place| place.split('/')).chain(WRAPPERS);
    let own: Vec<String> = own.map(str::to_lowercase).collect();
    places.iter().map(|place| data.join(place)).find_map(|outer| {
        let is_own = |inner: &Path| {
            let name = inner.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            own.contains(&name) && !places.iter().any(|place| data.join(place) == *inner)
        };
        let mut inner = subfolders(&outer).into_iter();
        let inner = inner.find(|inner| is_own(inner) && is_root(set, inner))?;
        Some(Nested { outer, inner })
    })
}

/// Whether a folder has class folders, or files of the list, of a set.
fn is_root(set: TestSet, folder: &Path) -> bool {
    if let TestSet::FineGrained(set) = set {
        return listed_set::is_root(set, folder);
    }
    set.class_folders().iter().any(|class| folder.join(class).is_dir())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut folders: Vec<PathBuf> = entries.filter(is_folder).map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

impl Nested {
    /// What is to be moved up: everything in the inner folder.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or a place is taken.
    pub fn moves(&self) -> Result<Vec<Move>, RepairError> {
        let error = |source| RepairError::Io { path: self.inner.clone(), source };
        let mut moves = Vec::new();
        for entry in fs::read_dir(&self.inner).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            moves.push(Move { from: self.inner.join(&name), to: self.outer.join(&name) });
        }
        moves.sort_by(|a, b| a.from.cmp(&b.from));
        checked(moves)
    }
}

/// What is to be moved to sort pictures into class folders, by the class of each file name.
///
/// # Errors
///
/// If a picture has no class, or a place is taken.
pub fn sorted_into_classes(
    folder: &Path,
    classes: &BTreeMap<String, String>,
) -> Result<Vec<Move>, RepairError> {
    let mut moves = Vec::new();
    for name in walk::image_names(folder) {
        let from = folder.join(&name);
        let class = Path::new(&name).file_stem().and_then(|stem| stem.to_str());
        let Some(class) = class.and_then(|stem| classes.get(stem)) else {
            return Err(RepairError::NoLabel { path: from });
        };
        moves.push(Move { from, to: folder.join(class).join(&name) });
    }
    checked(moves)
}

/// Nothing is overwritten.
fn checked(moves: Vec<Move>) -> Result<Vec<Move>, RepairError> {
    // A link to nothing takes a place as well.
    match moves.iter().find(|entry| fs::symlink_metadata(&entry.to).is_ok()) {
        Some(Move { from, to }) => Err(RepairError::Taken { from: from.clone(), to: to.clone() }),
        None => Ok(moves),
    }
}

/// Makes the moves, and removes the folders that they empty.
///
/// # Errors
///
/// If one cannot be made; those before it stay made, and a second start continues.
pub fn make(moves: &[Move]) -> Result<(), RepairError> {
    for Move { from, to } in moves {
        let error = |source| RepairError::Io { path: from.clone(), source };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(error)?;
        }
        fs::rename(from, to).map_err(error)?;
    }
    for folder in moves.iter().filter_map(|entry| entry.from.parent()) {
        // Folders that hold more stay.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}
