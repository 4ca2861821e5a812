//! A temperature, and a least probability below which an answer is "none of these", fitted to
//! pictures: to labelled examples, or as a guess to pictures without labels.
//!
//! The confidence in an answer is the softmax probability of the best class, the score of Hendrycks
//! and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
//! Networks* (2017), and, for CLIP, of Ming et al., *Delving into Out-of-Distribution Detection with
//! Vision-Language Representations* (2022).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::calibration::{TEMPERATURES, fitted_temperature, surprise_slope};
use crate::metrics::{ranking, wilson};

/// Parts that examples are divided into: each is judged by what the others say.
const FOLDS: usize = 10;
/// Draws of the examples that the temperature's interval is made of.
const DRAWS: usize = 1000;
/// Temperatures that are looked at for that, in equal steps of their logarithm.
const GRID: usize = 186;
/// The share of rightly named pictures that a threshold may turn down if there are no pictures of
/// none to weigh against.
const TURNED_DOWN: f64 = 0.05;
/// The least number of examples of the classes.
pub const LEAST_EXAMPLES: usize = 5;
/// The least number of pictures without labels.
pub const LEAST_PICTURES: usize = 20;
/// The share of the variance that lies between the two parts of two groups, at least. An even spread has
/// 0.75.
const TWO_GROUPS: f64 = 0.8;

/// What a method says of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Of the classes, and after them of the texts that stand for none.
    pub logits: Vec<f32>,
    /// Its class; `None` if it belongs to none.
    pub label: Option<usize>,
}

/// Why nothing can be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// There are too few examples.
    #[error("{0} examples of the classes are too few; give at least {LEAST_EXAMPLES}, better 50")]
    FewExamples(usize),
    /// There are too few pictures.
    #[error(
        "{0} pictures are too few to tell two groups of answers apart; give at least {LEAST_PICTURES}"
    )]
    FewPictures(usize),
    /// No answer could be kept.
    #[error("none of the {0} examples of the classes is named rightly")]
    AllWrong(usize),
}

/// Things counted among others, with Wilson's 95 % interval of their share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// The interval of the share, from 0 to 1.
    pub interval: (f64, f64),
}

impl Share {
    fn new(count: u64, of: u64) -> Self {
        Self { count, of, interval: wilson(count, of) }
    }
}

/// Which temperature is used, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedTemperature {
    /// What divides the logits.
    pub used: f64,
    /// What fits the examples best, from 0.01 to 100.
    pub best: f64,
    /// Where that lies for 95 % of the draws of as many examples from these.
    pub interval: (f64, f64),
    /// The mean surprise at the labels (`-ln p`, in nats) of examples that the temperature was not
    /// fitted to.
    pub surprise: f64,
    /// The same without any fit.
    pub surprise_before: f64,
    /// Whether the best one is used: it surprises less, and the examples determine it.
    pub is_fitted: bool,
}

/// How a threshold was chosen from labelled examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThresholdRule {
    /// The most rightly named pictures kept, less the pictures of none that are kept, both as shares:
    /// Youden, *Index for rating diagnostic tests* (1950).
    Balance,
    /// The confidence that at most a twentieth of rightly named pictures is expected to be below:
    /// of `n` of them the `max(1, int(0.05 (n + 1)))`-th lowest, below which the next one lies with the
    /// probability of that place over `n + 1`.
    Quantile,
}

/// What labelled examples say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelledFit {
    /// Examples of the classes.
    pub examples: u64,
    /// Those of them whose best class is right.
    pub right: Share,
    /// Examples that belong to no class.
    pub none_examples: u64,
    /// The temperature.
    pub temperature: FittedTemperature,
    /// Answers below this probability are "none of these".
    pub min_probability: f64,
    /// How it was chosen.
    pub rule: ThresholdRule,
    /// Wrong rejections: rightly named examples that a threshold chosen without them turns down.
    pub right_turned_down: Share,
    /// Wrong acceptances: examples of none that such a threshold lets be a class.
    pub none_accepted: Share,
    /// Wrongly named examples of the classes that it lets pass.
    pub wrong_accepted: Share,
}

