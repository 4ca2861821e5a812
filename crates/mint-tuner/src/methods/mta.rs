//! MTA: the mode of the views' embeddings, where each view counts as much as it fits the others.
//!
//! Source: Zanella and Ben Ayed, *On the Test-Time Zero-Shot Generalization of Vision-Language
//! Models: Do We Really Need Prompt Learning?* (2024), equations 3 to 7.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use mint_clip::{normalize, scaled_cosines};
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::outcome::{Outcome, read_scores, read_vector};
use crate::pending::Pending;
use crate::settings;

/// Configuration of MTA. The defaults are the published code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MtaConfig {
    /// Weight of the inlierness scores' entropy.
    pub lambda_y: f32,
    /// Weight of the agreement between views' predictions.
    pub lambda_q: f32,
    /// Share of the other views whose distances give a view's bandwidth, the nearest ones.
    pub nearest_share: f64,
    /// Most iterations of the outer loop, and of either loop inside it.
    pub most_iterations: usize,
    /// A loop ends when a step is shorter than this.
    pub tolerance: f32,
}

impl Default for MtaConfig {
    fn default() -> Self {
        Self {
            lambda_y: 0.2,
            lambda_q: 4.0,
            nearest_share: 0.3,
            most_iterations: 5,
            tolerance: 1e-6,
        }
    }
}

impl MtaConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        settings::positive("lambda-y", self.lambda_y.into())?;
        settings::not_negative("lambda-q", self.lambda_q.into())?;
        settings::share("nearest-share", self.nearest_share)?;
        settings::whole("most-iterations", self.most_iterations, 0..=settings::MOST_STEPS)?;
        settings::not_negative("tolerance", self.tolerance.into())?;
        self.nearest(views).map(|_| ())
    }

    /// How many of the other views a view's bandwidth is made of; none is an error.
    fn nearest(&self, views: usize) -> Result<usize, MethodError> {
        let others = views.saturating_sub(1);
        match (self.nearest_share * others as f64) as usize {
            0 => Err(MethodError::Config(format!(
                "MTA looks at the nearest {} of the other views, which rounds down to zero of {others}; use at least {} views",
                self.nearest_share,
                1 + (1.0 / self.nearest_share).ceil() as usize
            ))),
            nearest => Ok(nearest),
        }
    }
}

/// Classifies the mode of the views' embeddings.
#[derive(Debug)]
pub struct Mta {
    config: MtaConfig,
    texts: ClassTexts,
}

/// The mode of some embeddings, and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Mode {
    /// Bandwidth of each view's kernel.
    pub bandwidths: Vec<f32>,
    /// Inlierness of each view; their sum is 1.
    pub inlierness: Vec<f32>,
    /// The mode, of length 1.
    pub mode: Vec<f32>,
}

impl Mta {
    /// With fixed texts.
    pub fn new(config: MtaConfig, texts: ClassTexts) -> Self {
        Self { config, texts }
    }
}

impl Method for Mta {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::All
    }

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        classes.features(&self.texts).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let features = classes.features(&self.texts)?;
        let embeddings = normalize(views.embeddings());
        let [n_views, width] = embeddings.dims();
        let logits = views.logits(&features);
        let affinity = affinity(logits.logits.clone()).reshape([n_views * n_views]);
        let (features, scale) = (features.tensor(), views.clip().logit_scale);
        let config = self.config.clone();
        views.trace(|trace| {
            let affinity = read_vector(affinity.clone())?;
            let rows = read_vector(embeddings.clone().reshape([n_views * width]))?;
            let Mode { inlierness, .. } = find_mode(&config, &rows, &affinity, n_views)?;
            trace.see(logits.logits, logits.entropies, inlierness)
        })?;
        Ok(Pending::later(move || {
            let affinity = read_vector(affinity)?;
            let rows = read_vector(embeddings.clone().reshape([n_views * width]))?;
            let Mode { mode, .. } = find_mode(&config, &rows, &affinity, n_views)?;
            let mode = Tensor::<1>::from_floats(mode.as_slice(), &embeddings.device()).unsqueeze();
            Ok(Outcome::logits(read_scores(scaled_cosines(mode, features, scale))?))
        }))
    }
}

