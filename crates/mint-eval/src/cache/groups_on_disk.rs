//! What lies in the folder of a cache, to be listed, verified and pruned.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::cache::file_index;
use crate::cache::packs;
use crate::cache::{CacheError, CacheGroup, ENDING, GROUP_FILE, parse};

/// A group of a cache on the disk.
#[derive(Debug, Clone, Serialize)]
pub struct GroupOnDisk {
    /// Its folder.
    pub folder: PathBuf,
    /// What it depends on; `None` if that cannot be read, which makes it useless.
    pub group: Option<CacheGroup>,
    /// Images that are kept, or sets of texts.
    pub images: usize,
    /// Size of their files.
    pub bytes: u64,
    /// When something was last written.
    #[serde(skip)]
    pub written: Option<SystemTime>,
}

impl GroupOnDisk {
    /// All groups of a cache, sorted by folder.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub fn all(cache: &Path) -> Result<Vec<Self>, CacheError> {
        let mut groups = Vec::new();
        for folder in read_folder(cache)? {
            if !folder.is_dir() || !is_hex(&folder) {
                continue;
            }
            let file = folder.join(GROUP_FILE);
            let group = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let mut found = Self { folder, group, images: 0, bytes: 0, written: None };
            for entry in found.entries()? {
                let Ok(about) = entry.metadata() else { continue };
                found.images += if is_pack(&entry) { whole_and_damaged(&entry)?.0 } else { 1 };
                found.bytes += about.len();
                found.written = found.written.max(about.modified().ok());
            }
            groups.push(found);
        }
        Ok(groups)
    }

    /// Whether it has texts of classes, and no images.
    pub fn is_of_texts(&self) -> bool {
        self.group.as_ref().is_some_and(CacheGroup::is_of_texts)
    }

    /// The files of all images; one file may have many.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub fn entries(&self) -> Result<Vec<PathBuf>, CacheError> {
        let mut entries = Vec::new();
        for path in read_folder(&self.folder)? {
            if path.is_dir() {
                let files = read_folder(&path)?;
                let is_entry = |file: &PathBuf| file.extension().is_some_and(|it| it == ENDING);
                entries.extend(files.into_iter().filter(is_entry));
            } else if is_pack(&path) {
                entries.push(path);
            }
        }
        Ok(entries)
    }

    /// Whether a file of [`GroupOnDisk::entries`] is whole.
    pub fn is_whole(&self, entry: &Path) -> bool {
        if is_pack(entry) {
            return is_whole_pack(entry);
        }
        let views = self.group.as_ref().map(|group| group.n_views);
        match (fs::read(entry), views) {
            (Ok(bytes), Some(views)) => parse(&bytes, views).is_some(),
            _ => false,
        }
    }
}

/// The files that tell contents of paths, in the folder of a cache.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn file_indices(cache: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut files = read_folder(cache)?;
    let starts = format!("{}-", file_index::NAME);
    let is_index = |name: &str| name.starts_with(&starts);
    files.retain(|file| {
        is_pack(file) && file.file_name().is_some_and(|name| is_index(&name.to_string_lossy()))
    });
    Ok(files)
}

/// Whether a file of many records is whole.
pub fn is_whole_pack(file: &Path) -> bool {
    whole_and_damaged(file).is_ok_and(|(_, damaged)| damaged == 0)
}

/// Whether a file has many records, of which single ones may be damaged.
pub fn is_pack(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == packs::ENDING)
}

/// Takes the damaged records out of a file of many, unless a process adds to it.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn mend_pack(file: &Path) -> Result<(), CacheError> {
    packs::mend(file).map_err(|source| CacheError::Io { path: file.to_owned(), source })
}

fn whole_and_damaged(file: &Path) -> Result<(usize, u64), CacheError> {
    let scan =
        packs::scan(file).map_err(|source| CacheError::Io { path: file.to_owned(), source })?;
    Ok(scan.map_or((0, 0), |scan| (scan.places.len(), scan.damaged)))
}

fn is_hex(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read_folder(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let error = |source| CacheError::Io { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(error)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry.map_err(error)?.path())).collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}
