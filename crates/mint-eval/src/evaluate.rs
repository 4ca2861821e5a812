//! The loop over a test set's images.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mint_augment::ViewGenerator;
use mint_clip::burn::tensor::Tensor;
use mint_clip::{Clip, PassConfig, Tokenizer};
use mint_datasets::{ImageSet, Order};
use mint_tuner::{
    ClassSet, ImageViews, Lifetime, Method, MethodError, Pending, ViewDemand, ZeroShot,
};

use crate::config::{ImageOrder, RunConfig};
use crate::error::{EvalError, RecordError};
use crate::lines::{EarlierLine, ErrorLine};
use crate::loader::{LoadError, Loader};
use crate::loop_config::{LoopConfig, Observer};
use crate::method_id::MethodId;
use crate::methods::ConfiguredMethod;
use crate::metrics::{Accuracy, ranking};
use crate::pixels::view_tensor;
use crate::published::{is_published_size, published_top1};
use crate::record::Record;
use crate::resume;
use crate::row::Row;
use crate::tally::{Classified, Tally};
use crate::views::view_config;

/// What methods remember is saved when this has passed, and at the end of a test set.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// A model and the methods that are compared on it.
pub struct Evaluation<'a> {
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    config: &'a RunConfig,
    pass_config: PassConfig,
    methods: Vec<ConfiguredMethod>,
    zero_shot: ZeroShot,
    /// The set before, and its images, if an earlier process has gone through it.
    finished_before: Option<(String, usize)>,
}

/// An image whose results may still be on their way.
struct Launched {
    /// Index in the set.
    index: usize,
    /// In the order of the methods, with the seconds that each has taken so far.
    outcomes: Vec<(Pending, f64)>,
    zero_shot: Pending,
}

impl<'a> Evaluation<'a> {
    /// Methods are run in the given order on every image.
    pub fn new(
        clip: &'a Clip,
        tokenizer: &'a Tokenizer,
        config: &'a RunConfig,
        methods: Vec<ConfiguredMethod>,
    ) -> Result<Self, MethodError> {
        let pass_config = config.mint.pass(&clip.config)?;
        let zero_shot = ZeroShot::default();
        let finished_before = None;
        Ok(Self { clip, tokenizer, config, pass_config, methods, zero_shot, finished_before })
    }

    /// The images of a set that the run goes through, in their order.
    ///
    /// # Errors
    ///
    /// If none is left.
    pub fn select(config: &RunConfig, set: &ImageSet) -> Result<Vec<usize>, EvalError> {
        let order = match config.order {
            ImageOrder::File => Order::File,
            ImageOrder::Shuffled => Order::Shuffled(config.seed),
        };
        let indices = config.select(set.order(order));
        if indices.is_empty() {
            return Err(EvalError::NoImages(set.title.clone()));
        }
        Ok(indices)
    }

    /// The methods whose results depend on the images before.
    pub fn remembering(&self) -> impl Iterator<Item = MethodId> {
        let lasts = |method: &&ConfiguredMethod| {
            method.method.memory_lifetime().is_some_and(|lifetime| lifetime != Lifetime::Image)
        };
        self.methods.iter().filter(lasts).map(|method| method.id)
    }

