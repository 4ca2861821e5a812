//! Embeddings of views, kept from run to run: what the towers made of each image, for all methods
//! that look at nothing else.
//!
//! A cache is a folder with one folder per *group*: all images under the same weights, views and
//! seed. A group's file `group.json` states all of that. Each image is a file of its own, named by
//! its content and its place in the set (which decides its random views), with a checksum. Files
//! are renamed into place, so several processes may share a cache.

pub(crate) mod file_index;
pub(crate) mod groups_on_disk;
pub(crate) mod kept_embeddings;
pub(crate) mod packs;
pub(crate) mod picture_cache;
pub(crate) mod text_cache;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use mint_augment::ViewConfig;
use mint_clip::Precision;
use mint_datasets::Orientation;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cache::kept_embeddings::{EntryName, KeptEmbeddings};
use crate::config::CachePrecision;
use crate::record::run_info::{Versions, WeightsInfo, hex};
use crate::write_whole::{partial_name, write_whole};

/// Name of the file that states what a group depends on.
pub(crate) const GROUP_FILE: &str = "group.json";
/// Name of the tensor in an entry, `[view, embed]`.
const TENSOR: &str = "embeddings";
/// Key of the tensor's checksum in an entry's metadata.
const CHECKSUM: &str = "sha256";
/// What a group of texts says of its views: texts have none, and an entry is a row of all numbers.
const TEXTS: &str = "texts of classes";
/// What the names of entries end with.
pub(crate) const ENDING: &str = "safetensors";

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
    /// Whether images are turned as their files say.
    #[serde(default, skip_serializing_if = "is_not")]
    pub upright: bool,
    /// Whether random views are drawn by the content of an image, and not by its place in a set.
    #[serde(default, skip_serializing_if = "is_not")]
    pub by_content: bool,
    /// The program that computed.
    pub versions: Versions,
}

impl CacheGroup {
    /// Whether it has texts of classes, and no images.
    pub fn is_of_texts(&self) -> bool {
        self.views == TEXTS
    }
}

/// Groups of earlier versions say nothing of what they did not have.
fn is_not(value: &bool) -> bool {
    !value
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
            upright: false,
            by_content: false,
            versions: Versions::default(),
        };
        Self { folder: folder.to_owned(), group }
    }

    /// With images that are turned as their files say.
    pub fn with_orientation(mut self, orientation: Orientation) -> Self {
        self.group.upright = orientation == Orientation::Upright;
        self
    }

    /// Type of the numbers.
    pub(crate) fn precision(&self) -> CachePrecision {
        self.group.precision
    }

    /// The group of some views of a set's images.
    ///
    /// # Errors
    ///
    /// If its folder cannot be made, or is damaged.
    pub(crate) fn open(&self, views: &ViewConfig, seed: u64) -> Result<ViewCache, CacheError> {
        let group = self.of_views(views, seed);
        Ok(ViewCache::new(self.open_group(&group)?, &group))
    }

    /// The folder of the group of some views of pictures that belong to no set.
    ///
    /// # Errors
    ///
    /// Those of [`EmbeddingCache::open`].
    pub(crate) fn open_pictures(
        &self,
        views: &ViewConfig,
        seed: u64,
    ) -> Result<PathBuf, CacheError> {
        self.open_group(&CacheGroup { by_content: true, ..self.of_views(views, seed) })
    }

    /// The group of the classes' texts.
    ///
    /// # Errors
    ///
    /// Those of [`EmbeddingCache::open`].
    pub(crate) fn open_texts(&self) -> Result<ViewCache, CacheError> {
        let group = CacheGroup {
            views: TEXTS.to_owned(),
            n_views: 1,
            decoder: String::new(),
            precision: CachePrecision::F32,
            upright: false,
            ..self.group.clone()
        };
        Ok(ViewCache::new(self.open_group(&group)?, &group))
    }

    fn of_views(&self, views: &ViewConfig, seed: u64) -> CacheGroup {
        let (n_views, views) = (views.count, format!("{views:?}"));
        CacheGroup { views, n_views, seed, ..self.group.clone() }
    }

    /// The folder of a group.
    fn open_group(&self, group: &CacheGroup) -> Result<PathBuf, CacheError> {
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
                if known != (CacheGroup { weights_names: names, ..group.clone() }) {
                    return Err(CacheError::Damaged { path: file });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = serde_json::to_vec_pretty(group).expect("a group can be written");
                write_whole(&file, &text).map_err(io(&file))?;
            }
            Err(error) => return Err(io(&file)(error)),
        }
        Ok(folder)
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

impl ViewCache {
    fn new(folder: PathBuf, group: &CacheGroup) -> Self {
        Self {
            folder,
            precision: group.precision,
            n_views: group.n_views,
            damaged: AtomicU64::new(0),
            write_error: OnceLock::new(),
        }
    }

    fn path(&self, name: &EntryName) -> PathBuf {
        let name = hex(&name.0);
        self.folder.join(&name[..2]).join(format!("{name}.{ENDING}"))
    }

