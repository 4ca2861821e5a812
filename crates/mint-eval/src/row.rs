//! Lines of the result table.

use serde::{Deserialize, Serialize};

/// One method on one test set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Short name of the test set.
    pub test_set: String,
    /// Name of the method.
    pub method: String,
    /// What classes are compared as, or what learned prompts start from.
    pub start: String,
    /// Views of each image that the method looked at.
    pub views: usize,
    /// Share of the views that count, if the method chooses some (ZERO's gamma).
    pub share: Option<f64>,
    /// Steps of adaptation for each image.
    pub steps: usize,
    /// Seed of order and views.
    pub seed: u64,
    /// Images classified.
    pub images: u64,
    /// Images that could not be read; not counted in any percentage.
    pub unreadable: u64,
    /// Percentage of images whose class has the best score.
    pub top1: f64,
    /// Lower end of its 95 % interval (Wilson).
    pub top1_low: f64,
    /// Upper end of its 95 % interval (Wilson).
    pub top1_high: f64,
    /// Percentage of images whose class is among the five best.
    pub top5: f64,
    /// Mean over the classes of their percentage of right answers.
    #[serde(default)]
    pub mean_per_class: f64,
    /// Expected calibration error in percent, with 15 bins; `None` for votes.
    pub calibration_error: Option<f64>,
    /// The same with 20 bins.
    #[serde(default)]
    pub calibration_error_20: Option<f64>,
    /// What divided the logits before they became probabilities; `None` if parts of the run had
    /// different ones.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Mean Brier score; `None` for votes.
    pub brier: Option<f64>,
    /// Published top-1 percentage of the like.
    pub published_top1: Option<f64>,
    /// Mean time that the method added; what several methods share counts for the first.
    pub seconds_per_image: f64,
}