    /// Passes over a test set that an earlier process has finished. What the methods remember of it
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
        let mut indices = Self::select(self.config, set)?;
        let view_config = view_config(&self.clip.config, self.views(ViewDemand::All));
        let generator = ViewGenerator::new(view_config)?;
        observer.prepare(set);
        self.start(set)?;
        let earlier = match record {
            Some(record) => {
                let (methods, device) = (&mut self.methods, &self.clip.device);
                let before = self.finished_before.take();
                resume::earlier_lines(methods, device, set, record, &indices, before)?
            }
            None => vec![Vec::new(); self.methods.len()],
        };
        let mut tallies = self.tallies(set, record, &earlier)?;
        let done = earlier.first().map_or(0, Vec::len);
        let mut unreadable = done as u64 - tallies.first().map_or(0, |tally| tally.accuracy.images);
        let n_images = indices.len();
        observer.start(set, n_images, done);
        indices.drain(..done);
        let LoopConfig { loader_threads, ahead, strict, overlap, .. } = settings;
        let at_once = self.images_at_once(settings);
        let seed = self.config.seed;
        let loader = Loader::new(set.clone(), generator, seed, indices, loader_threads, ahead);
        let mut group = Vec::new();
        // Images whose results are on their way.
        let mut launched: Vec<Launched> = Vec::new();
        let mut saved = Instant::now();
        for (position, (index, views)) in loader.enumerate() {
            if observer.stop() {
                self.settle(set, &mut launched, &mut tallies, observer)?;
                // Those that wait to go together with others have not been seen.
                let seen = done + position - group.len();
                if let Some(record) = record.filter(|_| self.can_be_interrupted()) {
                    resume::save_memory(&self.methods, set, record, &tallies, seen)?;
                }
                observer.finish();
                let test_set = set.title.clone();
                return Err(EvalError::Stopped { test_set, done: seen, images: n_images });
            }
            let views = match views {
                Ok(views) => views,
                Err(error) if strict => return Err(error.into()),
                Err(error) => {
                    launched.extend(self.launch(set, &mut group)?);
                    self.settle(set, &mut launched, &mut tallies, observer)?;
                    observer.unreadable(&error);
                    unreadable += 1;
                    write_error(set, index, &error, &mut tallies)?;
                    continue;
                }
            };
            let pixels = view_tensor(views, &view_config.normalization, &self.clip.device);
            group.push((index, pixels));
            if group.len() < at_once {
                continue;
            }
            let next = self.launch(set, &mut group)?;
            self.settle(set, &mut launched, &mut tallies, observer)?;
            launched = next;
            if !overlap {
                self.settle(set, &mut launched, &mut tallies, observer)?;
            }
            let Some(record) = record.filter(|_| self.can_be_interrupted()) else { continue };
            if saved.elapsed() > SAVE_EVERY {
                self.settle(set, &mut launched, &mut tallies, observer)?;
                resume::save_memory(&self.methods, set, record, &tallies, done + position + 1)?;
                saved = Instant::now();
            }
        }
        launched.extend(self.launch(set, &mut group)?);
        self.settle(set, &mut launched, &mut tallies, observer)?;
        if let Some(record) = record {
            resume::save_memory(&self.methods, set, record, &tallies, n_images)?;
        }
        observer.finish();
        Ok(self.rows(set, unreadable, &tallies))
    }

    fn can_be_interrupted(&self) -> bool {
        self.methods.iter().all(|method| method.method.can_be_interrupted())
    }

    fn start(&mut self, set: &ImageSet) -> Result<(), EvalError> {
        let classes = ClassSet::new(self.clip, self.tokenizer, &set.class_names);
        let zero_shot = self.zero_shot.start_test_set(&classes);
        zero_shot.map_err(|source| EvalError::of_set(MethodId::Clip, set, source))?;
        for ConfiguredMethod { id, method, .. } in &mut self.methods {
            let started = method.start_test_set(&classes);
            started.map_err(|source| EvalError::of_set(*id, set, source))?;
        }
        Ok(())
    }

    fn tallies(
        &self,
        set: &ImageSet,
        record: Option<&Record>,
        earlier: &[Vec<EarlierLine>],
    ) -> Result<Vec<Tally>, EvalError> {
        let tally = |(method, earlier): (&ConfiguredMethod, &Vec<EarlierLine>)| {
            let lines = record.map(|record| record.lines(&set.id, method.id.name(), earlier));
            Ok(Tally::new(earlier, lines.transpose()?))
        };
        self.methods.iter().zip(earlier).map(tally).collect()
    }

    /// Clean views alone are too little work for all cores, so several images go together.
    fn images_at_once(&self, settings: LoopConfig) -> usize {
        let clean = |method: &ConfiguredMethod| method.method.view_demand() == ViewDemand::Clean;
        if self.methods.iter().all(clean) { settings.clean_views_at_once } else { 1 }
    }

    /// Starts the classification of a group of images, in their order, and empties it.
    fn launch(
        &mut self,
        set: &ImageSet,
        group: &mut Vec<(usize, Tensor<4>)>,
    ) -> Result<Vec<Launched>, EvalError> {
        let clock = Instant::now();
        let clean = (group.len() > 1).then(|| {
            let pixels = group.iter().map(|(_, pixels)| pixels.clone().narrow(0, 0, 1)).collect();
            self.clip.image.forward_each(Tensor::cat(pixels, 0))
        });
        let shared = clock.elapsed().as_secs_f64() / group.len().max(1) as f64;
        let Self { clip, pass_config, methods, zero_shot, .. } = self;
        let mut launched = Vec::with_capacity(group.len());
        for (position, (index, pixels)) in group.drain(..).enumerate() {
            let views = ImageViews::new(clip, pixels, pass_config);
            let views = match &clean {
                Some(clean) => views.with_clean_embedding(clean.clone().narrow(0, position, 1)),
                None => views,
            };
            launched.push(launch_image(methods, zero_shot, set, (index, shared), &views)?);
        }
        Ok(launched)
    }

    /// Reads the results of images that were launched, in their order, and counts them.
    fn settle(
        &self,
        set: &ImageSet,
        launched: &mut Vec<Launched>,
        tallies: &mut [Tally],
        observer: &mut dyn Observer,
    ) -> Result<(), EvalError> {
        for Launched { index, outcomes, zero_shot } in launched.drain(..) {
            let mut results = Vec::with_capacity(outcomes.len());
            for (method, (outcome, seconds)) in self.methods.iter().zip(outcomes) {
                let clock = Instant::now();
                let outcome = outcome
                    .read()
                    .map_err(|source| EvalError::of_image(method.id, set, index, source))?;
                results.push((outcome, seconds + clock.elapsed().as_secs_f64()));
            }
            let zero_shot = zero_shot.read();
            let zero_shot = zero_shot
                .map_err(|source| EvalError::of_image(MethodId::Clip, set, index, source))?;
            let zero_shot_top1 = ranking(&zero_shot.scores, 1)[0];
            for ((outcome, seconds), tally) in results.into_iter().zip(tallies.iter_mut()) {
                let of_image = Classified { outcome, zero_shot_top1, seconds };
                let image = &set.images[index];
                tally.add(&of_image, image, &set.class_names, self.config.temperature)?;
            }
            let accuracies: Vec<Accuracy> = tallies.iter().map(|tally| tally.accuracy).collect();
            observer.image(&accuracies);
        }
        Ok(())
    }

    /// Views that methods with this demand, or a lesser one, look at.
    fn views(&self, demand: ViewDemand) -> usize {
        let any_wants_all =
            self.methods.iter().any(|method| method.method.view_demand() == ViewDemand::All);
        if demand == ViewDemand::All && any_wants_all { self.config.views } else { 1 }
    }

    fn rows(&self, set: &ImageSet, unreadable: u64, tallies: &[Tally]) -> Vec<Row> {
        let row = |(ConfiguredMethod { id, method, setup }, tally): (&ConfiguredMethod, &Tally)| {
            let (top1_low, top1_high) = tally.accuracy.top1_interval();
            let row = Row {
                test_set: set.id.clone(),
                method: id.name().to_owned(),
                start: setup.start.to_owned(),
                views: self.views(method.view_demand()),
                share: setup.share,
                steps: setup.steps,
                seed: self.config.seed,
                images: tally.accuracy.images,
                unreadable,
                top1: tally.accuracy.top1_percent(),
                top1_low,
                top1_high,
                top5: tally.accuracy.top5_percent(),
                calibration_error: tally.calibration.error_percent(),
                brier: tally.calibration.brier(),
                published_top1: None,
                seconds_per_image: tally.seconds / tally.accuracy.images.max(1) as f64,
            };
            let published = set.test_set.filter(|_| is_published_size(&self.clip.config));
            let published_top1 = published.and_then(|set| published_top1(&row, set.id()));
            Row { published_top1, ..row }
        };
        self.methods.iter().zip(tallies).map(row).collect()
    }
}

