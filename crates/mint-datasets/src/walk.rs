//! What lies in a folder: pictures, folders, and what is neither.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::decode::EXTENSIONS;
use crate::folder_error::FolderError;

/// Folders that systems and archives leave behind.
const SYSTEM_FOLDERS: [&str; 6] =
    ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "#recycle", "System Volume Information"];

/// Names that are listed in a warning.
const LISTED: usize = 3;

/// What was skipped on the way, to be said once.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    /// Files of other formats, by their ending.
    formats: BTreeMap<String, usize>,
    system_folders: Vec<String>,
    /// Folders without images.
    pub(crate) empty_folders: Vec<String>,
    /// Links that lead back to a folder that they are in.
    circles: Vec<String>,
    /// Pipes, sockets, devices and links to nothing.
    special: usize,
    /// Images in the folder that holds the class folders.
    beside_classes: usize,
    /// Files and folders whose names start with a full stop.
    hidden: usize,
    unreadable: Vec<FolderError>,
}

/// The pictures in a folder and the folders in it.
#[derive(Debug)]
pub struct FoundPictures {
    /// Paths that start with the folder, sorted by folder and name.
    pub pictures: Vec<PathBuf>,
    /// What was skipped, a sentence for each kind.
    pub warnings: Vec<String>,
    /// Folders that cannot be read.
    pub unreadable: Vec<FolderError>,
}

/// Finds the pictures in a folder and the folders in it, by the endings of their names. Hidden files,
/// folders of the system, pipes and devices are skipped; links are followed, but not in a circle.
pub fn pictures_below(root: &Path) -> FoundPictures {
    let (mut skipped, mut images) = (Skipped::default(), Vec::new());
    images_below(root, Path::new(""), &mut Vec::new(), &mut images, &mut skipped);
    let mut warnings = skipped.warnings();
    if skipped.hidden > 0 {
        let hidden = skipped.hidden;
        warnings.push(format!("{hidden} hidden file{0} or folder{0} skipped", plural(hidden)));
    }
    let pictures = images.iter().map(|image| root.join(image)).collect();
    FoundPictures { pictures, warnings, unreadable: skipped.unreadable }
}

/// A folder or a file, by its name in the folder that holds it.
enum Entry {
    Folder(OsString),
    File(OsString),
}

impl Skipped {
    /// A sentence for each kind.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.system_folders.is_empty() {
            warnings.push(format!("{} skipped", listed(&self.system_folders, "system folder")));
        }
        if !self.empty_folders.is_empty() {
            let folders = listed(&self.empty_folders, "folder");
            warnings.push(format!("{folders} with no images skipped"));
        }
        if !self.circles.is_empty() {
            warnings.push(format!(
                "{} skipped, since it leads back to a folder that it is in",
                listed(&self.circles, "link")
            ));
        }
        let formats: usize = self.formats.values().sum();
        if formats > 0 {
            let kinds: Vec<String> =
                self.formats.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
            warnings.push(format!(
                "{formats} file{} in other formats skipped ({})",
                plural(formats),
                kinds.join(", ")
            ));
        }
        if self.special > 0 {
            let special = self.special;
            warnings.push(format!(
                "{special} pipe{0}, socket{0}, device{0} or broken link{0} skipped",
                plural(special)
            ));
        }
        if self.beside_classes > 0 {
            let beside = self.beside_classes;
            warnings.push(format!(
                "{beside} image{} outside the class folders skipped",
                plural(beside)
            ));
        }
        warnings
    }
}

/// `2 folders (`a`, `b`)`.
fn listed(names: &[String], what: &str) -> String {
    let mut shown: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        shown.push("...".to_owned());
    }
    format!("{} {what}{} ({})", names.len(), plural(names.len()), shown.join(", "))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The class folders in `root`, sorted by name, each with its images: paths below `root`, sorted.
/// Folders without images are among them.
pub(crate) fn class_folders(
    root: &Path,
    skipped: &mut Skipped,
) -> Result<Vec<(OsString, Vec<PathBuf>)>, FolderError> {
    let mut within = vec![canonical(root)];
    let mut folders = Vec::new();
    for entry in entries(root, skipped)? {
        match entry {
            Entry::Folder(name) => {
                let mut images = Vec::new();
                images_below(root, Path::new(&name), &mut within, &mut images, skipped);
                if let Some(error) = skipped.unreadable.pop() {
                    return Err(error);
                }
                folders.push((name, images));
            }
            Entry::File(name) => skipped.beside_classes += usize::from(is_image(&name)),
        }
    }
    Ok(folders)
}

/// Number of images in `folder` itself; 0 if it cannot be read.
pub(crate) fn images_in(folder: &Path) -> usize {
    image_names(folder).len()
}

/// Names of the images in `folder` itself, sorted; none if it cannot be read.
pub(crate) fn image_names(folder: &Path) -> Vec<OsString> {
    let entries = entries(folder, &mut Skipped::default()).unwrap_or_default();
    let image = |entry| match entry {
        Entry::File(name) if is_image(&name) => Some(name),
        _ => None,
    };
    entries.into_iter().filter_map(image).collect()
}

/// Collects the images below `root/folder`. `within` are the folders above it, without links.
fn images_below(
    root: &Path,
    folder: &Path,
    within: &mut Vec<PathBuf>,
    images: &mut Vec<PathBuf>,
    skipped: &mut Skipped,
) {
    let real = canonical(&root.join(folder));
    if within.contains(&real) {
        skipped.circles.push(folder.display().to_string());
        return;
    }
    within.push(real);
    let entries = entries(&root.join(folder), skipped).unwrap_or_else(|error| {
        skipped.unreadable.push(error);
        Vec::new()
    });
    for entry in entries {
        match entry {
            Entry::Folder(name) => {
                images_below(root, &folder.join(name), within, images, skipped);
            }
            Entry::File(name) if is_image(&name) => images.push(folder.join(name)),
            Entry::File(name) => {
                let ending = Path::new(&name).extension().map(OsStr::to_string_lossy);
                let ending =
                    ending.map_or("without an ending".to_owned(), |ending| ending.to_lowercase());
                *skipped.formats.entry(ending).or_default() += 1;
            }
        }
    }
    within.pop();
}

fn canonical(folder: &Path) -> PathBuf {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

fn is_image(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| EXTENSIONS.contains(&ending.as_str()))
}

/// Folders and files in a folder, sorted by name. Hidden ones are counted and skipped.
fn entries(folder: &Path, skipped: &mut Skipped) -> Result<Vec<Entry>, FolderError> {
    let error = |source| FolderError::Read { folder: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        names.push(entry.map_err(error)?.file_name());
    }
    names.sort();
    let mut entries = Vec::new();
    for name in names {
        let text = name.to_string_lossy();
        if text.starts_with('.') {
            skipped.hidden += 1;
            continue;
        }
        // Follows links, unlike the entry's own file type.
        match std::fs::metadata(folder.join(&name)) {
            Ok(kind) if kind.is_dir() && SYSTEM_FOLDERS.contains(&&*text) => {
                skipped.system_folders.push(text.into_owned());
            }
            Ok(kind) if kind.is_dir() => entries.push(Entry::Folder(name)),
            Ok(kind) if kind.is_file() => entries.push(Entry::File(name)),
            _ => skipped.special += 1,
        }
    }
    Ok(entries)
}