/// How a threshold was guessed from pictures without labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuessRule {
    /// The split of the log-odds with the largest variance between its parts: Otsu, *A Threshold
    /// Selection Method from Gray-Level Histograms* (1979).
    Otsu,
    /// The confidence that a twentieth of the pictures is below, since there is no sign of two groups.
    Quantile,
}

/// What pictures without labels suggest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Pictures.
    pub pictures: u64,
    /// Those that a text of none has, whatever the threshold.
    pub none_by_text: u64,
    /// Answers below this probability are "none of these".
    pub min_probability: f64,
    /// How it was guessed.
    pub rule: GuessRule,
    /// The share of the variance of the log-odds that lies between the two parts of the best split: 0.64
    /// for one bell, 0.75 for an even spread, more than 0.8 for two groups.
    pub separation: f64,
    /// Pictures below the threshold.
    pub below: u64,
    /// Confidences that 0, 10, .. 100 % of the pictures are below.
    pub deciles: Vec<f64>,
}

/// The best class of an example, and how sure it is.
struct Sure {
    class: usize,
    /// Probability of the class; 0 if a text of none has a better score.
    confidence: f64,
}

/// `z_best / T - ln sum_others exp(z / T)`; `None` if a text of none has the best score.
fn log_odds(logits: &[f32], n_classes: usize, temperature: f64) -> Option<(usize, f64)> {
    let order = ranking(logits, 2);
    let (best, second) = (order[0], *order.get(1)?);
    let scaled = |class: usize| f64::from(logits[class]) / temperature;
    let others = (0..logits.len()).filter(|&class| class != best);
    let sum: f64 = others.map(|class| (scaled(class) - scaled(second)).exp()).sum();
    (best < n_classes).then(|| (best, scaled(best) - scaled(second) - sum.ln()))
}

fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

fn sure(logits: &[f32], n_classes: usize, temperature: f64) -> Sure {
    match log_odds(logits, n_classes, temperature) {
        Some((class, odds)) => Sure { class, confidence: probability(odds) },
        None => Sure { class: ranking(&logits[..n_classes], 1)[0], confidence: 0.0 },
    }
}

/// `-ln softmax(z / T)[label]`.
fn surprise(logits: &[f32], label: usize, temperature: f64) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&logit: &f32| (f64::from(logit - largest) / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    total.ln() - f64::from(logits[label] - largest) / temperature
}

impl LabelledFit {
    /// Fits a temperature and a threshold to examples, of which each is judged by a fit to others.
    /// `temperature` is what divides the logits where nothing can be fitted; `seed` decides the draws.
    ///
    /// # Errors
    ///
    /// If there are too few examples of the classes, or none is named rightly.
    pub fn new(
        examples: &[Example],
        n_classes: usize,
        temperature: f64,
        seed: u64,
    ) -> Result<Self, FitError> {
        let known = labelled(examples);
        if known.len() < LEAST_EXAMPLES {
            return Err(FitError::FewExamples(known.len()));
        }
        let is_right = |(logits, label): &&(Vec<f32>, usize)| ranking(logits, 1)[0] == *label;
        let n_right = known.iter().filter(is_right).count();
        if n_right == 0 {
            return Err(FitError::AllWrong(known.len()));
        }
        let folds = folds(examples);
        let parts: Vec<Vec<Example>> =
            (0..FOLDS).map(|fold| without(examples, &folds, fold)).collect();
        let of_parts: Vec<f64> = parts
            .iter()
            .map(|others| fitted_temperature(&labelled(others)).unwrap_or(temperature))
            .collect();
        let temperature = FittedTemperature::new(examples, &folds, &of_parts, temperature, seed);
        let (rule, min_probability) = threshold(examples, n_classes, temperature.used);
        let n_none = examples.len() - known.len();
        let (mut turned_down, mut none_accepted, mut wrong_accepted) = (0, 0, 0);
        for (fold, (others, &of_part)) in parts.iter().zip(&of_parts).enumerate() {
            let used = if temperature.is_fitted { of_part } else { temperature.used };
            let (_, least) = threshold(others, n_classes, used);
            for (example, _) in examples.iter().zip(&folds).filter(|(_, of)| **of == fold) {
                let Sure { class, confidence } = sure(&example.logits, n_classes, used);
                let accepted = u64::from(confidence >= least && confidence > 0.0);
                match example.label {
                    None => none_accepted += accepted,
                    // A text of none that has the best score is no right answer.
                    Some(label) if label == class && confidence > 0.0 => {
                        turned_down += 1 - accepted;
                    }
                    Some(_) => wrong_accepted += accepted,
                }
            }
        }
        let (n_known, n_right) = (known.len() as u64, n_right as u64);
        Ok(Self {
            examples: n_known,
            right: Share::new(n_right, n_known),
            none_examples: n_none as u64,
            temperature,
            min_probability,
            rule,
            right_turned_down: Share::new(turned_down, n_right),
            none_accepted: Share::new(none_accepted, n_none as u64),
            wrong_accepted: Share::new(wrong_accepted, n_known - n_right),
        })
    }
}

