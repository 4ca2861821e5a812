//! Webdatasets: tar files whose members with one name are a picture and its class.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::Archive;

use crate::class_names::{ClassNamesError, read_class_names};
use crate::decode::EXTENSIONS;
use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::listed_labels::{ListError, labelled};
use crate::member::Member;

/// Tar files are made of blocks of so many bytes.
const BLOCK: u64 = 512;
/// What compressed files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// A longer text is not a class.
const LONGEST_LABEL: u64 = 4096;

/// The tar files that a path stands for: itself, or those below a folder, sorted.
pub(crate) fn tar_files(path: &Path) -> Result<Vec<PathBuf>, ListError> {
    let error = |source| ListError::Read { file: path.to_owned(), source };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_string_lossy().to_lowercase();
            if entry.file_type().map_err(error)?.is_dir() {
                open.push(entry.path());
            } else if [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending)) {
                files.push(entry.path());
            }
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
        let below = file.strip_prefix(path).ok().filter(|below| !below.as_os_str().is_empty());
        let shard = below.map_or_else(|| file.file_name().unwrap_or_default(), |it| it.as_os_str());
        let shard = shard.to_string_lossy().into_owned();
        for (key, sample) in samples(file)? {
            match (sample.picture, sample.number.or(sample.name)) {
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
            return read_class_names(&file).map(|names| Some(names.names)).map_err(reason);
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Sample {
    picture: Option<Member>,
    /// A class number, which comes before a name.
    number: Option<String>,
    name: Option<String>,
}

/// The members of a tar file by the part of their names before the first dot.
fn samples(file: &Path) -> Result<BTreeMap<String, Sample>, ListError> {
    let damaged = |source| ListError::Read { file: file.to_owned(), source };
    let form = |reason| ListError::Form { file: file.to_owned(), reason };
    let mut opened = File::open(file).map_err(damaged)?;
    let mut start = [0; 2];
    if opened.read(&mut start).map_err(damaged)? == 2 && start == GZIP {
        return Err(form(
            "it is compressed, and tar files are read in place; unpack it".to_owned(),
        ));
    }
    opened.rewind().map_err(damaged)?;
    let mut archive = Archive::new(BufReader::new(opened));
    let mut samples: BTreeMap<String, Sample> = BTreeMap::new();
    let mut end = 0;
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        end = (entry.raw_file_position() + entry.size()).next_multiple_of(BLOCK);
        let kind = entry.header().entry_type();
        let path = entry.path().map_err(damaged)?.into_owned();
        if kind.is_hard_link() || kind.is_symlink() {
            return Err(form(format!("`{}` is a link", path.display())));
        }
        if !kind.is_file() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What lies between the first and the last dot tells samples of one key apart.
        let Some((stem, endings)) = name.split_once('.') else { continue };
        let ending = endings.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let key = path.with_file_name(stem).to_string_lossy().into_owned();
        let sample = samples.entry(key).or_default();
        let mut text = || -> Result<String, ListError> {
            let mut text = String::new();
            entry.by_ref().take(LONGEST_LABEL).read_to_string(&mut text).map_err(damaged)?;
            Ok(text.trim().to_owned())
        };
        let is_second = match ending.as_str() {
            "cls" => sample.number.replace(text()?).is_some(),
            "txt" => sample.name.replace(text()?).is_some(),
            ending if EXTENSIONS.contains(&ending) => {
                let (offset, length) = (entry.raw_file_position(), entry.size());
                sample.picture.replace(Member { file: file.to_owned(), offset, length }).is_some()
            }
            _ => false,
        };
        if is_second {
            return Err(form(format!(
                "`{}` is the second of its kind with this key",
                path.display()
            )));
        }
    }
    // An archive ends with empty blocks: without them it was cut off, perhaps between two members.
    let mut block = [1; BLOCK as usize];
    let mut opened = File::open(file).map_err(damaged)?;
    opened.seek(SeekFrom::Start(end)).map_err(damaged)?;
    if opened.read_exact(&mut block).is_err() || block.iter().any(|byte| *byte != 0) {
        return Err(form("it is cut off".to_owned()));
    }
    Ok(samples)
}
