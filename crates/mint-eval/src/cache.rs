//! Embeddings of views, kept from run to run: what the towers made of each image, for all methods
//! that look at nothing else.
//!
//! A cache is a folder with one folder per *group*: all images under the same weights, views and
//! seed. A group's file `group.json` states all of that. Each image is a file of its own, named by
//! its content and its place in the set (which decides its random views), with a checksum. Files
//! are renamed into place, so several processes may share a cache.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use half::f16;
use mint_augment::ViewConfig;
use mint_clip::Precision;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::CachePrecision;
use crate::run_info::{Versions, WeightsInfo, hex};
use crate::write_whole::{partial_name, write_whole};

/// Name of the file that states what a group depends on.
const GROUP_FILE: &str = "group.json";
/// Name of the tensor in an entry, `[view, embed]`.
const TENSOR: &str = "embeddings";
/// Key of the tensor's checksum in an entry's metadata.
const CHECKSUM: &str = "sha256";
/// What the names of entries end with.
const ENDING: &str = "safetensors";

/// What embeddings depend on, besides the image. Two groups that differ in anything are apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheGroup {
    /// Hexadecimal SHA-256 of the weight files.
    pub weights: Vec<String>,
    /// Their names, for readers.
    pub weights_names: String,
    /// Activation of the MLPs.
    pub activation: String,
    /// Dimensions of the towers, and how pixels are prepared for them.
    pub model: Value,
    /// Type of the numbers in the towers.
    pub tower_precision: Precision,
    /// The kind of device that computed.
    pub device: String,
    /// What decodes JPEG files.
    pub decoder: String,
    /// How views are made.
    pub views: String,
    /// Number of views, the clean one included.
    pub n_views: usize,
    /// Decides the random views.
    pub seed: u64,
    /// Type of the numbers in the cache.
    pub precision: CachePrecision,
    /// The program that computed.
    pub versions: Versions,
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file or folder cannot be read or written.
    #[error("the cache: cannot use `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The description of a group is not what its name says.
    #[error("the cache: `{}` is damaged; remove its folder, it will be computed again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// A folder of embeddings, as one model makes them.
#[derive(Debug, Clone)]
pub struct EmbeddingCache {
    folder: PathBuf,
    /// With no views yet.
    group: CacheGroup,
}

impl EmbeddingCache {
    /// The cache in `folder`, which is made when it is first written to. `device` is the kind of
    /// device: `cpu`, or the name of a GPU.
    pub fn new(
        folder: &Path,
        weights: &WeightsInfo,
        tower_precision: Precision,
        device: &str,
        precision: CachePrecision,
    ) -> Self {
        let group = CacheGroup {
            weights: weights.files.iter().map(|file| file.sha256.clone()).collect(),
            weights_names: weights.names(),
            activation: weights.activation.clone(),
            model: weights.model.clone(),
            tower_precision,
            device: device.to_owned(),
            decoder: mint_datasets::JPEG_DECODER.to_owned(),
            views: String::new(),
            n_views: 0,
            seed: 0,
            precision,
            versions: Versions::default(),
        };
        Self { folder: folder.to_owned(), group }
    }

    /// The group of some views.
    ///
    /// # Errors
    ///
    /// If its folder cannot be made, or is damaged.
    pub(crate) fn open(&self, views: &ViewConfig, seed: u64) -> Result<ViewCache, CacheError> {
        let group = CacheGroup {
            views: format!("{views:?}"),
            n_views: views.count,
            seed,
            ..self.group.clone()
        };
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError::Io { path, source }
        };
        let mut identity = group.clone();
        // The same weights by another name are the same.
        identity.weights_names = String::new();
        let identity = serde_json::to_vec(&identity).expect("a group can be written");
        let folder = self.folder.join(&hex(&Sha256::digest(&identity))[..16]);
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let file = folder.join(GROUP_FILE);
        match fs::read(&file) {
            Ok(text) => {
                let known: CacheGroup = serde_json::from_slice(&text)
                    .map_err(|_| CacheError::Damaged { path: file.clone() })?;
                let names = known.weights_names.clone();
                if known != (CacheGroup { weights_names: names, ..group }) {
                    return Err(CacheError::Damaged { path: file });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = serde_json::to_vec_pretty(&group).expect("a group can be written");
                write_whole(&file, &text).map_err(io(&file))?;
            }
            Err(error) => return Err(io(&file)(error)),
        }
        Ok(ViewCache {
            folder,
            precision: self.group.precision,
            n_views: views.count,
            damaged: AtomicU64::new(0),
            write_error: OnceLock::new(),
        })
    }
}

