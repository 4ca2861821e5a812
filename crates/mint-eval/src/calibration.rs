//! Probabilities of scores, and how far they can be trusted.

use std::ops::RangeInclusive;

use mint_tuner::{Outcome, ScoreKind};

/// Bins of equal width that confidences are sorted into: Guo et al.'s number, and the one of C-TPT,
/// A-TPT and others.
pub const BINS: [usize; 2] = [15, 20];

/// The temperatures that a fit chooses from.
pub(crate) const TEMPERATURES: RangeInclusive<f64> = 0.01..=100.0;

/// The class distribution `softmax(logits / temperature)`; `None` for votes, whose shares are
/// not probabilities.
pub fn probabilities(outcome: &Outcome, temperature: f64) -> Option<Vec<f32>> {
    if outcome.kind == ScoreKind::Votes {
        return None;
    }
    let largest = outcome.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&score: &f32| (f64::from(score - largest) / temperature).exp();
    let weights: Vec<f64> = outcome.scores.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| (weight / total) as f32).collect())
}

/// Sum over all classes of the squared difference between probability and truth: from 0 to 2.
///
/// Source: Brier (1950), *Verification of forecasts expressed in terms of probability*.
pub fn brier(probabilities: &[f32], label: usize) -> f32 {
    let term = |(class, &p): (usize, &f32)| (p - f32::from(u8::from(class == label))).powi(2);
    probabilities.iter().enumerate().map(term).sum()
}

/// The temperature at which the logits of labelled images are least surprising: the mean of
/// `-ln softmax(z / T)[label]` is smallest. `None` without images.
///
/// From 0.01 to 100; where all answers are right the lower end, which is as sure as can be.
///
/// Source: Guo et al., *On Calibration of Modern Neural Networks* (2017), section 4.2.
pub fn fitted_temperature(held_out: &[(Vec<f32>, usize)]) -> Option<f64> {
    if held_out.is_empty() {
        return None;
    }
    let slope = |inverse: f64| -> f64 {
        held_out.iter().map(|(logits, label)| surprise_slope(logits, *label, inverse)).sum()
    };
    let (mut low, mut high) = (TEMPERATURES.start().ln(), TEMPERATURES.end().ln());
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        // Too sure if the slope in 1 / T is positive.
        *(if slope((-middle).exp()) > 0.0 { &mut low } else { &mut high }) = middle;
    }
    Some(f64::midpoint(low, high).exp())
}

/// The slope of `-ln softmax(z / T)[label]`, which is convex in `1 / T`, there: what a draw from the
/// distribution scores on average, less what the label scores.
pub(crate) fn surprise_slope(logits: &[f32], label: usize, inverse: f64) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut sum) = (0.0, 0.0);
    for &logit in logits {
        let below = f64::from(logit - largest);
        let weight = (below * inverse).exp();
        total += weight;
        sum += weight * below;
    }
    sum / total - f64::from(logits[label] - largest)
}

/// What divides logits before they become probabilities.
#[derive(Debug, Clone, PartialEq)]
pub enum Temperature {
    /// A number.
    Fixed(f64),
    /// What fits the first images best.
    Fitting {
        /// How many images are held out for it.
        images: usize,
        /// Logits and label of those so far.
        held_out: Vec<(Vec<f32>, usize)>,
    },
}

impl Temperature {
    /// The number; 1 until it is fitted.
    pub fn get(&self) -> f64 {
        match self {
            Self::Fixed(temperature) => *temperature,
            Self::Fitting { .. } => 1.0,
        }
    }

    /// Whether the next image is held out.
    pub fn is_fitting(&self) -> bool {
        matches!(self, Self::Fitting { .. })
    }

    /// Holds out an image; after the last, the temperature is fitted.
    pub fn hold_out(&mut self, logits: &[f32], label: usize) {
        let Self::Fitting { images, held_out } = self else { return };
        held_out.push((logits.to_vec(), label));
        if held_out.len() >= *images
            && let Some(temperature) = fitted_temperature(held_out)
        {
            *self = Self::Fixed(temperature);
        }
    }
}

/// Running calibration of a method.
///
/// Source: Guo et al., *On Calibration of Modern Neural Networks* (2017), equation 3.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// One list for each of [`BINS`].
    bins: [Vec<Bin>; 2],
    images: u64,
    brier: f64,
}

/// Images whose confidence is about the same.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Images in it.
    pub images: u64,
    /// Those whose answer was right.
    pub right: u64,
    /// Sum of their confidences.
    pub confidence: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { bins: BINS.map(|count| vec![Bin::default(); count]), images: 0, brier: 0.0 }
    }
}

