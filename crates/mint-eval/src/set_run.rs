//! One pass of all methods over a test set's images.

use std::time::Instant;

use mint_clip::Clip;
use mint_datasets::{ImageSet, TestSet};
use mint_tuner::{Method, Pending, ViewDemand, ZeroShot};

use crate::config::{ImageOrder, RunConfig};
use crate::error::{EvalError, RecordError};
use crate::group::{Group, Ready, kept};
use crate::loader::{CacheUse, LoadError, Loaded};
use crate::loop_config::{LoopConfig, Observer};
use crate::method_id::MethodId;
use crate::methods::ConfiguredMethod;
use crate::metrics::{Accuracy, ranking};
use crate::published::{is_mixed, is_published_size, published_top1};
use crate::record::Record;
use crate::record::lines::ErrorLine;
use crate::record::resume;
use crate::row::Row;
use crate::session::Session;
use crate::tally::{Classified, Tally};

/// What a pass over a test set holds between images.
pub struct SetRun<'a> {
    clip: &'a Clip,
    config: &'a RunConfig,
    set: &'a ImageSet,
    session: Session<'a>,
    zero_shot: &'a mut ZeroShot,
    cache: Option<CacheUse>,
    /// In the order of the methods.
    tallies: Vec<Tally>,
    observer: &'a mut dyn Observer,
    /// Images whose clean views go through the image tower together.
    at_once: usize,
    overlap: bool,
    /// Images that wait to go together with others.
    group: Group,
    in_flight: Vec<Launched>,
    unreadable: u64,
}

/// An image whose results may still be on their way.
struct Launched {
    /// Index in the set.
    index: usize,
    /// In the order of the methods, with the seconds that each has taken so far.
    outcomes: Vec<(Pending, f64)>,
    zero_shot: Pending,
}

/// What a pass is made of.
pub struct Parts<'a> {
    pub clip: &'a Clip,
    pub config: &'a RunConfig,
    pub set: &'a ImageSet,
    pub session: Session<'a>,
    pub zero_shot: &'a mut ZeroShot,
    pub cache: Option<CacheUse>,
    pub tallies: Vec<Tally>,
    pub observer: &'a mut dyn Observer,
}

impl<'a> SetRun<'a> {
    /// Continues after `done` images.
    pub fn new(parts: Parts<'a>, settings: LoopConfig, done: usize) -> Self {
        let Parts { clip, config, set, session, zero_shot, cache, tallies, observer } = parts;
        let counted = tallies.first().map_or(0, |tally| tally.accuracy.images);
        // Clean views alone are too little work for all cores, so several images go together.
        let clean_alone = session.looks_at_clean_views_alone() && cache.is_none();
        Self {
            clip,
            config,
            set,
            session,
            zero_shot,
            cache,
            tallies,
            observer,
            at_once: if clean_alone { settings.clean_views_at_once } else { 1 },
            overlap: settings.overlap,
            group: Group::default(),
            in_flight: Vec::new(),
            unreadable: done as u64 - counted,
        }
    }

    /// Whether somebody wants the run to end.
    pub fn is_to_stop(&self) -> bool {
        self.observer.stop()
    }

    /// Images that were accepted and not yet looked at.
    pub fn waiting(&self) -> usize {
        self.group.len()
    }

    /// Takes the views of the next image; its results may come later.
    pub fn accept(&mut self, index: usize, loaded: Loaded) -> Result<(), EvalError> {
        self.group.push(&self.session, index, loaded);
        if self.group.len() < self.at_once {
            return Ok(());
        }
        let next = self.launch()?;
        self.settle()?;
        self.in_flight = next;
        if self.overlap { Ok(()) } else { self.settle() }
    }

    /// Records that the next image cannot be used.
    pub fn skip(&mut self, index: usize, error: &LoadError) -> Result<(), EvalError> {
        self.flush()?;
        self.observer.unreadable(error);
        self.unreadable += 1;
        self.write_error(index, error)?;
        Ok(())
    }

    /// Finishes all images that were accepted.
    pub fn flush(&mut self) -> Result<(), EvalError> {
        let rest = self.launch()?;
        self.in_flight.extend(rest);
        self.settle()
    }

    /// Reads the results of images that were launched, in their order, and counts them.
    pub fn settle(&mut self) -> Result<(), EvalError> {
        let Self { set, session, tallies, .. } = self;
        for Launched { index, outcomes, zero_shot } in self.in_flight.drain(..) {
            let mut results = Vec::with_capacity(outcomes.len());
            for (method, (outcome, seconds)) in session.methods().iter().zip(outcomes) {
                let clock = Instant::now();
                let outcome = outcome
                    .read()
                    .map_err(|source| EvalError::of_image(method.id, set, index, source))?;
                results.push((outcome, seconds + clock.elapsed().as_secs_f64()));
            }
            let zero_shot = zero_shot
                .read()
                .map_err(|source| EvalError::of_image(MethodId::Clip, set, index, source))?;
            let zero_shot_top1 = ranking(&zero_shot.scores, 1)[0];
            for ((outcome, seconds), tally) in results.into_iter().zip(tallies.iter_mut()) {
                let classified = Classified { outcome, zero_shot_top1, seconds };
                let image = &set.images[index];
                tally.add(&classified, image, &set.class_names)?;
            }
            let accuracies: Vec<Accuracy> = tallies.iter().map(|tally| tally.accuracy).collect();
            self.observer.image(&accuracies);
        }
        Ok(())
    }