    fn try_write(&self, path: &Path, values: &[f32]) -> io::Result<()> {
        let dtype = match self.precision {
            CachePrecision::F16 => Dtype::F16,
            CachePrecision::F32 => Dtype::F32,
        };
        let data = self.precision.bytes(values);
        let shape = vec![self.n_views, values.len() / self.n_views];
        let tensor = TensorView::new(dtype, shape, &data);
        let metadata = HashMap::from([(CHECKSUM.to_owned(), hex(&Sha256::digest(&data)))]);
        let tensor = tensor.map_err(io::Error::other)?;
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
}

impl KeptEmbeddings for ViewCache {
    fn read(&self, name: &EntryName) -> Option<Vec<f32>> {
        let bytes = fs::read(self.path(name)).ok()?;
        let values = parse(&bytes, self.n_views);
        if values.is_none() {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        values
    }

    fn has(&self, name: &EntryName) -> bool {
        self.path(name).is_file()
    }

    fn write(&self, name: &EntryName, values: &[f32]) {
        let path = self.path(name);
        if self.write_error.get().is_none()
            && let Err(error) = self.try_write(&path, values)
        {
            let _ = self.write_error.set(format!("`{}`: {error}", path.display()));
        }
    }

    fn precision(&self) -> CachePrecision {
        self.precision
    }

    fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    fn write_error(&self) -> Option<&str> {
        self.write_error.get().map(String::as_str)
    }
}

/// The numbers of an entry of so many rows; `None` if it is damaged.
pub(crate) fn parse(bytes: &[u8], rows: usize) -> Option<Vec<f32>> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let tensor = SafeTensors::deserialize(bytes).ok()?.tensor(TENSOR).ok()?;
    let data = tensor.data();
    let checksum = header.metadata().as_ref()?.get(CHECKSUM)?;
    let is_whole = tensor.shape().len() == 2 && tensor.shape()[0] == rows;
    if !is_whole || *checksum != hex(&Sha256::digest(data)) {
        return None;
    }
    match tensor.dtype() {
        Dtype::F16 => Some(CachePrecision::F16.values(data)),
        Dtype::F32 => Some(CachePrecision::F32.values(data)),
        _ => None,
    }
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

    fn name(bytes: &[u8], index: usize) -> EntryName {
        EntryName::in_set(Sha256::digest(bytes).into(), index)
    }

    const VALUES: [f32; 6] = [1.0, -2.5, 1e-3, 70_000.0, 0.1, f32::MIN_POSITIVE];

    #[test]
    fn numbers_come_back_as_they_were_or_rounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = name(b"image", 7);
        for precision in [CachePrecision::F32, CachePrecision::F16] {
            let views = cache(folder.path(), precision).open(&three_views(), 0).expect("a group");
            assert_eq!(views.read(&name), None, "precisions are apart");
            views.write(&name, &VALUES);
            let read = views.read(&name).expect("it was written");
            assert_eq!(read, views.precision.rounded(VALUES.to_vec()));
            assert_eq!(read == VALUES, precision == CachePrecision::F32);
            assert_eq!((views.damaged(), views.write_error()), (0, None));
        }
        let groups = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(groups, 2);
    }

    #[test]
    fn nothing_of_another_image_place_view_or_seed_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path(), CachePrecision::F32);
        let views = cache.open(&three_views(), 0).expect("a group");
        views.write(&name(b"image", 7), &VALUES);
        for name in [name(b"image", 8), name(b"imagf", 7)] {
            assert_eq!(views.read(&name), None);
        }
        let other_views = ViewConfig { flip_probability: 0.4, ..three_views() };
        for (views, seed) in
            [(other_views, 0), (three_views(), 1), (ViewConfig { count: 2, ..three_views() }, 0)]
        {
            let other = cache.open(&views, seed).expect("a group");
            assert_eq!(other.read(&name(b"image", 7)), None);
        }
    }

    #[test]
    fn damaged_entries_are_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let views =
            cache(folder.path(), CachePrecision::F16).open(&three_views(), 0).expect("a group");
        let name = name(b"image", 0);
        views.write(&name, &VALUES);
        let path = views.path(&name);
        let whole = fs::read(&path).expect("the entry");
        for damage in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[damage] ^= 0x10;
            fs::write(&path, &bytes).expect("a file");
            let read = views.read(&name);
            assert!(
                read.is_none() || read == Some(views.precision.rounded(VALUES.to_vec())),
                "{damage}"
            );
            fs::write(&path, &whole[..damage]).expect("a file");
            assert_eq!(views.read(&name), None, "cut off at {damage}");
        }
        assert!(views.damaged() as usize > whole.len());
    }

    #[test]
    fn a_cache_that_cannot_be_written_says_so_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let views =
            cache(folder.path(), CachePrecision::F16).open(&three_views(), 0).expect("a group");
        let name = name(b"image", 0);
        fs::write(folder_of(&views, &name), "in the way").expect("a file");
        views.write(&name, &VALUES);
        assert!(views.write_error().is_some());
        assert_eq!(views.read(&name), None);
    }

    fn folder_of(views: &ViewCache, name: &EntryName) -> PathBuf {
        views.path(name).parent().expect("a folder").to_owned()
    }
}