/// Starts every method on one image. What was spent on it together with others, `shared` seconds,
/// counts for the first.
fn launch_image(
    methods: &mut [ConfiguredMethod],
    zero_shot: &mut ZeroShot,
    set: &ImageSet,
    (index, mut shared): (usize, f64),
    views: &ImageViews<'_>,
) -> Result<Launched, EvalError> {
    let mut outcomes = Vec::with_capacity(methods.len());
    for ConfiguredMethod { id, method, .. } in methods {
        let clock = Instant::now();
        let outcome = method.launch(views);
        let outcome = outcome.map_err(|source| EvalError::of_image(*id, set, index, source))?;
        outcomes.push((outcome, clock.elapsed().as_secs_f64() + std::mem::take(&mut shared)));
    }
    // Last, so that it reads what the methods computed and costs next to nothing.
    let zero_shot = zero_shot.launch(views);
    let zero_shot =
        zero_shot.map_err(|source| EvalError::of_image(MethodId::Clip, set, index, source))?;
    Ok(Launched { index, outcomes, zero_shot })
}

fn write_error(
    set: &ImageSet,
    index: usize,
    error: &LoadError,
    tallies: &mut [Tally],
) -> Result<(), RecordError> {
    let image = &set.images[index];
    let path = image.path.to_string_lossy();
    let error = error.with_causes();
    let line = ErrorLine { path: &path, label: image.label, error: &error };
    tallies
        .iter_mut()
        .filter_map(|tally| tally.lines.as_mut())
        .try_for_each(|lines| lines.write(&line))
}
