//! Sets that are lists of files: the fine-grained sets of the CoOp and TPT protocol.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::class_names::duplicate;
use crate::fine_grained::FineGrained;
use crate::folder_error::FolderError;
use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::test_set::TestSet;
use crate::text::decode;

/// Files of a list by which a folder is recognised: this many, spread over the list.
const PROBES: usize = 24;

/// The protocol's split file. Train and validation parts are not read.
#[derive(Deserialize)]
struct SplitFile {
    /// Path, label, class name.
    test: Vec<(String, usize, String)>,
}

/// A test list with the names of the classes.
struct TestList {
    entries: Vec<(String, usize)>,
    names: Vec<String>,
    /// The split file that it was read from; `None` for the embedded list.
    file: Option<PathBuf>,
}

/// Finds a set below `data`.
///
/// # Errors
///
/// If none of its usual folders has files of the list, or a split file is damaged.
pub(crate) fn find(set: FineGrained, data: &Path) -> Result<ImageSet, FolderError> {
    let test_set = TestSet::FineGrained(set);
    let places: Vec<PathBuf> = set.facts().folders.iter().map(|place| data.join(place)).collect();
    let embedded = set.test_list();
    let probes = probes(&embedded);
    let first_folder = first_folder(&embedded).to_owned();
    let found = places
        .iter()
        .flat_map(|place| [(place, ""), (place, &*first_folder)])
        .map(|(place, cut)| (place, cut, hits(place, cut, &probes)))
        .filter(|&(.., hits)| hits > 0)
        // The first of those with the most hits.
        .rev()
        .max_by_key(|&(.., hits)| hits);
    let Some((root, cut, _)) = found else {
        let example = embedded[0].0.clone();
        return Err(FolderError::NotFound { title: test_set.title(), example, places });
    };
    let list = match split_file(set, root) {
        Some(file) => read_split(file)?,
        None => TestList { entries: embedded, names: set.facts().names.clone(), file: None },
    };
    open(test_set, root, cut, list)
}

/// Whether a folder has files of the set's list.
pub(crate) fn is_root(set: FineGrained, folder: &Path) -> bool {
    hits(folder, "", &probes(&set.test_list())) > 0
}

/// What a set consists of, in the list's order.
fn open(set: TestSet, root: &Path, cut: &str, list: TestList) -> Result<ImageSet, FolderError> {
    let TestList { entries, names, file } = list;
    let file = file.unwrap_or_default();
    let images: Vec<LabelledImage> = entries
        .into_iter()
        .map(|(path, label)| {
            let path = PathBuf::from(path.strip_prefix(cut).unwrap_or(&path));
            LabelledImage { path, label }
        })
        .collect();
    let repeated = LabelledImage::repeated(&images);
    let repeated = repeated.map_err(|reason| FolderError::Split { file: file.clone(), reason })?;
    let mut warnings = Vec::from_iter(repeated);
    let missing = images.iter().filter(|image| !root.join(&image.path).is_file()).count();
    if missing > 0 {
        warnings.push(format!("{missing} of {} images are missing", images.len()));
    }
    if images.len() != set.n_images() {
        warnings.push(format!("{} images where the set has {}", images.len(), set.n_images()));
    }
    if names != set.class_names() {
        warnings.push(format!("the class names are those of `{}`", file.display()));
    }
    Ok(ImageSet {
        id: set.id().to_owned(),
        title: set.title(),
        test_set: Some(set),
        class_names: names,
        images,
        warnings,
        source: Source::Folder(root.to_owned()),
    })
}

/// Paths that are spread over a list.
fn probes(list: &[(String, usize)]) -> Vec<&str> {
    let step = (list.len() / PROBES).max(1);
    list.iter().step_by(step).map(|(path, _)| &**path).collect()
}

/// The folder that all paths of a list are in, with its slash; some copies lack it.
fn first_folder(list: &[(String, usize)]) -> &str {
    let folder = list[0].0.find('/').map_or("", |end| &list[0].0[..=end]);
    if list.iter().all(|(path, _)| path.starts_with(folder)) { folder } else { "" }
}

/// How many of the probes are files in a folder, without the first part of their paths.
fn hits(root: &Path, cut: &str, probes: &[&str]) -> usize {
    let is_there =
        |path: &&&str| path.strip_prefix(cut).is_some_and(|path| root.join(path).is_file());
    probes.iter().filter(is_there).count()
}

/// The split file next to the images, or in the folder above.
fn split_file(set: FineGrained, root: &Path) -> Option<PathBuf> {
    let name = set.facts().split.as_deref()?;
    [root.join(name), root.join("..").join(name)].into_iter().find(|file| file.is_file())
}

fn read_split(file: PathBuf) -> Result<TestList, FolderError> {
    let damaged = |reason: String| FolderError::Split { file: file.clone(), reason };
    let bytes = std::fs::read(&file).map_err(|error| damaged(error.to_string()))?;
    let text = decode(&bytes).map_err(damaged)?;
    let SplitFile { test } =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let largest = test.iter().map(|(_, label, _)| *label).max();
    let Some(classes) = largest.filter(|label| *label < test.len()).map(|label| label + 1) else {
        return Err(damaged(format!(
            "its `test` has {} images and labels up to {}",
            test.len(),
            largest.unwrap_or(0)
        )));
    };
    let mut names = vec![None; classes];
    let mut entries = Vec::with_capacity(test.len());
    for (path, label, name) in test {
        let is_below = Path::new(&path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_below {
            return Err(damaged(format!("the path `{path}` leads out of the folder")));
        }
        match &names[label] {
            None => names[label] = Some(name),
            Some(known) if *known == name => {}
            Some(known) => {
                return Err(damaged(format!("label {label} is both `{known}` and `{name}`")));
            }
        }
        entries.push((path, label));
    }
    let names: Option<Vec<String>> = names.into_iter().collect();
    let names = names.ok_or_else(|| damaged("some labels have no images".to_owned()))?;
    if let Some((one, other)) = duplicate(&names) {
        return Err(damaged(format!("its classes {one} and {other} are the same to CLIP")));
    }
    if let Some(class) = names.iter().position(|name| name.trim().is_empty()) {
        return Err(damaged(format!("the name of class {class} is empty")));
    }
    Ok(TestList { entries, names, file: Some(file) })
}
