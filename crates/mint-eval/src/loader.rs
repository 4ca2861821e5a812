//! Worker threads that decode images and make their views ahead of the device.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use image::RgbImage;
use mint_augment::{ViewError, ViewGenerator, ViewSeed, Views};
use mint_datasets::{ImageError, ImageSet, Orientation};
use rayon::{ThreadPool, ThreadPoolBuilder};
use sha2::{Digest, Sha256};

use crate::cache::file_index::{FileIndex, Stamp};
use crate::cache::kept_embeddings::{Content, EntryName, KeptEmbeddings};

/// An image whose views could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read or decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image has no pixels.
    #[error("`{path}`: {source}")]
    View {
        /// The file.
        path: String,
        /// Why not.
        source: ViewError,
    },
    /// Somebody refused the image after it was loaded.
    #[error(transparent)]
    Refused(Box<dyn Error + Send + Sync>),
    /// A decoder gave up on the file.
    #[error("the decoder failed on `{0}`")]
    Decoder(String),
}

impl LoadError {
    /// What is wrong and why, in a line.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

/// Makes the views of a list of images, in order, a bounded number of images ahead.
pub struct Loader {
    pool: ThreadPool,
    work: Arc<Work>,
    sender: Sender<(usize, Result<Loaded, LoadError>)>,
    receiver: Receiver<(usize, Result<Loaded, LoadError>)>,
    /// Finished, but not yet their turn.
    waiting: BTreeMap<usize, Result<Loaded, LoadError>>,
    started: usize,
    delivered: usize,
    ahead: usize,
}

/// What is to be loaded, and how.
pub(crate) struct Work {
    pub set: Arc<ImageSet>,
    pub generator: ViewGenerator,
    pub seed: u64,
    pub indices: Vec<usize>,
    pub cache: Option<CacheUse>,
    pub orientation: Orientation,
    pub naming: Naming,
    /// Whether decoded images are handed on with their views.
    pub with_pictures: bool,
}

/// What decides an image's random views, and what its embeddings are kept by.
pub(crate) enum Naming {
    /// Its content, and its place in the set.
    ByPlace,
    /// Its content alone, which may be known without reading the file.
    ByContent(Option<Arc<FileIndex>>),
}

/// A cache, and what it is for.
#[derive(Clone)]
pub(crate) struct CacheUse {
    pub images: Arc<dyn KeptEmbeddings>,
    /// Whether embeddings that are there are used; otherwise they are only added.
    pub reads: bool,
}

/// What was made of an image.
pub struct Loaded {
    /// Views, or what is known of them.
    pub(crate) input: Input,
    /// Where embeddings that are computed are to be kept.
    pub(crate) entry: Option<EntryName>,
    picture: Option<RgbImage>,
}

/// Views, or their embeddings.
pub(crate) enum Input {
    Views(Views),
    /// Row by row, as they are in the cache.
    Embeddings(Vec<f32>),
}

impl Loaded {
    /// The decoded image, if it was asked for and no cache had its embeddings.
    pub fn picture(&self) -> Option<&RgbImage> {
        self.picture.as_ref()
    }

    /// The views; `None` if a cache had their embeddings.
    pub fn into_views(self) -> Option<Views> {
        match self.input {
            Input::Views(views) => Some(views),
            Input::Embeddings(_) => None,
        }
    }
}

impl Loader {
    /// Starts on the images `indices` of `set`; at most `ahead` of them are in memory.
    ///
    /// # Panics
    ///
    /// If the system cannot start a thread.
    pub fn new(
        set: Arc<ImageSet>,
        generator: ViewGenerator,
        seed: u64,
        indices: Vec<usize>,
        threads: usize,
        ahead: usize,
    ) -> Self {
        let (cache, orientation) = (None, Orientation::Stored);
        let (naming, with_pictures) = (Naming::ByPlace, false);
        let work =
            Work { set, generator, seed, indices, cache, orientation, naming, with_pictures };
        Self::with_cache(work, threads, ahead)
    }

