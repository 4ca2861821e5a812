//! Progress of an evaluation on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use mint_datasets::ImageSet;
use mint_eval::{Accuracy, LoadError, MethodId, Observer};

use crate::output;

/// A bar with images per second, running top-1 of each method and the time left.
pub struct Progress {
    methods: Vec<MethodId>,
    bar: ProgressBar,
    /// Images that could not be read, over all sets.
    pub unreadable: u64,
}

impl Progress {
    /// For these methods.
    pub fn new(methods: &[MethodId]) -> Self {
        Self { methods: methods.to_vec(), bar: ProgressBar::hidden(), unreadable: 0 }
    }
}

impl Observer for Progress {
    fn start(&mut self, set: &ImageSet, images: usize, done: usize) {
        for warning in &set.warnings {
            output::note(&format!("warning: {}: {warning}", set.title));
        }
        let template = "{prefix} {wide_bar} {pos}/{len} {per_sec} {msg} {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        self.bar = ProgressBar::new(images as u64).with_style(style).with_prefix(set.id.clone());
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    fn image(&mut self, accuracies: &[Accuracy]) {
        let top1 = self.methods.iter().zip(accuracies);
        let top1 = top1.map(|(method, accuracy)| {
            format!("{} {:.1} %", method.name(), accuracy.top1_percent())
        });
        self.bar.set_message(top1.collect::<Vec<_>>().join(", "));
        self.bar.inc(1);
    }

    fn unreadable(&mut self, error: &LoadError) {
        self.unreadable += 1;
        let causes =
            std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let causes = causes.map(|cause| format!(": {cause}")).collect::<String>();
        self.bar.suspend(|| output::note(&format!("warning: passed over: {error}{causes}")));
        self.bar.inc(1);
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}
