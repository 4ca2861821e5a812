//! Folders of images, one folder a class.

use std::path::{Path, PathBuf};

use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::test_set::{FolderNames, TestSet};

/// File name endings that count as images.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"];

/// A folder that holds no test set.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// None of the places has the set.
    #[error("{title} was not found")]
    NotFound {
        /// Name of the set.
        title: String,
        /// A class folder that it has.
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
    /// There are more or fewer class names than class folders.
    #[error("`{}` has {folders} class folders, but {names} class names were given", folder.display())]
    NameCount {
        /// The folder.
        folder: PathBuf,
        /// Number of class folders.
        folders: usize,
        /// Number of names.
        names: usize,
    },
}

impl TestSet {
    /// Finds the set below `data`, in one of its usual places or in `data` itself.
    pub fn find(self, data: &Path) -> Result<ImageSet, FolderError> {
        let mut places: Vec<PathBuf> = self.folders().iter().map(|name| data.join(name)).collect();
        places.push(data.to_owned());
        let keys: Vec<String> = match self.folder_names() {
            FolderNames::Synsets => {
                self.classes().iter().map(|class| class.synset.clone()).collect()
            }
            FolderNames::Numbers => {
                (0..self.classes().len()).map(|class| class.to_string()).collect()
            }
        };
        let has_a_class = |place: &&PathBuf| keys.iter().any(|key| place.join(key).is_dir());
        let Some(root) = places.iter().find(has_a_class) else {
            return Err(FolderError::NotFound {
                title: self.title().to_owned(),
                example: keys[0].clone(),
                places,
            });
        };
        self.open(root, &keys)
    }

    fn open(self, root: &Path, keys: &[String]) -> Result<ImageSet, FolderError> {
        let labels: std::collections::HashMap<&str, usize> =
            keys.iter().map(String::as_str).zip(0..).collect();
        let mut images = Vec::new();
        let mut filled = vec![false; keys.len()];
        for name in class_folders(root)? {
            let Some(&label) = labels.get(name.as_str()) else {
                return Err(FolderError::WrongClasses {
                    folder: root.to_owned(),
                    title: self.title().to_owned(),
                    unknown: name,
                });
            };
            let of_class = images_below(root, Path::new(&name))?;
            filled[label] = !of_class.is_empty();
            images.extend(of_class.into_iter().map(|path| LabelledImage { path, label }));
        }
        if images.is_empty() {
            return Err(FolderError::Empty { folder: root.to_owned() });
        }
        let mut warnings = Vec::new();
        let n_missing = filled.iter().filter(|&&filled| !filled).count();
        if n_missing > 0 {
            warnings.push(format!("{n_missing} of {} classes have no images", keys.len()));
        }
        if images.len() != self.n_images() {
            warnings.push(format!("{} images where the set has {}", images.len(), self.n_images()));
        }
        Ok(ImageSet {
            id: self.id().to_owned(),
            title: self.title().to_owned(),
            test_set: Some(self),
            class_names: self.classes().iter().map(|class| class.name.clone()).collect(),
            images,
            warnings,
            source: Source::Folder(root.to_owned()),
        })
    }
}

/// Any folder of class folders. Labels follow the sorted folder names, which are also the class
/// names unless others are given.
pub fn open_image_folder(
    root: &Path,
    class_names: Option<Vec<String>>,
) -> Result<ImageSet, FolderError> {
    let folders = class_folders(root)?;
    let mut images = Vec::new();
    for (label, name) in folders.iter().enumerate() {
        let of_class = images_below(root, Path::new(name))?;
        images.extend(of_class.into_iter().map(|path| LabelledImage { path, label }));
    }
    if images.is_empty() {
        return Err(FolderError::Empty { folder: root.to_owned() });
    }
    let names = class_names.as_ref().map_or(folders.len(), Vec::len);
    if names != folders.len() {
        return Err(FolderError::NameCount {
            folder: root.to_owned(),
            folders: folders.len(),
            names,
        });
    }
    let name = root.file_name().map_or_else(|| "images".into(), |name| name.to_string_lossy());
    Ok(ImageSet {
        id: name.clone().into_owned(),
        title: name.into_owned(),
        test_set: None,
        class_names: class_names.unwrap_or(folders),
        images,
        warnings: Vec::new(),
        source: Source::Folder(root.to_owned()),
    })
}

/// Names of the folders in `root`, sorted as text; hidden ones are passed over.
fn class_folders(root: &Path) -> Result<Vec<String>, FolderError> {
    let names = entries(root)?.into_iter().filter(|(_, is_folder)| *is_folder);
    Ok(names.map(|(name, _)| name).collect())
}

/// Image files below `root/folder`, sorted, with their paths below `root`.
fn images_below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let mut images = Vec::new();
    for (name, is_folder) in entries(&root.join(folder))? {
        let path = folder.join(name);
        if is_folder {
            images.extend(images_below(root, &path)?);
        } else if is_image(&path) {
            images.push(path);
        }
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Names in a folder and whether each is a folder, sorted as text; hidden ones are passed over.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, FolderError> {
    let error = |source| FolderError::Read { folder: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            // Follows links, unlike the entry's own file type.
            entries.push((name, entry.path().is_dir()));
        }
    }
    entries.sort();
    Ok(entries)
}