    /// The same with a cache, if there is one.
    pub(crate) fn with_cache(work: Work, threads: usize, ahead: usize) -> Self {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("loader-{index}"))
            .build()
            .expect("the system can start a thread");
        let (sender, receiver) = channel();
        let mut loader = Self {
            pool,
            work: Arc::new(work),
            sender,
            receiver,
            waiting: BTreeMap::new(),
            started: 0,
            delivered: 0,
            ahead: ahead.max(1),
        };
        for _ in 0..loader.ahead {
            loader.start_one();
        }
        loader
    }

    fn start_one(&mut self) {
        if self.started == self.work.indices.len() {
            return;
        }
        let (position, work, sender) = (self.started, self.work.clone(), self.sender.clone());
        self.pool.spawn(move || {
            // The receiver is gone when an evaluation stops early; nobody needs the result then.
            let _ = sender.send((position, work.load(position)));
        });
        self.started += 1;
    }
}

impl Iterator for Loader {
    /// Index of the image in its set, and what was made of it.
    type Item = (usize, Result<Loaded, LoadError>);

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.delivered;
        let index = *self.work.indices.get(position)?;
        let views = loop {
            if let Some(views) = self.waiting.remove(&position) {
                break views;
            }
            let (finished, views) = self.receiver.recv().expect("the loader holds a sender");
            self.waiting.insert(finished, views);
        };
        self.delivered += 1;
        self.start_one();
        Some((index, views))
    }
}

impl Naming {
    /// The file as it is now, and what may know its content.
    fn stamp(&self, set: &ImageSet, index: usize) -> Option<(&FileIndex, Stamp)> {
        let Self::ByContent(Some(files)) = self else { return None };
        let path = set.folder()?.join(&set.images[index].path);
        Some((files, Stamp::of(&path)?))
    }

    /// What an image's embeddings are kept by, and the number that decides its random views.
    fn of(&self, content: Content, index: usize) -> (EntryName, u64) {
        match self {
            Self::ByPlace => (EntryName::in_set(content, index), index as u64),
            Self::ByContent(_) => {
                let [a, b, c, d, e, f, g, h, ..] = content;
                (EntryName(content), u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

impl Work {
    fn load(&self, position: usize) -> Result<Loaded, LoadError> {
        let index = self.indices[position];
        let path = || self.set.images[index].path.display().to_string();
        let known = |entry: &EntryName| {
            let cache = self.cache.as_ref().filter(|cache| cache.reads)?;
            let input = Input::Embeddings(cache.images.read(entry)?);
            Some(Loaded { input, entry: None, picture: None })
        };
        let make = || {
            // Stamped before it is read, so that a later change is seen.
            let stamp = self.naming.stamp(&self.set, index);
            let content = stamp.as_ref().and_then(|(files, stamp)| files.content(stamp));
            if let Some(loaded) = content.map(EntryName).as_ref().and_then(known) {
                return Ok(loaded);
            }
            let bytes = self.set.bytes(index)?;
            let is_named = self.cache.is_some() || matches!(self.naming, Naming::ByContent(_));
            let content: Content =
                if is_named { Sha256::digest(&bytes).into() } else { Content::default() };
            if let Some((files, stamp)) = stamp {
                files.add(&stamp, content);
            }
            let (entry, image) = self.naming.of(content, index);
            if let Some(loaded) = known(&entry) {
                return Ok(loaded);
            }
            let picture = self.set.decode(index, &bytes, self.orientation)?;
            let views = self.generator.views(&picture, ViewSeed { seed: self.seed, image });
            let views = views.map_err(|source| LoadError::View { path: path(), source })?;
            // What is only added to need not be computed again.
            let is_missing = |cache: &CacheUse| cache.reads || !cache.images.has(&entry);
            let entry = self.cache.as_ref().is_some_and(is_missing).then_some(entry);
            let picture = self.with_pictures.then_some(picture);
            Ok(Loaded { input: Input::Views(views), entry, picture })
        };
        // A damaged file must not end a run of hours, whatever a decoder does with it.
        catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(LoadError::Decoder(path())))
    }
}
