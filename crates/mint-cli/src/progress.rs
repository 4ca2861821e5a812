//! Progress on standard error: what is being prepared, how far an evaluation is, and how long it
//! will take.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mint_datasets::ImageSet;
use mint_eval::{Accuracy, LoadError, MethodId, Observer};

use crate::interrupt::Interrupt;
use crate::output;

/// A phase that takes longer than this is said afterwards, with its time.
const WORTH_SAYING: Duration = Duration::from_secs(3);

/// Accuracies shown during a run.
const SHOWN: usize = 3;

/// Something that takes a while before the first image.
pub struct Phase {
    what: String,
    started: Instant,
    spinner: ProgressBar,
}

impl Phase {
    /// Shows that it has begun.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let spinner = ProgressBar::new_spinner()
            .with_style(style.expect("the template is valid"))
            .with_message(what.clone());
        spinner.enable_steady_tick(Duration::from_millis(200));
        Self { what, started: Instant::now(), spinner }
    }

    /// Says how long it took, if it did.
    pub fn finish(self) {
        self.spinner.finish_and_clear();
        let took = self.started.elapsed();
        if took > WORTH_SAYING {
            output::note(&format!("{}: {:.1} s", self.what, took.as_secs_f64()));
        }
    }
}

/// A bar for each test set, with running top-1 and the time left for the whole run.
pub struct Progress {
    methods: Vec<MethodId>,
    interrupt: Interrupt,
    bar: ProgressBar,
    texts: Option<Phase>,
    /// Over all sets.
    pace: Pace,
}

/// How fast images come, and how many are left.
#[derive(Default)]
struct Pace {
    /// When the first image of this process began.
    started: Option<Instant>,
    /// Images that this process has done.
    done: usize,
    left: usize,
}

impl Progress {
    /// For a run of these methods on this many images in all sets.
    pub fn new(methods: &[MethodId], images: usize, interrupt: Interrupt) -> Self {
        Self {
            methods: methods.to_vec(),
            interrupt,
            bar: ProgressBar::hidden(),
            texts: None,
            pace: Pace { left: images, ..Pace::default() },
        }
    }

    /// Some images were done by an earlier process.
    pub fn skip(&mut self, images: usize) {
        self.pace.left -= images;
    }

    /// Images that this process has done.
    pub fn done(&self) -> usize {
        self.pace.done
    }

    fn advance(&mut self) {
        self.pace.advance();
        self.bar.inc(1);
    }
}

impl Pace {
    fn start(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    fn advance(&mut self) {
        self.done += 1;
        self.left -= 1;
    }

    /// Speed and time left, from what this process has done.
    fn in_words(&self) -> String {
        let elapsed = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let per_image = elapsed / self.done.max(1) as f64;
        let rate = if per_image > 1.0 {
            format!("{per_image:.1} s/image")
        } else {
            format!("{:.1} images/s", 1.0 / per_image.max(1e-9))
        };
        format!("{rate}, {} left", in_words(per_image * self.left as f64))
    }
}

/// A line about pictures is written so often where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How far the pictures of the user's own are: a bar on a terminal, lines now and then elsewhere.
pub struct PictureProgress {
    pace: Pace,
    bar: ProgressBar,
    /// When the last line was written; `None` where there is a bar, or results show how far it is.
    said: Option<Instant>,
}

impl PictureProgress {
    /// Of so many pictures. `is_quiet` where the results themselves are on the terminal.
    pub fn start(pictures: usize, is_quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{bar:16} {pos}/{len} {wide_msg}");
        let style = style.expect("the template is valid");
        let is_terminal = io::stderr().is_terminal();
        let bar = match is_quiet || !is_terminal {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(pictures as u64).with_style(style),
        };
        let mut pace = Pace { left: pictures, ..Pace::default() };
        pace.start();
        let said = (!is_terminal).then(Instant::now);
        Self { pace, bar, said }
    }

    /// A picture is done.
    pub fn advance(&mut self) {
        self.pace.advance();
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            self.bar.set_message(self.pace.in_words());
        }
        if self.said.is_some_and(|said| said.elapsed() > LINE_EVERY) {
            let Pace { done, left, .. } = self.pace;
            output::note(&format!("{done} of {} pictures, {}", done + left, self.pace.in_words()));
            self.said = Some(Instant::now());
        }
    }

    /// Writes while the bar is away.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Pictures that are done.
    pub fn done(&self) -> usize {
        self.pace.done
    }

    /// Ends it.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Seconds as people say them.
fn in_words(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..90 => format!("{whole} s"),
        90..5_400 => format!("{} min", (whole + 30) / 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

impl Observer for Progress {
    fn prepare(&mut self, set: &ImageSet) {
        for warning in &set.warnings {
            output::note(&format!("warning: {}: {warning}", set.title));
        }
        let what = format!("texts of the {} classes of {}", set.class_names.len(), set.title);
        self.texts = Some(Phase::start(what));
    }

    fn start(&mut self, set: &ImageSet, images: usize, done: usize) {
        if let Some(texts) = self.texts.take() {
            texts.finish();
        }
        self.pace.left -= done;
        self.pace.start();
        let style = ProgressStyle::with_template("{prefix} {bar:16} {pos}/{len} {wide_msg}");
        let style = style.expect("the template is valid");
        self.bar = ProgressBar::new(images as u64).with_style(style).with_prefix(set.id.clone());
        self.bar.set_position(done as u64);
    }

    fn image(&mut self, accuracies: &[Accuracy]) {
        self.advance();
        let top1 = self.methods.iter().zip(accuracies).take(SHOWN);
        let top1 = top1.map(|(method, accuracy)| {
            format!("; {} {:.1} %", method.name(), accuracy.top1_percent())
        });
        self.bar.set_message(format!("{}{}", self.pace.in_words(), top1.collect::<String>()));
    }

    fn unreadable(&mut self, error: &LoadError) {
        self.bar.suspend(|| output::note(&format!("warning: skipped: {}", error.with_causes())));
        self.advance();
    }

    fn cache(&mut self, damaged: u64, write_error: Option<&str>) {
        if damaged > 0 {
            let files = output::counted(damaged, "damaged file");
            output::note(&format!("warning: the cache has {files}, computed again"));
        }
        if let Some(error) = write_error {
            output::note(&format!("warning: embeddings are no longer kept: {error}"));
        }
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }

    fn stop(&self) -> bool {
        self.interrupt.signal().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_units_that_fit() {
        let said = [0.0, 89.4, 89.6, 3_570.0, 5_399.0, 7_300.0].map(in_words);
        assert_eq!(said, ["0 s", "89 s", "2 min", "60 min", "90 min", "2 h 1 min"]);
    }
}
