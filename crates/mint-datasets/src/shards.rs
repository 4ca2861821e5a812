//! Webdatasets: tar files whose members with one name are a picture and its class.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::Archive;

use crate::class_names::{ClassNamesError, read_class_names};
use crate::decode::EXTENSIONS;
use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::listed_labels::{ListError, labelled};
use crate::member::Member;

/// A longer text is not a class.
const LONGEST_LABEL: u64 = 4096;

/// The tar files that a path stands for: itself, or those in a folder, sorted.
pub(crate) fn tar_files(path: &Path) -> Result<Vec<PathBuf>, ListError> {
    let error = |source| ListError::Read { file: path.to_owned(), source };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(error)? {
        let file = entry.map_err(error)?.path();
        if file.extension().is_some_and(|ending| ending == "tar") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Opens tar files with a picture and `.cls` (a class number) or `.txt` (a class name) each.
pub(crate) fn open(path: &Path, class_names: Option<Vec<String>>) -> Result<ImageSet, ListError> {
    let files = tar_files(path)?;
    let class_names = match class_names {
        None => names_beside(path)?,
        names => names,
    };
    let mut members = Vec::new();
    let mut entries = Vec::new();
    let mut incomplete = 0;
    for file in &files {
        let shard = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (key, sample) in samples(file)? {
            match (sample.picture, sample.label) {
                (Some(picture), Some(label)) => {
                    entries.push((PathBuf::from(format!("{shard}/{key}")), label));
                    members.push(picture);
                }
                _ => incomplete += 1,
            }
        }
    }
    let (class_names, labels) = labelled(path, &entries, class_names)?;
    let images = entries.into_iter().zip(labels);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ImageSet {
        id: name.clone(),
        title: name,
        test_set: None,
        class_names,
        images: images.map(|((path, _), label)| LabelledImage { path, label }).collect(),
        warnings: (incomplete > 0)
            .then(|| {
                format!(
                    "skipped, as they lack a picture or a class: {incomplete} keys of the tar files"
                )
            })
            .into_iter()
            .collect(),
        source: Source::Members(Arc::new(members)),
    })
}

/// The class names that CLIP benchmark keeps with its tar files or a folder above, one per line.
fn names_beside(path: &Path) -> Result<Option<Vec<String>>, ListError> {
    for folder in path.ancestors().skip(usize::from(!path.is_dir())).take(2) {
        let file = folder.join("classnames.txt");
        if file.is_file() {
            let reason = |error: ClassNamesError| ListError::Form {
                file: file.clone(),
                reason: error.to_string(),
            };
            return read_class_names(&file).map(Some).map_err(reason);
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Sample {
    picture: Option<Member>,
    label: Option<String>,
}

/// The members of a tar file by the part of their names before the first dot.
fn samples(file: &Path) -> Result<BTreeMap<String, Sample>, ListError> {
    let damaged = |source| ListError::Read { file: file.to_owned(), source };
    let mut archive = Archive::new(BufReader::new(File::open(file).map_err(damaged)?));
    let mut samples: BTreeMap<String, Sample> = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(damaged)?.into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((stem, ending)) = name.split_once('.') else { continue };
        let key = path.with_file_name(stem).to_string_lossy().into_owned();
        let ending = ending.to_ascii_lowercase();
        let sample = samples.entry(key).or_default();
        if EXTENSIONS.contains(&ending.as_str()) {
            let (offset, length) = (entry.raw_file_position(), entry.size());
            sample.picture = Some(Member { file: file.to_owned(), offset, length });
        } else if ending == "cls" || (ending == "txt" && sample.label.is_none()) {
            let mut text = String::new();
            entry.by_ref().take(LONGEST_LABEL).read_to_string(&mut text).map_err(damaged)?;
            sample.label = Some(text.trim().to_owned());
        }
    }
    Ok(samples)
}
