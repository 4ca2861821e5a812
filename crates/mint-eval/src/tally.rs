//! The running results of one method on one test set.

use mint_datasets::LabelledImage;
use mint_tuner::Outcome;

use crate::calibration::{Calibration, brier, probabilities};
use crate::error::RecordError;
use crate::lines::{EarlierLine, ImageLine, LineWriter, ScoredClass};
use crate::metrics::{Accuracy, ranking};

/// What is counted of a method, and where its lines go.
#[derive(Debug)]
pub struct Tally {
    /// Right answers.
    pub accuracy: Accuracy,
    /// How far its probabilities can be trusted.
    pub calibration: Calibration,
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
    pub fn new(earlier: &[EarlierLine], lines: Option<LineWriter>) -> Self {
        let mut tally = Self {
            accuracy: Accuracy::default(),
            calibration: Calibration::default(),
            seconds: 0.0,
            lines,
        };
        for result in earlier.iter().filter_map(EarlierLine::result) {
            tally.accuracy.add(&result.best, result.label);
            tally.seconds += result.seconds;
            if let (Some(confidence), Some(brier)) = (result.confidence, result.brier) {
                let right = result.best.first() == Some(&result.label);
                tally.calibration.add(confidence, right, brier);
            }
        }
        tally
    }

    /// Counts an image and writes its line.
    pub fn add(
        &mut self,
        classified: &Classified,
        image: &LabelledImage,
        class_names: &[String],
        temperature: f64,
    ) -> Result<(), RecordError> {
        let Classified { outcome, zero_shot_top1, seconds } = classified;
        let best = ranking(&outcome.scores, 5);
        let probabilities = probabilities(outcome, temperature);
        let brier = probabilities.as_ref().map(|values| brier(values, image.label));
        let probability = |class: usize| Some(probabilities.as_ref()?[class]);
        self.accuracy.add(&best, image.label);
        self.seconds += seconds;
        if let (Some(confidence), Some(brier)) = (probability(best[0]), brier) {
            self.calibration.add(confidence, best[0] == image.label, brier);
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
            zero_shot_top1: *zero_shot_top1,
            losses: outcome.steps.iter().map(|step| step.loss).collect(),
            seconds: *seconds,
        })
    }
}