/// The embeddings of a set's images, of one group.
#[derive(Debug)]
pub(crate) struct ViewCache {
    folder: PathBuf,
    precision: CachePrecision,
    n_views: usize,
    damaged: AtomicU64,
    /// The first reason why something could not be kept; nothing is written after it.
    write_error: OnceLock<String>,
}

/// Names an image in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryName(String);

impl EntryName {
    /// Of an image with these bytes at this place of its set.
    pub fn new(bytes: &[u8], index: usize) -> Self {
        let content = Sha256::digest(bytes);
        let mut name = Sha256::new();
        name.update(content);
        name.update((index as u64).to_le_bytes());
        Self(hex(&name.finalize()))
    }
}

impl ViewCache {
    fn path(&self, EntryName(name): &EntryName) -> PathBuf {
        self.folder.join(&name[..2]).join(format!("{name}.{ENDING}"))
    }

    /// The embeddings of an image, row by row; `None` if they are not there. Those of a damaged
    /// file are not there either.
    pub fn read(&self, name: &EntryName) -> Option<Vec<f32>> {
        let bytes = fs::read(self.path(name)).ok()?;
        let values = parse(&bytes, self.n_views);
        if values.is_none() {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        values
    }

    /// Whether there is a file of an image, whole or not.
    pub fn has(&self, name: &EntryName) -> bool {
        self.path(name).is_file()
    }

    /// Keeps the embeddings of an image. What cannot be written is told by
    /// [`ViewCache::write_error`]: it makes no result wrong.
    pub fn write(&self, name: &EntryName, values: &[f32]) {
        let path = self.path(name);
        if self.write_error.get().is_none()
            && let Err(error) = self.try_write(&path, values)
        {
            let _ = self.write_error.set(format!("`{}`: {error}", path.display()));
        }
    }

    fn try_write(&self, path: &Path, values: &[f32]) -> io::Result<()> {
        let (dtype, data): (Dtype, Vec<u8>) = match self.precision {
            CachePrecision::F16 => (
                Dtype::F16,
                values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            ),
            CachePrecision::F32 => {
                (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        };
        let shape = vec![self.n_views, values.len() / self.n_views];
        let tensor = TensorView::new(dtype, shape, &data).map_err(io::Error::other)?;
        let metadata = HashMap::from([(CHECKSUM.to_owned(), hex(&Sha256::digest(&data)))]);
        let bytes = safetensors::serialize([(TENSOR, tensor)], Some(metadata));
        let bytes = bytes.map_err(io::Error::other)?;
        // Not synced: what a power cut damages is noticed by its checksum.
        let partial = partial_name(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
        if written.is_err() {
            // The error that is told is the first one.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    /// The numbers as a later run will read them.
    pub fn rounded(&self, mut values: Vec<f32>) -> Vec<f32> {
        if self.precision == CachePrecision::F16 {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        values
    }

    /// Damaged files that were met, whose images were computed again.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Why something could not be kept.
    pub fn write_error(&self) -> Option<&str> {
        self.write_error.get().map(String::as_str)
    }
}

/// The numbers of an entry of so many views; `None` if it is damaged.
fn parse(bytes: &[u8], n_views: usize) -> Option<Vec<f32>> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let tensor = SafeTensors::deserialize(bytes).ok()?.tensor(TENSOR).ok()?;
    let data = tensor.data();
    let checksum = header.metadata().as_ref()?.get(CHECKSUM)?;
    let is_whole = tensor.shape().len() == 2 && tensor.shape()[0] == n_views;
    if !is_whole || *checksum != hex(&Sha256::digest(data)) {
        return None;
    }
    match tensor.dtype() {
        Dtype::F16 => {
            let value = |bytes: &[u8; 2]| f16::from_le_bytes(*bytes).to_f32();
            Some(data.as_chunks().0.iter().map(value).collect())
        }
        Dtype::F32 => Some(data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        _ => None,
    }
}

/// A group of a cache on the disk.
#[derive(Debug, Clone, Serialize)]
pub struct GroupOnDisk {
    /// Its folder.
    pub folder: PathBuf,
    /// What it depends on; `None` if that cannot be read, which makes it useless.
    pub group: Option<CacheGroup>,
    /// Images that are kept.
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
                found.images += 1;
                found.bytes += about.len();
                found.written = found.written.max(about.modified().ok());
            }
            groups.push(found);
        }
        Ok(groups)
    }

    /// The files of all images.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub fn entries(&self) -> Result<Vec<PathBuf>, CacheError> {
        let mut entries = Vec::new();
        for folder in read_folder(&self.folder)? {
            if folder.is_dir() {
                let files = read_folder(&folder)?;
                let is_entry = |file: &PathBuf| file.extension().is_some_and(|it| it == ENDING);
                entries.extend(files.into_iter().filter(is_entry));
            }
        }
        Ok(entries)
    }

    /// Whether a file of [`GroupOnDisk::entries`] is whole.
    pub fn is_whole(&self, entry: &Path) -> bool {
        let views = self.group.as_ref().map(|group| group.n_views);
        match (fs::read(entry), views) {
            (Ok(bytes), Some(views)) => parse(&bytes, views).is_some(),
            _ => false,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path, precision: CachePrecision) -> EmbeddingCache {
        let weights = WeightsInfo {
            files: Vec::new(),
            activation: "gelu".to_owned(),
            logit_scale: 100.0,
            model: Value::Null,
        };
        EmbeddingCache::new(folder, &weights, Precision::F32, "cpu", precision)
    }

    fn three_views() -> ViewConfig {
        ViewConfig { count: 3, ..ViewConfig::default() }
    }

    const VALUES: [f32; 6] = [1.0, -2.5, 1e-3, 70_000.0, 0.1, f32::MIN_POSITIVE];

    #[test]
    fn numbers_come_back_as_they_were_or_rounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = EntryName::new(b"image", 7);
        for precision in [CachePrecision::F32, CachePrecision::F16] {
            let views = cache(folder.path(), precision).open(&three_views(), 0).expect("a group");
            assert_eq!(views.read(&name), None, "precisions are apart");
            views.write(&name, &VALUES);
            let read = views.read(&name).expect("it was written");
            assert_eq!(read, views.rounded(VALUES.to_vec()));
            assert_eq!(read == VALUES, precision == CachePrecision::F32);
            assert_eq!((views.damaged(), views.write_error()), (0, None));
        }
        let groups = GroupOnDisk::all(folder.path()).expect("a cache");
        assert_eq!(groups.iter().map(|group| group.images).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn nothing_of_another_image_place_view_or_seed_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path(), CachePrecision::F32);
        let views = cache.open(&three_views(), 0).expect("a group");
        views.write(&EntryName::new(b"image", 7), &VALUES);
        for name in [EntryName::new(b"image", 8), EntryName::new(b"imagf", 7)] {
            assert_eq!(views.read(&name), None);
        }
        let other_views = ViewConfig { flip_probability: 0.4, ..three_views() };
        for (views, seed) in
            [(other_views, 0), (three_views(), 1), (ViewConfig { count: 2, ..three_views() }, 0)]
        {
            let other = cache.open(&views, seed).expect("a group");
            assert_eq!(other.read(&EntryName::new(b"image", 7)), None);
        }
    }

    #[test]
    fn damaged_entries_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let views =
            cache(folder.path(), CachePrecision::F16).open(&three_views(), 0).expect("a group");
        let name = EntryName::new(b"image", 0);
        views.write(&name, &VALUES);
        let path = views.path(&name);
        let whole = fs::read(&path).expect("the entry");
        let group = &GroupOnDisk::all(folder.path()).expect("a cache")[0];
        assert!(group.is_whole(&path));
        for damage in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[damage] ^= 0x10;
            fs::write(&path, &bytes).expect("a file");
            let read = views.read(&name);
            assert!(read.is_none() || read == Some(views.rounded(VALUES.to_vec())), "{damage}");
            fs::write(&path, &whole[..damage]).expect("a file");
            assert_eq!(views.read(&name), None, "cut off at {damage}");
        }
        assert!(views.damaged() as usize > whole.len());
        assert!(!group.is_whole(&path));
    }

    #[test]
    fn a_cache_that_cannot_be_written_says_so_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let views =
            cache(folder.path(), CachePrecision::F16).open(&three_views(), 0).expect("a group");
        let name = EntryName::new(b"image", 0);
        fs::write(folder_of(&views, &name), "in the way").expect("a file");
        views.write(&name, &VALUES);
        assert!(views.write_error().is_some());
        assert_eq!(views.read(&name), None);
    }

    fn folder_of(views: &ViewCache, name: &EntryName) -> PathBuf {
        views.path(name).parent().expect("a folder").to_owned()
    }
}
