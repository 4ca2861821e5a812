//! Folders of images, one folder per class.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::folder_error::FolderError;
use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::listed_set;
use crate::test_set::TestSet;
use crate::walk::{self, Skipped};

/// The folder that ImageNet's validation archive is unpacked into by some.
const FLAT_ARCHIVE: &str = "ILSVRC2012_img_val";

/// Whether a file is called as ImageNet's validation images are.
fn is_unsorted(name: &&OsString) -> bool {
    name.to_string_lossy().starts_with("ILSVRC2012_val_")
}

impl TestSet {
    /// Finds the set below `data`, in one of its usual places or in `data` itself.
    ///
    /// # Errors
    ///
    /// If none of them has its class folders or files, or if they are another set's.
    pub fn find(self, data: &Path) -> Result<ImageSet, FolderError> {
        if let Self::FineGrained(set) = self {
            return listed_set::find(set, data);
        }
        let named: Vec<PathBuf> = self.folders().iter().map(|name| data.join(name)).collect();
        let mut places = named.clone();
        // A corrupted set looks like any other copy of its classes: only its name tells it.
        if !matches!(self, Self::ImageNetC(_)) {
            places.push(data.to_owned());
        }
        let keys = self.class_folders();
        let has_a_class = |place: &&PathBuf| keys.iter().any(|key| place.join(key).is_dir());
        let flat = |folder: &Path, images: usize| FolderError::Flat {
            folder: folder.to_owned(),
            set: Some(self),
            images,
            remedy: self.sorting(&keys[0]),
        };
        if let Some(root) = places.iter().find(has_a_class) {
            // Somebody has begun to sort them.
            let unsorted = match self {
                Self::ImageNet => walk::image_names(root).iter().filter(is_unsorted).count(),
                _ => 0,
            };
            return if unsorted > 0 { Err(flat(root, unsorted)) } else { self.open(root, &keys) };
        }
        // What lies in `data` itself may be anything.
        let deeper = named.iter().map(|place| place.join(FLAT_ARCHIVE));
        if let Some((folder, images)) = named
            .iter()
            .cloned()
            .chain(deeper)
            .map(|place| (walk::images_in(&place), place))
            .find_map(|(images, place)| (images > 0).then_some((place, images)))
        {
            return Err(flat(&folder, images));
        }
        Err(FolderError::NotFound { title: self.title(), example: keys[0].clone(), places })
    }

    /// What to do with images that are not in class folders.
    fn sorting(self, example: &str) -> String {
        let sort = format!("{self}'s images must be sorted into class folders such as `{example}`");
        match self {
            TestSet::ImageNet => format!(
                "{sort}, for example with `valprep.sh` of https://github.com/soumith/imagenetloader.torch"
            ),
            _ => sort,
        }
    }

    fn open(self, root: &Path, keys: &[String]) -> Result<ImageSet, FolderError> {
        let labels: HashMap<&str, usize> = keys.iter().map(String::as_str).zip(0..).collect();
        let mut skipped = Skipped::default();
        let mut images = Vec::new();
        let mut filled = vec![false; keys.len()];
        for (name, of_class) in walk::class_folders(root, &mut skipped)? {
            let name = name.to_string_lossy();
            match labels.get(&*name) {
                Some(&label) => {
                    filled[label] = !of_class.is_empty();
                    images.extend(of_class.into_iter().map(|path| LabelledImage { path, label }));
                }
                None if of_class.is_empty() => skipped.empty_folders.push(name.into_owned()),
                None => {
                    return Err(FolderError::WrongClasses {
                        folder: root.to_owned(),
                        title: self.title(),
                        unknown: name.into_owned(),
                    });
                }
            }
        }
        if images.is_empty() {
            return Err(FolderError::Empty { folder: root.to_owned() });
        }
        let mut warnings = skipped.warnings();
        let n_missing = filled.iter().filter(|&&filled| !filled).count();
        if n_missing > 0 {
            warnings.push(format!("{n_missing} of {} classes have no images", keys.len()));
        }
        if images.len() != self.n_images() {
            warnings.push(format!("{} images where the set has {}", images.len(), self.n_images()));
        }
        Ok(ImageSet {
            id: self.id().to_owned(),
            title: self.title(),
            test_set: Some(self),
            class_names: self.class_names(),
            images,
            warnings,
            source: Source::Folder(root.to_owned()),
        })
    }
}

