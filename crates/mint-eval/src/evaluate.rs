//! The loop over a test set's images.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mint_clip::{Clip, Tokenizer};
use mint_datasets::ImageSet;
use mint_tuner::{Method, ZeroShot};

use crate::cache::EmbeddingCache;
use crate::config::RunConfig;
use crate::error::{EvalError, RecordError};
use crate::loader::{CacheUse, Loader, Naming, Work};
use crate::loop_config::{LoopConfig, Observer};
use crate::method_id::MethodId;
use crate::methods::ConfiguredMethod;
use crate::record::Record;
use crate::record::lines::RecordedLine;
use crate::record::resume;
use crate::row::Row;
use crate::session::Session;
use crate::set_run::{Parts, SetRun};
use crate::tally::Tally;
use crate::usage::{Stages, lap};

/// What methods remember is saved when this has passed, and at the end of a test set.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// A large memory, as DOTA's half gigabyte, is saved less often: when this many times the time has
/// passed that saving it took.
const SAVE_SHARE: u32 = 20;

/// A model and the methods that are compared on it.
pub struct Evaluation<'a> {
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    config: &'a RunConfig,
    methods: Vec<ConfiguredMethod>,
    zero_shot: ZeroShot,
    cache: Option<EmbeddingCache>,
    stages: Stages,
    /// The set before, and its images, if an earlier process has gone through it.
    finished_before: Option<(String, usize)>,
}

impl<'a> Evaluation<'a> {
    /// Methods are run in the given order on every image.
    pub fn new(
        clip: &'a Clip,
        tokenizer: &'a Tokenizer,
        config: &'a RunConfig,
        methods: Vec<ConfiguredMethod>,
    ) -> Self {
        let zero_shot = ZeroShot::default();
        let stages = Stages::default();
        Self {
            clip,
            tokenizer,
            config,
            methods,
            zero_shot,
            cache: None,
            stages,
            finished_before: None,
        }
    }

    /// With a cache that embeddings are added to, and read from if the configuration says so
    /// ([`RunConfig::cache`]), which takes methods that need no pixels.
    pub fn with_cache(self, cache: EmbeddingCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Where the time went so far.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// The images of a set that the run goes through, in their order.
    ///
    /// # Errors
    ///
    /// If none is left.
    pub fn select(config: &RunConfig, set: &ImageSet) -> Result<Vec<usize>, EvalError> {
        let indices = config.select(set.order(config.order.seeded(config.seed)));
        if indices.is_empty() {
            return Err(EvalError::NoImages(set.title.clone()));
        }
        Ok(indices)
    }

    /// Skips a test set that an earlier process has finished. What the methods remember of it
    /// is restored when the next one begins. Returns the number of its images.
    ///
    /// # Errors
    ///
    /// If the set has no images.
    pub fn skip(&mut self, set: &ImageSet) -> Result<usize, EvalError> {
        let images = Self::select(self.config, set)?.len();
        self.finished_before = Some((set.id.clone(), images));
        Ok(images)
    }

    /// Runs all methods over a test set; one row per method.
    ///
    /// # Errors
    ///
    /// If a method cannot run or its numbers are not finite, if the record cannot be written or
    /// does not fit, if an image cannot be used and the run is strict, or if the observer stops it.
    /// What is recorded until then can be resumed.
    pub fn run(
        &mut self,
        set: &Arc<ImageSet>,
        record: Option<&Record>,
        settings: LoopConfig,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Row>, EvalError> {
        let &mut Self { clip, tokenizer, config, .. } = self;
        let mut indices = Self::select(config, set)?;
        observer.prepare(set);
        let before = self.finished_before.take();
        let mut clock = Instant::now();
        let stages = &mut self.stages;
        let n_images = indices.len();
        let session = Session::of_set(clip, tokenizer, set, &mut self.methods, config);
        let session = session.map_err(|error| EvalError::of_session(error, set, None))?;
        let mut session = session.with_image_count(n_images);
        self.zero_shot
            .prepare(session.classes())
            .map_err(|source| EvalError::of_set(MethodId::Clip, set, source))?;
        lap(&mut clock, &mut stages.texts);
        let earlier = match record {
            Some(record) => {
                let (methods, device) = (session.methods_mut(), &clip.device);
                resume::earlier_lines(methods, device, set, record, &indices, before)?
            }
            None => vec![Vec::new(); session.methods().len()],
        };
        let tallies = tallies(config, &session, set, record, &earlier, n_images)?;
        let done = earlier.first().map_or(0, Vec::len);
        observer.start(set, n_images, done);
        indices.drain(..done);

        let LoopConfig { loader_threads, ahead, strict, .. } = settings;
        let generator = session.generator();
        let cache = match &self.cache {
            Some(cache) => Some(CacheUse {
                images: Arc::new(cache.open(generator.config(), config.seed)?),
                reads: config.cache.is_some(),
            }),
            None => None,
        };
        let work = Work {
            set: set.clone(),
            generator,
            seed: config.seed,
            indices,
            cache: cache.clone(),
            orientation: config.orientation(),
            naming: Naming::ByPlace,
            with_pictures: false,
        };
        let loader = Loader::with_cache(work, loader_threads, ahead);
        let zero_shot = &mut self.zero_shot;
        let parts = Parts { clip, config, set, session, zero_shot, cache, tallies, observer };
        let mut run = SetRun::new(parts, settings, done);
        let (mut saved, mut wait) = (Instant::now(), SAVE_EVERY);
        for (position, (index, loaded)) in loader.enumerate() {
            lap(&mut clock, &mut stages.views);
            if run.is_to_stop() {
                run.settle()?;
                // Those that wait to go together with others have not been seen.
                let seen = done + position - run.waiting();
                if let Some(record) = record
                    && run.is_at_rest()
                {
                    run.save(record, seen)?;
                }
                run.finish();
                let test_set = set.title.clone();
                return Err(EvalError::Stopped { test_set, done: seen, images: n_images });
            }
            match loaded {
                Ok(loaded) => run.accept(index, loaded)?,
                Err(error) if strict => return Err(error.into()),
                Err(error) => run.skip(index, &error)?,
            }
            lap(&mut clock, &mut stages.methods);
            if let Some(record) = record
                && saved.elapsed() > wait
                && run.waiting() == 0
                && run.is_at_rest()
            {
                let begun = Instant::now();
                run.save(record, done + position + 1)?;
                saved = Instant::now();
                wait = SAVE_EVERY.max((saved - begun) * SAVE_SHARE);
                lap(&mut clock, &mut stages.record);
            }
        }
        run.flush()?;
        lap(&mut clock, &mut stages.methods);
        if let Some(record) = record {
            run.save(record, n_images)?;
        }
        lap(&mut clock, &mut stages.record);
        Ok(run.finish())
    }
}

fn tallies(
    config: &RunConfig,
    session: &Session<'_>,
    set: &ImageSet,
    record: Option<&Record>,
    earlier: &[Vec<RecordedLine>],
    n_images: usize,
) -> Result<Vec<Tally>, RecordError> {
    let tally = |(method, earlier): (&ConfiguredMethod, &Vec<RecordedLine>)| {
        let lines = record.map(|record| record.lines(&set.id, method.id.name(), earlier));
        let temperature = config.temperature(method.id, n_images);
        Ok(Tally::new(temperature, earlier, lines.transpose()?))
    };
    session.methods().iter().zip(earlier).map(tally).collect()
}
