//! Probabilities of scores, and how far they can be trusted.

use mint_tuner::{Outcome, ScoreKind};

/// Bins of equal width that confidences are sorted into.
pub const BINS: usize = 15;

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

/// Running calibration of a method.
///
/// Source: Guo et al., *On Calibration of Modern Neural Networks* (2017), equation 3.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Calibration {
    bins: [Bin; BINS],
    images: u64,
    brier: f64,
}

/// Images whose confidence is about the same.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Bin {
    images: u64,
    right: u64,
    confidence: f64,
}

impl Calibration {
    /// Counts an image by the probability of the class it was given.
    pub fn add(&mut self, confidence: f32, right: bool, brier: f32) {
        let bin = (f64::from(confidence) * BINS as f64).ceil() as usize;
        let bin = &mut self.bins[bin.clamp(1, BINS) - 1];
        bin.images += 1;
        bin.right += u64::from(right);
        bin.confidence += f64::from(confidence);
        self.images += 1;
        self.brier += f64::from(brier);
    }

    /// Expected calibration error in percent: the mean over the images of the difference between
    /// the share of right answers and the mean confidence in their bin. Nothing without images.
    pub fn error_percent(&self) -> Option<f64> {
        let gap = |bin: &Bin| (bin.right as f64 - bin.confidence).abs();
        (self.images > 0)
            .then(|| 100.0 * self.bins.iter().map(gap).sum::<f64>() / self.images as f64)
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
        assert!((error - 100.0 * (0.8 + 0.5) / 3.0).abs() < 1e-5, "{error}");
        let brier = calibration.brier().expect("there are images");
        assert!((brier - (0.02 + 1.62 + 0.5) / 3.0).abs() < 1e-6, "{brier}");
    }

    #[test]
    fn sure_and_impossible_answers_have_bins() {
        let mut calibration = Calibration::default();
        calibration.add(1.0, true, 0.0);
        calibration.add(0.0, false, 0.0);
        assert_eq!(calibration.error_percent(), Some(0.0));
    }
}