/// Any folder of class folders. Labels follow the sorted folder names, which are also the class
/// names unless others are given.
///
/// Folders without images are not classes, unless there are as many names as folders with them. Names
/// that are the folders' own, in another order, are matched by name; `_` stands for a blank.
///
/// # Errors
///
/// If there are no images in class folders, or if the names do not fit the folders.
pub fn open_image_folder(
    root: &Path,
    class_names: Option<Vec<String>>,
) -> Result<ImageSet, FolderError> {
    let mut skipped = Skipped::default();
    let mut folders = walk::class_folders(root, &mut skipped)?;
    if folders.iter().all(|(_, images)| images.is_empty()) {
        let images = walk::images_in(root);
        if images > 0 {
            let remedy = "pictures without labels are for `predict`".to_owned();
            return Err(FolderError::Flat { folder: root.to_owned(), set: None, images, remedy });
        }
        return Err(FolderError::Empty { folder: root.to_owned() });
    }
    let keeps_empty = class_names.as_ref().is_some_and(|names| names.len() == folders.len());
    if !keeps_empty {
        let empty = folders.extract_if(.., |(_, images)| images.is_empty());
        skipped.empty_folders.extend(empty.map(|(name, _)| name.to_string_lossy().into_owned()));
    }
    let names: Vec<String> =
        folders.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    let mut warnings = skipped.warnings();
    let class_names = match class_names {
        None => names,
        Some(given) => fitted(root, given, &names, &mut warnings)?,
    };
    let labelled = (0..).zip(folders).flat_map(|(label, (_, images))| {
        images.into_iter().map(move |path| LabelledImage { path, label })
    });
    // A folder such as `.` has a name too.
    let real = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let name = real.file_name().map_or_else(|| "images".into(), |name| name.to_string_lossy());
    Ok(ImageSet {
        id: name.clone().into_owned(),
        title: name.into_owned(),
        test_set: None,
        class_names,
        images: labelled.collect(),
        warnings,
        source: Source::Folder(root.to_owned()),
    })
}

/// Class names in the order of the folders, which they may already be in.
fn fitted(
    root: &Path,
    given: Vec<String>,
    folders: &[String],
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, FolderError> {
    if given.len() != folders.len() {
        return Err(FolderError::NameCount {
            folder: root.to_owned(),
            folders: folders.len(),
            names: given.len(),
        });
    }
    let plain = |name: &String| name.trim().to_lowercase().replace('_', " ");
    let by_name: HashMap<String, &String> = given.iter().map(|name| (plain(name), name)).collect();
    let places: HashMap<String, usize> = folders.iter().map(plain).zip(0..).collect();
    let matched: Option<Vec<String>> = folders
        .iter()
        .map(|folder| by_name.get(&plain(folder)).map(|&name| name.clone()))
        .collect();
    if let Some(matched) = matched.filter(|_| places.len() == folders.len()) {
        if matched != given {
            warnings.push(
                "the class names are the folders' in another order, and were matched by name"
                    .to_owned(),
            );
        }
        return Ok(matched);
    }
    let misplaced = given
        .iter()
        .enumerate()
        .find(|(place, name)| places.get(&plain(name)).is_some_and(|folder| folder != place));
    if let Some((place, name)) = misplaced {
        return Err(FolderError::Misplaced {
            folder: root.to_owned(),
            name: name.clone(),
            place: place + 1,
            other: folders[place].clone(),
        });
    }
    Ok(given)
}