impl Calibration {
    /// Counts an image by the probability of the class it was given.
    pub fn add(&mut self, confidence: f32, right: bool, brier: f32) {
        for bins in &mut self.bins {
            let count = bins.len();
            let bin = (f64::from(confidence) * count as f64).ceil() as usize;
            let bin = &mut bins[bin.clamp(1, count) - 1];
            bin.images += 1;
            bin.right += u64::from(right);
            bin.confidence += f64::from(confidence);
        }
        self.images += 1;
        self.brier += f64::from(brier);
    }

    /// The bins of each of [`BINS`]; each holds the confidences up to its upper end.
    pub fn bins(&self) -> &[Vec<Bin>; 2] {
        &self.bins
    }

    /// Expected calibration error in percent, with each of [`BINS`]: the mean over the images of the
    /// difference between the share of right answers and the mean confidence in their bin. `None`
    /// without images.
    pub fn error_percent(&self) -> Option<[f64; 2]> {
        let gap = |bin: &Bin| (bin.right as f64 - bin.confidence).abs();
        let images = self.images as f64;
        let error = |bins: &Vec<Bin>| 100.0 * bins.iter().map(gap).sum::<f64>() / images;
        (self.images > 0).then(|| self.bins.each_ref().map(error))
    }

    /// Mean Brier score. Nothing without images.
    pub fn brier(&self) -> Option<f64> {
        (self.images > 0).then(|| self.brier / self.images as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_keeps_the_order_and_spreads_the_mass() {
        let outcome = Outcome::logits(vec![1.0, 3.0, 2.0]);
        let cold = probabilities(&outcome, 1.0).expect("logits have probabilities");
        let warm = probabilities(&outcome, 10.0).expect("logits have probabilities");
        assert!((cold[1] - 0.665_241).abs() < 1e-6, "{cold:?}");
        assert!((warm[1] - 0.367_143).abs() < 1e-4, "{warm:?}");
        assert!(warm[1] > warm[2] && warm[2] > warm[0]);
        assert_eq!(probabilities(&Outcome::votes(vec![2.0, 1.0]), 1.0), None);
    }

    #[test]
    fn calibration_error_and_brier_score_are_those_computed_by_hand() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.error_percent(), None);
        // Two images at 0.9, one right; one image at 0.5, right.
        let two_classes = |p: f32| [p, 1.0 - p];
        calibration.add(0.9, true, brier(&two_classes(0.9), 0));
        calibration.add(0.9, false, brier(&two_classes(0.9), 1));
        calibration.add(0.5, true, brier(&two_classes(0.5), 0));
        let error = calibration.error_percent().expect("there are images");
        for error in error {
            assert!((error - 100.0 * (0.8 + 0.5) / 3.0).abs() < 1e-5, "{error}");
        }
        let brier = calibration.brier().expect("there are images");
        assert!((brier - (0.02 + 1.62 + 0.5) / 3.0).abs() < 1e-6, "{brier}");
    }

    #[test]
    fn sure_and_impossible_answers_have_bins() {
        let mut calibration = Calibration::default();
        calibration.add(1.0, true, 0.0);
        calibration.add(0.0, false, 0.0);
        assert_eq!(calibration.error_percent(), Some([0.0; 2]));
    }

    #[test]
    fn each_number_of_bins_has_its_own() {
        let mut calibration = Calibration::default();
        // 0.64 and 0.66 share the tenth of 15 bins (up to 0.667), and have two of 20 bins.
        calibration.add(0.64, true, 0.0);
        calibration.add(0.66, false, 0.0);
        let [of_15, of_20] = calibration.error_percent().expect("there are images");
        assert!((of_15 - 100.0 * (1.0f64 - 1.3).abs() / 2.0).abs() < 1e-4, "{of_15}");
        assert!((of_20 - 100.0 * (0.36 + 0.66) / 2.0).abs() < 1e-4, "{of_20}");
    }

    #[test]
    fn a_fitted_temperature_gives_two_classes_the_odds_that_they_have() {
        // Three of four are right, with logits 8 apart: softmax(8 / T) is 3/4 at T = 8 / ln 3.
        let image = |label: usize| (vec![8.0, 0.0], label);
        let held_out = [image(0), image(0), image(1), image(0)];
        let temperature = fitted_temperature(&held_out).expect("there are images");
        assert!((temperature - 8.0 / 3f64.ln()).abs() < 1e-6, "{temperature}");
        assert_eq!(fitted_temperature(&[]), None);
        let sure = fitted_temperature(&[image(0)]).expect("an image");
        assert!((sure - TEMPERATURES.start()).abs() < 1e-6, "{sure}");
        let wrong = fitted_temperature(&[image(1)]).expect("an image");
        assert!((wrong - TEMPERATURES.end()).abs() < 1e-6, "{wrong}");
    }
}