/// The examples of the classes.
fn labelled(examples: &[Example]) -> Vec<(Vec<f32>, usize)> {
    let known = |example: &Example| Some((example.logits.clone(), example.label?));
    examples.iter().filter_map(known).collect()
}

/// The part of each example: those of a class, and those of none, are spread over all parts.
fn folds(examples: &[Example]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&place| examples[place].label);
    let mut folds = vec![0; examples.len()];
    order.into_iter().enumerate().for_each(|(rank, place)| folds[place] = rank % FOLDS);
    folds
}

fn without(examples: &[Example], folds: &[usize], fold: usize) -> Vec<Example> {
    let others = examples.iter().zip(folds).filter(|(_, of)| **of != fold);
    others.map(|(example, _)| example.clone()).collect()
}

impl FittedTemperature {
    /// With the temperature that fits the others of each part best.
    fn new(examples: &[Example], folds: &[usize], of_parts: &[f64], start: f64, seed: u64) -> Self {
        let known = labelled(examples);
        let best = fitted_temperature(&known).unwrap_or(start);
        let (mut surprise_of_fits, mut surprise_before) = (0.0, 0.0);
        for (Example { logits, label }, &fold) in examples.iter().zip(folds) {
            if let Some(label) = *label {
                surprise_of_fits += surprise(logits, label, of_parts[fold]);
                surprise_before += surprise(logits, label, start);
            }
        }
        let images = known.len() as f64;
        let (surprise, surprise_before) = (surprise_of_fits / images, surprise_before / images);
        // At an end of the range the examples say no more than "surer" or "less sure".
        let is_determined = best > TEMPERATURES.start() * 1.01 && best < TEMPERATURES.end() / 1.01;
        let is_fitted = is_determined && surprise < surprise_before;
        let used = if is_fitted { best } else { start };
        Self { used, best, interval: interval(&known, seed), surprise, surprise_before, is_fitted }
    }
}

