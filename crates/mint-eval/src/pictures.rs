//! Pictures of the user's own through methods: no labels, no accuracy, and no picture costs another
//! its result.

use std::sync::Arc;

use mint_datasets::ImageSet;
use mint_tuner::{MethodError, Outcome, Pending};

use crate::cache::file_index::FileIndex;
use crate::cache::kept_embeddings::KeptEmbeddings;
use crate::cache::picture_cache::PictureCache;
use crate::cache::{CacheError, EmbeddingCache};
use crate::config::RunConfig;
use crate::group::Group;
use crate::loader::{CacheUse, LoadError, Loaded, Loader, Naming, Work};
use crate::loop_config::LoopConfig;
use crate::session::Session;

/// Pictures whose embeddings are known that are classified together.
const KNOWN_AT_ONCE: usize = 256;

/// Where embeddings of pictures are kept.
#[derive(Debug, Clone)]
pub struct KeptPictures {
    images: Arc<dyn KeptEmbeddings>,
    files: Arc<FileIndex>,
}

impl KeptPictures {
    /// In a cache, for the pictures of a session.
    ///
    /// # Errors
    ///
    /// If the cache cannot be made or read, or is damaged.
    pub fn open(
        cache: &EmbeddingCache,
        files: Arc<FileIndex>,
        session: &Session<'_>,
        seed: u64,
    ) -> Result<Self, CacheError> {
        let (generator, embed) = (session.generator(), session.classes().clip().config.embed_dim);
        let images = PictureCache::open(cache, generator.config(), seed, embed)?;
        Ok(Self { images: Arc::new(images), files })
    }

    /// Damaged embeddings that were met, which were computed again.
    pub fn damaged(&self) -> u64 {
        self.images.damaged()
    }

    /// Why embeddings could not be kept.
    pub fn write_error(&self) -> Option<String> {
        self.images.write_error().map(str::to_owned)
    }
}

/// How pictures are gone through.
pub struct PictureSettings<'a> {
    /// Orientation and seed.
    pub config: &'a RunConfig,
    /// Threads, and how many pictures go together.
    pub settings: LoopConfig,
    /// Where embeddings are kept.
    pub kept: Option<KeptPictures>,
    /// Whether decoded pictures are handed on with their views.
    pub with_pictures: bool,
}

impl PictureSettings<'_> {
    /// Loads the pictures `indices` of `set`. Random views are drawn by the content of a picture, so
    /// that nothing depends on its place.
    pub fn loader(&self, set: Arc<ImageSet>, session: &Session<'_>, indices: Vec<usize>) -> Loader {
        let kept = self.kept.as_ref();
        let work = Work {
            set,
            generator: session.generator(),
            seed: self.config.seed,
            indices,
            cache: kept.map(|kept| CacheUse { images: kept.images.clone(), reads: true }),
            orientation: self.config.orientation(),
            naming: Naming::ByContent(kept.map(|kept| kept.files.clone())),
            with_pictures: self.with_pictures,
        };
        // Embeddings that are read from a cache are small, and there is nothing to wait for.
        let ahead = if kept.is_some() { 4 * self.settings.ahead } else { self.settings.ahead };
        let ahead = ahead.max(self.settings.clean_views_at_once);
        Loader::with_cache(work, self.settings.loader_threads, ahead)
    }
}

/// What became of a picture.
pub struct Classified {
    /// Its index.
    pub index: usize,
    /// What each method says, in their order; an error if the picture cannot be read.
    pub outcomes: Result<Vec<Result<Outcome, MethodError>>, LoadError>,
}

/// Pictures that go through the methods of a session in their order.
pub struct PictureRun<'s, 'a> {
    session: &'s mut Session<'a>,
    cache: Option<CacheUse>,
    /// Pictures whose clean views go through the image tower together.
    at_once: usize,
    overlap: bool,
    group: Group,
    /// Pictures that could not be read, which wait for their turn.
    failed: Vec<(usize, LoadError)>,
    in_flight: Vec<Launched>,
}

struct Launched {
    index: usize,
    outcomes: Result<Vec<Result<Pending, MethodError>>, LoadError>,
}

impl<'s, 'a> PictureRun<'s, 'a> {
    /// Begins.
    pub fn new(session: &'s mut Session<'a>, settings: &PictureSettings<'_>) -> Self {
        let LoopConfig { clean_views_at_once, overlap, .. } = settings.settings;
        let clean_alone = session.looks_at_clean_views_alone();
        let images = settings.kept.as_ref().map(|kept| kept.images.clone());
        Self {
            session,
            cache: images.map(|images| CacheUse { images, reads: true }),
            at_once: if clean_alone { clean_views_at_once } else { 1 },
            overlap,
            group: Group::default(),
            failed: Vec::new(),
            in_flight: Vec::new(),
        }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session<'a> {
        self.session
    }

    /// Takes the next picture, and returns those that are finished, in the order in which they were
    /// taken.
    ///
    /// # Errors
    ///
    /// If the image tower is needed now and cannot be read, or the device cannot deliver what a cache
    /// is to keep.
    pub fn accept(
        &mut self,
        index: usize,
        loaded: Result<Loaded, LoadError>,
    ) -> Result<Vec<Classified>, MethodError> {
        match loaded {
            Ok(loaded) => self.group.push(self.session, index, loaded),
            Err(error) => self.failed.push((index, error)),
        }
        let most =
            if self.group.has_pixels() { self.at_once } else { KNOWN_AT_ONCE.max(self.at_once) };
        if self.group.len() < most && self.failed.len() < most {
            return Ok(Vec::new());
        }
        let next = self.launch()?;
        let mut finished = self.settle();
        self.in_flight = next;
        if !self.overlap {
            finished.extend(self.settle());
        }
        Ok(finished)
    }

    /// Finishes all pictures that were taken.
    ///
    /// # Errors
    ///
    /// Those of [`PictureRun::accept`].
    pub fn flush(&mut self) -> Result<Vec<Classified>, MethodError> {
        let rest = self.launch()?;
        self.in_flight.extend(rest);
        Ok(self.settle())
    }

    fn launch(&mut self) -> Result<Vec<Launched>, MethodError> {
        let clip = self.session.classes().clip();
        if self.group.has_pixels() {
            clip.image.ensure()?;
        }
        let ready = self.group.take(clip, self.cache.as_ref())?;
        let (indices, views): (Vec<usize>, Vec<_>) =
            ready.into_iter().map(|ready| (ready.index, ready.views)).unzip();
        let outcomes = self.session.launch_each(&views).into_iter();
        let of_pictures = indices.into_iter().zip(outcomes);
        let launched =
            of_pictures.map(|(index, outcomes)| Launched { index, outcomes: Ok(outcomes) });
        let failed = std::mem::take(&mut self.failed).into_iter();
        let failed = failed.map(|(index, error)| Launched { index, outcomes: Err(error) });
        let mut launched: Vec<Launched> = launched.chain(failed).collect();
        launched.sort_by_key(|launched| launched.index);
        Ok(launched)
    }

    /// Reads the results of pictures that were launched.
    fn settle(&mut self) -> Vec<Classified> {
        let read = |outcomes: Vec<Result<Pending, MethodError>>| {
            outcomes.into_iter().map(|outcome| outcome.and_then(Pending::read)).collect()
        };
        let launched = self.in_flight.drain(..);
        launched
            .map(|Launched { index, outcomes }| Classified { index, outcomes: outcomes.map(read) })
            .collect()
    }
}
