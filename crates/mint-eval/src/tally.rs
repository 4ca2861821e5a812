//! The running results of one method on one test set.

use std::collections::BTreeMap;

use mint_datasets::LabelledImage;
use mint_tuner::{Outcome, ScoreKind};

use crate::calibration::{Calibration, Temperature, brier, probabilities};
use crate::error::RecordError;
use crate::metrics::{Accuracy, ranking};
use crate::record::lines::{ImageLine, LineWriter, RecordedLine, ScoredClass};
use crate::row::Row;

/// What is counted of a method, and where its lines go.
#[derive(Debug)]
pub struct Tally {
    /// Right answers.
    pub accuracy: Accuracy,
    /// How far its probabilities can be trusted.
    pub calibration: Calibration,
    /// Images and right answers of each class.
    classes: BTreeMap<usize, (u64, u64)>,
    /// Divides logits before they become probabilities.
    temperature: Temperature,
    /// Time that the method added.
    pub seconds: f64,
    /// The method's part of the record, if there is one.
    pub lines: Option<LineWriter>,
}

/// What a method made of an image.
#[derive(Debug)]
pub struct Classified {
    /// Scores and what happened.
    pub outcome: Outcome,
    /// The class that zero-shot CLIP predicts.
    pub zero_shot_top1: usize,
    /// Time that the method added.
    pub seconds: f64,
}

impl Tally {
    /// Continues from the lines of an earlier run.
    pub fn new(
        temperature: Temperature,
        earlier: &[RecordedLine],
        lines: Option<LineWriter>,
    ) -> Self {
        let mut tally = Self {
            accuracy: Accuracy::default(),
            calibration: Calibration::default(),
            classes: BTreeMap::new(),
            temperature,
            seconds: 0.0,
            lines,
        };
        for result in earlier.iter().filter_map(RecordedLine::result) {
            let best: Vec<usize> = result.best.iter().map(|class| class.class).collect();
            let sure = result.confidence().zip(result.brier);
            tally.count(&best, result.label, sure, result.seconds);
            if let Some(logits) = result.held_out {
                tally.temperature.hold_out(logits, result.label);
            }
        }
        tally
    }

    /// Counts an image by its best classes, and by the confidence in the first and the Brier score.
    fn count(&mut self, best: &[usize], label: usize, sure: Option<(f32, f32)>, seconds: f64) {
        let is_right = best.first() == Some(&label);
        self.accuracy.add(best, label);
        let (images, right) = self.classes.entry(label).or_default();
        *images += 1;
        *right += u64::from(is_right);
        self.seconds += seconds;
        if let Some((confidence, brier)) = sure {
            self.calibration.add(confidence, is_right, brier);
        }
    }

    /// Mean over the classes that have images of their percentage of right answers.
    fn mean_per_class(&self) -> f64 {
        let share = |&(images, right): &(u64, u64)| right as f64 / images as f64;
        let sum: f64 = self.classes.values().map(share).sum();
        100.0 * sum / self.classes.len().max(1) as f64
    }

    /// A row with what was counted.
    pub fn counted(&self, row: Row) -> Row {
        let (top1_low, top1_high) = self.accuracy.top1_interval();
        let calibration_error = self.calibration.error_percent();
        Row {
            images: self.accuracy.images,
            top1: self.accuracy.top1_percent(),
            top1_low,
            top1_high,
            top5: self.accuracy.top5_percent(),
            mean_per_class: self.mean_per_class(),
            calibration_error: calibration_error.map(|[error, _]| error),
            calibration_error_20: calibration_error.map(|[_, error]| error),
            brier: self.calibration.brier(),
            temperature: Some(self.temperature.get()),
            seconds_per_image: self.seconds / self.accuracy.images.max(1) as f64,
            ..row
        }
    }

    /// Counts an image and writes its line.
    pub fn add(
        &mut self,
        classified: &Classified,
        image: &LabelledImage,
        class_names: &[String],
    ) -> Result<(), RecordError> {
        let Classified { outcome, zero_shot_top1, seconds } = classified;
        let best = ranking(&outcome.scores, 5);
        let probabilities = probabilities(outcome, self.temperature.get());
        let is_held_out = self.temperature.is_fitting() && outcome.kind == ScoreKind::Logits;
        let brier = probabilities.as_ref().map(|values| brier(values, image.label));
        let probability = |class: usize| Some(probabilities.as_ref()?[class]);
        let sure = probability(best[0]).zip(brier).filter(|_| !is_held_out);
        self.count(&best, image.label, sure, *seconds);
        if is_held_out {
            self.temperature.hold_out(&outcome.scores, image.label);
        }
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let scored = |class: usize| ScoredClass {
            class,
            name: &class_names[class],
            score: outcome.scores[class],
            probability: probability(class),
        };
        lines.write(&ImageLine {
            path: &image.path.to_string_lossy(),
            label: image.label,
            scores: outcome.kind.to_string(),
            top5: best.into_iter().map(scored).collect(),
            brier,
            held_out: is_held_out.then_some(&outcome.scores),
            zero_shot_top1: *zero_shot_top1,
            losses: outcome.steps.iter().map(|step| step.loss).collect(),
            seconds: *seconds,
        })
    }
}

/// A row with what its lines say, in place of what it says itself.
pub fn recounted(row: Row, lines: &[RecordedLine]) -> Row {
    let unreadable = lines.iter().filter(|line| line.result().is_none()).count() as u64;
    let temperature = row.temperature;
    let counted = Tally::new(Temperature::Fixed(1.0), lines, None).counted(row);
    Row { unreadable, temperature, ..counted }
}