/// The 95 % percentile interval of the best temperature: Efron, *Bootstrap Methods: Another Look at
/// the Jackknife* (1979).
fn interval(known: &[(Vec<f32>, usize)], seed: u64) -> (f64, f64) {
    let (first, last) = (TEMPERATURES.start().ln(), TEMPERATURES.end().ln());
    let at = |place: usize| first + (last - first) * place as f64 / (GRID - 1) as f64;
    // Each example's slope at each temperature; a draw's is the sum of those of its examples.
    let slopes: Vec<Vec<f64>> = known
        .iter()
        .map(|(logits, label)| {
            (0..GRID).map(|place| surprise_slope(logits, *label, (-at(place)).exp())).collect()
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut best: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn: Vec<&Vec<f64>> =
                known.iter().map(|_| &slopes[rng.random_range(0..known.len())]).collect();
            let slope = |place: usize| drawn.iter().map(|slopes| slopes[place]).sum::<f64>();
            // Positive up to the best one.
            let (mut low, mut high) = (0, GRID);
            while low < high {
                let middle = usize::midpoint(low, high);
                if slope(middle) > 0.0 { low = middle + 1 } else { high = middle }
            }
            match low {
                0 => first,
                GRID => last,
                _ => {
                    let (before, after) = (slope(low - 1), slope(low));
                    at(low - 1) + (at(low) - at(low - 1)) * before / (before - after)
                }
            }
        })
        .collect();
    best.sort_by(f64::total_cmp);
    let quantile = |share: f64| best[((DRAWS - 1) as f64 * share).round() as usize].exp();
    (quantile(0.025), quantile(0.975))
}

/// The least probability that examples suggest, and how; 0 if none of them is named rightly.
fn threshold(examples: &[Example], n_classes: usize, temperature: f64) -> (ThresholdRule, f64) {
    let (mut right, mut none) = (Vec::new(), Vec::new());
    for Example { logits, label } in examples {
        let Sure { class, confidence } = sure(logits, n_classes, temperature);
        match label {
            None => none.push(confidence),
            Some(label) if *label == class && confidence > 0.0 => right.push(confidence),
            Some(_) => {}
        }
    }
    right.sort_by(f64::total_cmp);
    if none.is_empty() || right.is_empty() {
        let place = ((right.len() + 1) as f64 * TURNED_DOWN) as usize;
        let least = right.get(place.max(1) - 1).copied().unwrap_or(0.0);
        return (ThresholdRule::Quantile, least);
    }
    // Between two neighbours any threshold does the same; the middle is farthest from both.
    let mut all: Vec<f64> = right.iter().chain(&none).copied().collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let mut candidates = vec![0.0];
    candidates.extend(all.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])));
    let kept = |of: &[f64], least: f64| {
        of.iter().filter(|&&confidence| confidence >= least).count() as f64 / of.len() as f64
    };
    let index = |least: f64| kept(&right, least) - kept(&none, least);
    let best = candidates.into_iter().map(|least| (index(least), least));
    let best = best.reduce(|best, next| if next.0 > best.0 + 1e-12 { next } else { best });
    (ThresholdRule::Balance, best.map_or(0.0, |(_, least)| least))
}

impl Guess {
    /// Guesses a threshold from what a method says of pictures without labels.
    ///
    /// # Errors
    ///
    /// If there are too few pictures.
    pub fn new(logits: &[Vec<f32>], n_classes: usize, temperature: f64) -> Result<Self, FitError> {
        let odds = logits.iter().filter_map(|logits| log_odds(logits, n_classes, temperature));
        let mut odds: Vec<f64> = odds.map(|(_, odds)| odds).collect();
        if odds.len() < LEAST_PICTURES {
            return Err(FitError::FewPictures(odds.len()));
        }
        odds.sort_by(f64::total_cmp);
        let (split, separation) = otsu(&odds);
        let rule = if separation > TWO_GROUPS { GuessRule::Otsu } else { GuessRule::Quantile };
        let split = match rule {
            GuessRule::Otsu => split,
            GuessRule::Quantile => (odds.len() as f64 * TURNED_DOWN).ceil() as usize,
        };
        let min_probability = probability(f64::midpoint(odds[split - 1], odds[split]));
        let last = odds.len() - 1;
        let decile = |tenths: usize| probability(odds[(last * tenths).div_ceil(10)]);
        Ok(Self {
            pictures: logits.len() as u64,
            none_by_text: (logits.len() - odds.len()) as u64,
            min_probability,
            rule,
            separation,
            below: split as u64,
            deciles: (0..=10).map(decile).collect(),
        })
    }
}

