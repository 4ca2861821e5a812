//! Worker threads that decode images and make their views ahead of the device.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mint_augment::{ViewError, ViewGenerator, ViewSeed, Views};
use mint_datasets::{ImageError, ImageSet};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cache::{EntryName, ViewCache};

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
}

/// A cache, and what it is for.
#[derive(Clone)]
pub(crate) struct CacheUse {
    pub views: Arc<ViewCache>,
    /// Whether embeddings that are there are used; otherwise they are only added.
    pub reads: bool,
}

/// What was made of an image.
pub struct Loaded {
    /// Views, or what is known of them.
    pub(crate) input: Input,
    /// Where embeddings that are computed are to be kept.
    pub(crate) entry: Option<EntryName>,
}

/// Views, or their embeddings.
pub(crate) enum Input {
    Views(Views),
    /// Row by row, as they are in the cache.
    Embeddings(Vec<f32>),
}

impl Loaded {
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
        Self::with_cache(Work { set, generator, seed, indices, cache: None }, threads, ahead)
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

impl Work {
    fn load(&self, position: usize) -> Result<Loaded, LoadError> {
        let index = self.indices[position];
        let path = || self.set.images[index].path.display().to_string();
        let seed = ViewSeed { seed: self.seed, image: index as u64 };
        let make = || {
            let bytes = self.set.bytes(index)?;
            let entry = self.cache.as_ref().map(|_| EntryName::new(&bytes, index));
            if let (Some(cache), Some(entry)) = (&self.cache, &entry)
                && cache.reads
                && let Some(embeddings) = cache.views.read(entry)
            {
                return Ok(Loaded { input: Input::Embeddings(embeddings), entry: None });
            }
            let image = self.set.decode(index, &bytes)?;
            let views = self.generator.views(&image, seed);
            let views = views.map_err(|source| LoadError::View { path: path(), source })?;
            // What is only added to need not be computed again.
            let entry = entry.filter(|entry| {
                self.cache.as_ref().is_some_and(|cache| cache.reads || !cache.views.has(entry))
            });
            Ok(Loaded { input: Input::Views(views), entry })
        };
        // A damaged file must not end a run of hours, whatever a decoder does with it.
        catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| Err(LoadError::Decoder(path())))
    }
}