/// How much the predictions of two views agree: the inner product of their class distributions.
///
/// Shapes: `[view, class] -> [view, view]`.
pub fn affinity(logits: Tensor<2>) -> Tensor<2> {
    let probabilities = softmax(logits, 1);
    probabilities.clone().matmul(probabilities.transpose())
}

/// Finds the mode of `n_views` normalised embeddings `[view, width]`, starting at view 0.
///
/// The views' inlierness `y` and the mode `m` are found in turn, each by fixed-point iteration:
/// `y = softmax((K(m) + lambda_q W y) / lambda_y)` with the affinity `W`, and
/// `m = sum_p y_p K_p(m) f_p / sum_p y_p K_p(m)`, where `K_p(m) = exp(-|f_p - m|^2 / (2 h_p^2))`.
///
/// # Errors
///
/// If there are too few views for the share of nearest ones.
pub fn find_mode(
    config: &MtaConfig,
    embeddings: &[f32],
    affinity: &[f32],
    n_views: usize,
) -> Result<Mode, MethodError> {
    let width = embeddings.len() / n_views;
    let views: Vec<&[f32]> = embeddings.chunks(width).collect();
    let bandwidths = bandwidths(config, &views)?;
    let mut inlierness = vec![1.0 / n_views as f32; n_views];
    let mut mode = views[0].to_vec();

    for _ in 0..config.most_iterations {
        let before = mode.clone();
        let weights = kernels(&views, &mode, &bandwidths);
        iterate(config, &mut inlierness, |inlierness| {
            softmax_of((0..n_views).map(|view| {
                let row = &affinity[view * n_views..(view + 1) * n_views];
                let agreement: f32 = row.iter().zip(inlierness).map(|(w, y)| w * y).sum();
                (weights[view] + config.lambda_q * agreement) / config.lambda_y
            }))
        });
        iterate(config, &mut mode, |mode| {
            let weights = kernels(&views, mode, &bandwidths);
            let mut sum = vec![0.0; width];
            for ((view, weight), y) in views.iter().zip(&weights).zip(&inlierness) {
                for (sum, value) in sum.iter_mut().zip(*view) {
                    *sum += weight * y * value;
                }
            }
            let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
            sum.iter().map(|value| value / length).collect()
        });
        if distance(&mode, &before) < config.tolerance {
            break;
        }
    }
    Ok(Mode { bandwidths, inlierness, mode })
}

/// Repeats `step` until it moves the point by less than the tolerance.
fn iterate(config: &MtaConfig, point: &mut Vec<f32>, step: impl Fn(&[f32]) -> Vec<f32>) {
    for _ in 0..config.most_iterations {
        let next = step(point);
        let moved = distance(&next, point);
        *point = next;
        if moved < config.tolerance {
            break;
        }
    }
}

/// `h_p^2 = 1/2` of the mean squared distance to the nearest other views.
fn bandwidths(config: &MtaConfig, views: &[&[f32]]) -> Result<Vec<f32>, MethodError> {
    let nearest = config.nearest(views.len())?;
    let bandwidth = |view: &&[f32]| {
        let mut distances: Vec<f32> = views.iter().map(|other| distance(view, other)).collect();
        distances.sort_by(f32::total_cmp);
        // The first is the view itself.
        let squares = distances[1..=nearest].iter().map(|distance| distance * distance);
        (0.5 * squares.sum::<f32>() / nearest as f32).sqrt()
    };
    Ok(views.iter().map(bandwidth).collect())
}

/// The Gaussian kernel of each view at the mode.
fn kernels(views: &[&[f32]], mode: &[f32], bandwidths: &[f32]) -> Vec<f32> {
    let kernel = |(view, bandwidth): (&&[f32], &f32)| {
        (-distance(view, mode).powi(2) / (2.0 * bandwidth * bandwidth)).exp()
    };
    views.iter().zip(bandwidths).map(kernel).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

fn softmax_of(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let values: Vec<f32> = values.collect();
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = values.iter().map(|value| (value - largest).exp()).collect();
    let total: f32 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}
