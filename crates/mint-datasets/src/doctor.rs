//! Whether a test set is complete and every image of it can be used.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::decode::decode;
use crate::folder_error::FolderError;
use crate::image_set::ImageSet;
use crate::layout::nested;
use crate::test_set::TestSet;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of fault it is.
    pub kind: FindingKind,
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Results are right, but perhaps not of the whole set.
    Warning,
    /// The set, or some of its images, cannot be used.
    Error,
}

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The folders are not those of the set.
    Layout,
    /// There are more or fewer images than the set has.
    Count,
    /// A file of the list, or all images of a class, are missing.
    Missing,
    /// A file cannot be read or decoded.
    Unreadable,
    /// Two files have the same bytes.
    Duplicate,
    /// Files lie where none belongs.
    Misplaced,
}

/// What was found of a set.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// The set's name on the command line.
    pub set: String,
    /// The folder of the images; `None` if the set was not found.
    pub folder: Option<PathBuf>,
    /// Images that were examined.
    pub images: usize,
    /// Images that the complete set has.
    pub expected_images: usize,
    /// Classes with images.
    pub classes: usize,
    /// Classes that the complete set has.
    pub expected_classes: usize,
    /// Everything that is not as it should be, the worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// The worst finding's severity; `None` if there are none.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Looks for a set below `data` and reads every image of it on all cores. `on_image` is called
/// after each with the number of images, from any thread.
///
/// # Errors
///
/// If the set was not found anywhere.
pub fn examine(
    set: TestSet,
    data: &Path,
    on_image: impl Fn(usize) + Sync,
) -> Result<Examination, FolderError> {
    let empty = Examination {
        set: set.id().to_owned(),
        folder: None,
        images: 0,
        expected_images: set.n_images(),
        classes: 0,
        expected_classes: set.class_names().len(),
        findings: Vec::new(),
    };
    match set.find(data) {
        Ok(found) => Ok(examine_images(&found, empty, on_image)),
        Err(error) => {
            let (path, message) = match (nested(set, data), &error) {
                (Some(nested), _) => {
                    let message = format!(
                        "the images are one folder too deep, in `{}`; `--fix` moves them up",
                        nested.inner.display()
                    );
                    (nested.outer, message)
                }
                (None, FolderError::NotFound { .. }) => return Err(error),
                (None, FolderError::Flat { folder, .. }) => (folder.clone(), error.to_string()),
                (None, _) => (data.to_owned(), error.to_string()),
            };
            let (severity, kind) = (Severity::Error, FindingKind::Layout);
            Ok(Examination { findings: vec![Finding { severity, kind, path, message }], ..empty })
        }
    }
}

/// The state of one file.
struct Examined {
    /// Length and hash of the bytes; `None` if they cannot be read.
    content: Option<(usize, u64)>,
    problem: Option<(FindingKind, String)>,
}

fn examine_images(
    set: &ImageSet,
    empty: Examination,
    on_image: impl Fn(usize) + Sync,
) -> Examination {
    let examined: Vec<Examined> = (0..set.images.len())
        .into_par_iter()
        .map(|index| {
            let examined = examine_image(set, index);
            on_image(set.images.len());
            examined
        })
        .collect();
    let mut findings = Vec::new();
    let mut add = |severity, kind, path: &Path, message: String| {
        findings.push(Finding { severity, kind, path: path.to_owned(), message });
    };
    let folder = set.folder().unwrap_or(Path::new(""));
    for warning in &set.warnings {
        let kind = match warning {
            text if text.contains("outside the class folders") => FindingKind::Misplaced,
            text if text.contains("missing") || text.contains("have no images") => {
                FindingKind::Missing
            }
            text if text.contains("images where the set has") => FindingKind::Count,
            _ => FindingKind::Layout,
        };
        add(Severity::Warning, kind, folder, warning.clone());
    }
    let mut by_content: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
    let mut has_images = vec![false; set.class_names.len()];
    for (index, examined) in examined.into_iter().enumerate() {
        let image = &set.images[index];
        if let Some((kind, message)) = examined.problem {
            add(Severity::Error, kind, &folder.join(&image.path), message);
        }
        if let Some(content) = examined.content {
            by_content.entry(content).or_default().push(index);
            has_images[image.label] = true;
        }
    }
    for indices in by_content.into_values().filter(|indices| indices.len() > 1) {
        let first = &set.images[indices[0]];
        for other in indices[1..].iter().map(|&index| &set.images[index]) {
            let class = if first.label == other.label { "" } else { ", of another class" };
            let message = format!("the same bytes as `{}`{class}", first.path.display());
            add(Severity::Warning, FindingKind::Duplicate, &folder.join(&other.path), message);
        }
    }
    findings.sort_by(|a, b| (b.severity, a.kind, &a.path).cmp(&(a.severity, b.kind, &b.path)));
    Examination {
        folder: set.folder().map(Path::to_owned),
        images: set.images.len(),
        classes: has_images.into_iter().filter(|&has| has).count(),
        findings,
        ..empty
    }
}

fn examine_image(set: &ImageSet, index: usize) -> Examined {
    let bytes = match set.bytes(index) {
        Ok(bytes) => bytes,
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let missing = cause
                .and_then(|cause| cause.downcast_ref::<std::io::Error>())
                .is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound);
            let kind = if missing { FindingKind::Missing } else { FindingKind::Unreadable };
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            return Examined { content: None, problem: Some((kind, format!("{error}{cause}"))) };
        }
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    // A damaged file must not end the examination, whatever a decoder does with it.
    let decoded = std::panic::catch_unwind(|| decode(&bytes).map(drop));
    let problem = match decoded {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the decoder failed on it".to_owned()),
    };
    Examined {
        content: Some((bytes.len(), hasher.finish())),
        problem: problem.map(|problem| (FindingKind::Unreadable, problem)),
    }
}