    /// Whether a run can be interrupted here and resumed.
    pub fn is_at_rest(&mut self) -> bool {
        self.session.is_at_rest()
    }

    /// Saves what the methods remember after `images` images, and the lines that it goes with.
    pub fn save(&mut self, record: &Record, images: usize) -> Result<(), EvalError> {
        self.settle()?;
        resume::save_memory(self.session.methods_mut(), self.set, record, &self.tallies, images)
    }

    /// Ends the pass.
    pub fn finish(self) -> Vec<Row> {
        self.observer.finish();
        if let Some(CacheUse { images, .. }) = &self.cache {
            self.observer.cache(images.damaged(), images.write_error());
        }
        let of_methods = self.session.methods().iter().zip(&self.tallies);
        of_methods.map(|(method, tally)| self.row(method, tally)).collect()
    }

    /// What was counted of a method, with the published figure of the like.
    fn row(&self, ConfiguredMethod { id, method, setup }: &ConfiguredMethod, tally: &Tally) -> Row {
        let views = match method.view_demand(self.session.classes()) {
            ViewDemand::Clean => 1,
            ViewDemand::All => self.config.views,
        };
        let row = tally.counted(Row {
            test_set: self.set.id.clone(),
            method: id.name().to_owned(),
            start: setup.start.clone(),
            views,
            share: setup.share.filter(|_| views > 1),
            steps: setup.steps,
            seed: self.config.seed,
            unreadable: self.unreadable,
            ..Row::default()
        });
        // A split file of the user's may have other classes; Food101's may be exchanged.
        let names_are = |set: TestSet| {
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            sorted(set.class_names()) == sorted(self.set.class_names.clone())
        };
        let is_like = |set: &TestSet| {
            let views_are =
                row.views == 1 || self.config.mixes_views(Some(*set)) == is_mixed(&row, *set);
            let order_is = matches!(self.config.order, ImageOrder::Shuffled | ImageOrder::File);
            views_are && order_is && names_are(*set) && is_published_size(&self.clip.config)
        };
        let published = self.set.test_set.filter(is_like);
        let published_top1 = published.and_then(|_| published_top1(&row, &self.set.id));
        Row { published_top1, ..row }
    }

    /// Starts the classification of the waiting images, in their order.
    fn launch(&mut self) -> Result<Vec<Launched>, EvalError> {
        let clock = Instant::now();
        let ready = self.group.take(self.clip, self.cache.as_ref());
        let ready = ready.map_err(|source| EvalError::of_set(MethodId::Clip, self.set, source))?;
        // What was spent on an image together with others counts for the first method.
        let shared = clock.elapsed().as_secs_f64() / ready.len().max(1) as f64;
        let mut launched = Vec::with_capacity(ready.len());
        for Ready { index, views, entry } in ready {
            let outcomes = self.session.launch(&views);
            let mut outcomes =
                outcomes.map_err(|error| EvalError::of_session(error, self.set, Some(index)))?;
            if let Some((_, seconds)) = outcomes.first_mut() {
                *seconds += shared;
            }
            // Last, so that it reads what the methods computed and costs next to nothing.
            let zero_shot = self.zero_shot.launch(self.session.classes(), &views);
            let zero_shot = zero_shot
                .map_err(|source| EvalError::of_image(MethodId::Clip, self.set, index, source))?;
            if let Some(cache) = self.cache.as_ref().filter(|cache| !cache.reads)
                && let (Some(_), Some(embeddings)) = (&entry, views.known_embeddings())
            {
                kept(self.clip, &*cache.images, entry.as_ref(), embeddings).map_err(|source| {
                    EvalError::of_image(MethodId::Clip, self.set, index, source)
                })?;
            }
            launched.push(Launched { index, outcomes, zero_shot });
        }
        Ok(launched)
    }

    fn write_error(&mut self, index: usize, error: &LoadError) -> Result<(), RecordError> {
        let image = &self.set.images[index];
        let path = image.path.to_string_lossy();
        let error = error.with_causes();
        let line = ErrorLine { path: &path, label: image.label, error: &error };
        self.tallies
            .iter_mut()
            .filter_map(|tally| tally.lines.as_mut())
            .try_for_each(|lines| lines.write(&line))
    }
}