/// How many of sorted values are in the lower part of Otsu's split, and the share of the variance that
/// lies between the parts.
fn otsu(sorted: &[f64]) -> (usize, f64) {
    let n = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let mut below = 0.0;
    let mut best = (1, 0.0);
    for (count, value) in (1..sorted.len()).zip(sorted) {
        below += value - mean;
        let count_below = count as f64;
        // The deviations of both parts sum to 0.
        let between = below * below / (count_below * (n - count_below));
        if between > best.1 {
            best = (count, between);
        }
    }
    (best.0, if variance > 0.0 { best.1 / variance } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of two classes whose best one, 0, has these log-odds.
    fn example(odds: f32, label: Option<usize>) -> Example {
        Example { logits: vec![odds, 0.0], label }
    }

    #[test]
    fn a_threshold_lies_between_examples_of_classes_and_of_none() {
        let known = (0..20).map(|place| example(4.0 + 0.1 * place as f32, Some(0)));
        let none = (0..10).map(|place| example(1.0 - 0.1 * place as f32, None));
        let wrong = (0..3).map(|_| example(0.5, Some(1)));
        let examples: Vec<Example> = known.chain(none).chain(wrong).collect();
        let fit = LabelledFit::new(&examples, 2, 1.0, 0).expect("there are enough");
        assert_eq!((fit.rule, fit.examples, fit.none_examples), (ThresholdRule::Balance, 23, 10));
        assert_eq!((fit.right.count, fit.right.of), (20, 23));
        let scaled = |odds: f64| probability(odds / fit.temperature.used);
        let least = fit.min_probability;
        assert!((least - f64::midpoint(scaled(1.0), scaled(4.0))).abs() < 1e-9, "{fit:?}");
        for (share, of) in
            [(fit.right_turned_down, 20), (fit.none_accepted, 10), (fit.wrong_accepted, 3)]
        {
            assert_eq!((share.count, share.of), (0, of), "{fit:?}");
            assert_eq!(share.interval, wilson(0, of));
        }
        // Where they overlap, each kind of error is counted of examples that had no say.
        let mixed: Vec<Example> = (0..40)
            .map(|place| example(0.1 * place as f32 + 0.05, (place % 4 > 0).then_some(0)))
            .collect();
        let fit = LabelledFit::new(&mixed, 2, 1.0, 0).expect("there are enough");
        assert!(fit.right_turned_down.count + fit.none_accepted.count > 0, "{fit:?}");
        assert!(fit.none_accepted.interval.1 > 0.3, "ten are few: {fit:?}");
    }

    #[test]
    fn without_examples_of_none_a_twentieth_is_turned_down() {
        let examples = |count: usize| -> Vec<Example> {
            let odds = |place: usize| ((place * 7) % count) as f32 * 0.1 + 1.0;
            (0..count).map(|place| example(odds(place), Some(0))).collect()
        };
        // int(0.05 * 40) = 2: the second lowest; of 10 the lowest.
        for (count, odds) in [(39, 1.1), (10, 1.0)] {
            let fit = LabelledFit::new(&examples(count), 2, 1.0, 0).expect("there are enough");
            assert_eq!(fit.rule, ThresholdRule::Quantile);
            assert!((fit.min_probability - probability(odds)).abs() < 1e-6, "{fit:?}");
            assert_eq!(fit.none_accepted, Share::new(0, 0));
        }
    }

    #[test]
    fn a_temperature_is_used_if_it_is_determined_and_helps_on_other_examples() {
        // Three of four are right, with logits 8 apart, as the test of the fit has it.
        let examples: Vec<Example> =
            (0..40).map(|place| example(8.0, Some(usize::from(place % 4 == 0)))).collect();
        let fit = LabelledFit::new(&examples, 2, 1.0, 0).expect("there are enough").temperature;
        assert!(fit.is_fitted && (fit.used - 8.0 / 3f64.ln()).abs() < 1e-6, "{fit:?}");
        assert!(fit.surprise < fit.surprise_before, "{fit:?}");
        let (low, high) = fit.interval;
        assert!(low < fit.used && fit.used < high, "{fit:?}");
        // The odds of 30 of 40 are between those of 0.6 and 0.87 (Wilson's interval).
        assert!((8.0 / 6.7f64.ln() - low).abs() < 1.0, "{fit:?}");
        let again = LabelledFit::new(&examples, 2, 1.0, 0).expect("there are enough").temperature;
        assert_eq!(fit, again);
        // More examples say more.
        let more: Vec<Example> = examples.iter().cycle().take(400).cloned().collect();
        let more = LabelledFit::new(&more, 2, 1.0, 0).expect("there are enough").temperature;
        assert!(more.interval.1 - more.interval.0 < (high - low) / 2.0, "{more:?}");
        // All right: the surer the better, which no number of examples ends.
        let right: Vec<Example> = (0..40).map(|_| example(8.0, Some(0))).collect();
        let fit = LabelledFit::new(&right, 2, 1.5, 0).expect("there are enough").temperature;
        assert!(!fit.is_fitted && fit.used == 1.5, "{fit:?}");
    }

    #[test]
    fn a_text_of_none_is_an_answer_without_a_threshold() {
        let with_text = |label| Example { logits: vec![1.0, 0.0, 9.0], label };
        let known = (0..10).map(|_| Example { logits: vec![9.0, 0.0, 1.0], label: Some(0) });
        let mut examples: Vec<Example> = known.collect();
        examples.extend([with_text(Some(0)), with_text(None), with_text(None)]);
        let fit = LabelledFit::new(&examples, 2, 1.0, 0).expect("there are enough");
        assert_eq!((fit.right.count, fit.right.of), (10, 11));
        assert_eq!((fit.none_accepted.count, fit.none_accepted.of), (0, 2));
        assert_eq!((fit.wrong_accepted.count, fit.wrong_accepted.of), (0, 1));
    }

    #[test]
    fn two_groups_of_confidences_are_told_from_an_even_spread() {
        let logits = |odds: &[f32]| odds.iter().map(|&odds| vec![odds, 0.0]).collect::<Vec<_>>();
        let low = (0..15).map(|place| 0.5 + 0.02 * place as f32);
        let high = (0..25).map(|place| 6.0 + 0.02 * place as f32);
        let guess = Guess::new(&logits(&low.chain(high).collect::<Vec<_>>()), 2, 1.0);
        let guess = guess.expect("there are enough");
        assert_eq!((guess.rule, guess.below, guess.pictures), (GuessRule::Otsu, 15, 40));
        let expected = probability(f64::midpoint(0.78, 6.0));
        assert!((guess.min_probability - expected).abs() < 1e-6, "{guess:?}");
        assert!(guess.separation > 0.95, "{guess:?}");
        let even: Vec<f32> = (0..40).map(|place| 0.1 * place as f32).collect();
        let guess = Guess::new(&logits(&even), 2, 1.0).expect("there are enough");
        assert_eq!((guess.rule, guess.below), (GuessRule::Quantile, 2));
        assert!((guess.separation - 0.75).abs() < 1e-3, "{guess:?}");
        assert!((guess.deciles[0] - 0.5).abs() < 1e-6, "{guess:?}");
        assert!((guess.deciles[10] - probability(3.9)).abs() < 1e-6, "{guess:?}");
    }

    #[test]
    fn too_little_to_fit_to_is_refused() {
        let few: Vec<Example> = (0..4).map(|_| example(1.0, Some(0))).collect();
        assert_eq!(LabelledFit::new(&few, 2, 1.0, 0), Err(FitError::FewExamples(4)));
        let wrong: Vec<Example> = (0..6).map(|_| example(1.0, Some(1))).collect();
        assert_eq!(LabelledFit::new(&wrong, 2, 1.0, 0), Err(FitError::AllWrong(6)));
        let pictures = vec![vec![1.0, 0.0]; 19];
        assert_eq!(Guess::new(&pictures, 2, 1.0), Err(FitError::FewPictures(19)));
    }
}
