//! OGA: normal distributions around the most certain images of each class, with one covariance, and
//! the texts' opinion as the prior.
//!
//! Source: Fuchs et al., *Online Gaussian Test-Time Adaptation of Vision-Language Models* (2025), and
//! its official code, which decides where the two differ.

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::normalize;
use nalgebra::{Cholesky, DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

use crate::caches::{Cached, load, save};
use crate::class_set::{CacheKey, ClassSet};
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::methods::dota::{products, square, whitening};
use crate::methods::onzeta::dot;
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;
use crate::settings;

/// Configuration of OGA. The defaults are the official code's.
///
/// The official code stores what is certain in a batch of 32 images before it classifies them; here
/// an image is a batch of its own, since its answer must not wait for later ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OgaConfig {
    /// Images that are stored for each class they were taken for, the most certain ones.
    pub slots: usize,
    /// Weight of the logarithm of the densities beside that of the texts' probabilities (`tau`).
    pub density_weight: f64,
    /// How the covariance is inverted.
    pub estimator: OgaEstimator,
    /// Whether the means of the stored images are made unit vectors.
    pub normalize_means: bool,
}

/// How the covariance of the stored images is inverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OgaEstimator {
    /// As [`OgaEstimator::Ridge`] up to four images for each number of an embedding, then as
    /// [`OgaEstimator::PseudoInverse`].
    #[default]
    EmpiricalBayes,
    /// Shrunk towards a multiple of the unit matrix; Kubokawa and Srivastava, *Estimation of the
    /// Precision Matrix of a Singular Wishart Distribution and Its Application in High-Dimensional
    /// Data* (2008).
    Ridge,
    /// The inverse where the images differ, and nothing elsewhere.
    PseudoInverse,
}

impl Default for OgaConfig {
    fn default() -> Self {
        Self {
            slots: 8,
            density_weight: 0.05,
            estimator: OgaEstimator::default(),
            normalize_means: false,
        }
    }
}

impl OgaConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self) -> Result<(), MethodError> {
        settings::whole("slots", self.slots, 1..=settings::MOST_SLOTS)?;
        settings::not_negative("density-weight", self.density_weight)
    }
}

/// What the images so far have taught: the stored ones, of which everything else is computed.
///
/// With `s` slots for each of `C` classes and `d` numbers in an embedding, `4 C s d` bytes at most,
/// and `4 d (2 C + d)` for what is computed of them: 22 MB with 8 slots, 1,000 classes and 512 numbers,
/// and up to three times as much again while the covariance is estimated.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Of each class, in the order of their places; an image takes the place of the one it replaces.
    classes: Vec<Vec<Cached>>,
    fitted: Option<Fitted>,
}

/// The normal distributions of the classes.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The mean of each class. Shape: `[class, embed]`.
    pub means: Vec<f32>,
    /// A matrix whose product with its own transpose inverts the covariance. Shape: `[embed, embed]`.
    pub whitening: Tensor<2>,
    /// The products of both. Shape: `[class, embed]`.
    white_means: Vec<f32>,
}

/// What is known about a batch of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// Places in the batch of the images that were stored.
    pub accepted: Vec<usize>,
    /// The texts' opinion of each image.
    pub zero_shot: Vec<ZeroShotOpinion>,
    /// The logarithms of the densities, but for a constant. Shape: `[image, class]`.
    pub log_densities: Vec<f32>,
    /// The answer: probabilities. Shape: `[image, class]`.
    pub probabilities: Vec<f64>,
}

/// What the texts say about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ZeroShotOpinion {
    /// Length: class.
    pub probabilities: Vec<f64>,
    /// In nats, as the official code computes it.
    pub entropy: f64,
}

impl ZeroShotOpinion {
    /// Of unit vectors, in double precision. Shapes: `[class, embed], [embed]`.
    fn new(scale: f64, texts: &[f32], image: &[f32]) -> Self {
        let term = |(t, x): (&f32, &f32)| f64::from(*t) * f64::from(*x);
        let logit = |text: &[f32]| scale * text.iter().zip(image).map(term).sum::<f64>();
        let probabilities = softmax(texts.chunks_exact(image.len()).map(logit).collect());
        let entropy = -probabilities.iter().map(|p| p * (p + 1e-9).ln()).sum::<f64>();
        Self { probabilities, entropy }
    }

    /// The most probable class.
    fn class(&self) -> usize {
        let p = &self.probabilities;
        (1..p.len()).fold(0, |best, class| if p[class] > p[best] { class } else { best })
    }
}

fn softmax(logits: Vec<f64>) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.into_iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

impl Stored {
    /// Stores what is certain in a batch of images, then classifies all of it. `texts` has shape
    /// `[class, embed]` and `images` `[image, embed]`; both are unit vectors of `width` numbers, whose
    /// cosines times `scale` are logits.
    ///
    /// # Errors
    ///
    /// If images of other classes are stored, or a number is not finite.
    pub fn classify_batch(
        &mut self,
        config: &OgaConfig,
        scale: f64,
        width: usize,
        texts: &[f32],
        images: &[f32],
    ) -> Result<Answers, MethodError> {
        let n_classes = texts.len() / width;
        if self.classes.is_empty() {
            self.classes = vec![Vec::new(); n_classes];
        }
        let mut entries = self.classes.iter().flatten();
        if self.classes.len() != n_classes || entries.any(|entry| entry.feature.len() != width) {
            let message = "OGA's stored images are of other classes than the test set";
            return Err(MethodError::Config(message.to_owned()));
        }
        let images = images.chunks_exact(width);
        let zero_shot = images.clone().map(|image| ZeroShotOpinion::new(scale, texts, image));
        let zero_shot: Vec<_> = zero_shot.collect();
        let mut accepted = Vec::new();
        for (place, (image, opinion)) in images.clone().zip(&zero_shot).enumerate() {
            if self.store(config.slots, image, opinion) {
                accepted.push(place);
                self.fitted = None;
            }
        }
        let fitted = match self.fitted.take() {
            Some(fitted) => fitted,
            None => Fitted::new(config, width, texts, &self.classes)?,
        };
        let fitted = self.fitted.insert(fitted);
        let (mut log_densities, mut probabilities) = (Vec::new(), Vec::new());
        for (image, opinion) in images.zip(&zero_shot) {
            let of_image = fitted.log_densities(image)?;
            let both = opinion.probabilities.iter().zip(&of_image);
            let logit =
                |(p, density): (&f64, &f32)| p.ln() + config.density_weight * f64::from(*density);
            probabilities.extend(softmax(both.map(logit).collect()));
            log_densities.extend(of_image);
        }
        if !probabilities.iter().all(|p| p.is_finite()) {
            return Err(MethodError::NotFinite);
        }
        Ok(Answers { accepted, zero_shot, log_densities, probabilities })
    }

    /// Stores an image in a free place, or in that of the least certain one of its class, the first of
    /// equal ones; returns whether it was certain enough.
    fn store(&mut self, slots: usize, image: &[f32], opinion: &ZeroShotOpinion) -> bool {
        // Free places count as images that may be of any class.
        let free = (self.classes.len() as f32).ln();
        let class = opinion.class();
        let entries = &mut self.classes[class];
        let worst = |worst: usize, place: usize| {
            if entries[place].entropy > entries[worst].entropy { place } else { worst }
        };
        let place = if entries.len() < slots { entries.len() } else { (1..slots).fold(0, worst) };
        let bar = entries.get(place).map_or(free, |entry| entry.entropy);
        let is_certain = opinion.entropy < f64::from(bar);
        if is_certain {
            let entropy = opinion.entropy as f32;
            let entry = Cached { feature: image.to_vec(), entropy, classes: vec![class] };
            entries.splice(place..entries.len().min(place + 1), [entry]);
        }
        is_certain
    }

    /// The stored images of each class, in the order of their places.
    pub fn classes(&self) -> &[Vec<Cached>] {
        &self.classes
    }

    /// The distributions; `None` before the first image.
    pub fn fitted(&self) -> Option<&Fitted> {
        self.fitted.as_ref()
    }
}

impl Fitted {
    /// Fits the means to the classes that have two images, which takes `C d^2` multiply-adds, and the
    /// covariance to all of `n` images once a class has three, which takes `n d^2 + d^3 / 3`.
    fn new(
        config: &OgaConfig,
        width: usize,
        texts: &[f32],
        classes: &[Vec<Cached>],
    ) -> Result<Self, MethodError> {
        let mut means = texts.to_vec();
        for (mean, entries) in means.chunks_exact_mut(width).zip(classes) {
            if entries.len() < 2 {
                continue;
            }
            mean.fill(0.0);
            for entry in entries {
                mean.iter_mut().zip(&entry.feature).for_each(|(mean, x)| *mean += x);
            }
            // By all places, also the free ones, as the official code has it.
            let divisor = match config.normalize_means {
                true => dot(mean, mean).sqrt().max(1e-12),
                false => config.slots as f32,
            };
            mean.iter_mut().for_each(|mean| *mean /= divisor);
        }
        let whitening = match classes.iter().any(|entries| entries.len() > 2) {
            true => estimate(config.estimator, width, &means, classes)?,
            false => None,
        };
        // What an even share of a unit vector's length on each number would give.
        let start = || {
            let root = DMatrix::from_diagonal_element(width, width, (width as f64).sqrt());
            square(root.as_slice(), width)
        };
        let whitening = whitening.unwrap_or_else(start);
        Ok(Self { white_means: products(&means, &whitening)?, means, whitening })
    }

    /// Of an image. Shapes: `[embed] -> [class]`.
    fn log_densities(&self, image: &[f32]) -> Result<Vec<f32>, MethodError> {
        let image = products(image, &self.whitening)?;
        let distance =
            |mean: &[f32]| -> f32 { mean.iter().zip(&image).map(|(m, x)| (x - m) * (x - m)).sum() };
        Ok(self.white_means.chunks_exact(image.len()).map(|mean| -0.5 * distance(mean)).collect())
    }
}

/// A matrix whose product with its own transpose inverts the covariance of all images around their
/// means; `None` if they do not differ from them.
fn estimate(
    estimator: OgaEstimator,
    width: usize,
    means: &[f32],
    classes: &[Vec<Cached>],
) -> Result<Option<Tensor<2>>, MethodError> {
    let means = means.chunks_exact(width).zip(classes);
    let pairs = means.flat_map(|(mean, entries)| entries.iter().map(move |entry| (mean, entry)));
    let residual = |(mean, entry): (&[f32], &Cached)| {
        entry.feature.iter().zip(mean).map(|(x, m)| x - m).collect::<Vec<f32>>()
    };
    let residuals: Vec<f32> = pairs.flat_map(residual).collect();
    let n_images = residuals.len() / width;
    let residuals = TensorData::new(residuals, [n_images, width]);
    let residuals = Tensor::<2>::from_data(residuals, &Device::flex());
    let residuals = residuals.clone() - residuals.mean_dim(0);
    let scatter = read_vector(residuals.clone().transpose().matmul(residuals).flatten(0, 1))?;
    let mut scatter = DMatrix::from_iterator(width, width, scatter.into_iter().map(f64::from));
    let degrees = n_images as f64 - 1.0;
    let is_ridge = match estimator {
        OgaEstimator::EmpiricalBayes => n_images <= 4 * width,
        OgaEstimator::Ridge => true,
        OgaEstimator::PseudoInverse => false,
    };
    if !is_ridge {
        return Ok(Some(pseudo_whitening(scatter / degrees)));
    }
    let ridge = scatter.trace() / degrees;
    (0..width).for_each(|place| scatter[(place, place)] += ridge);
    Ok(whitening(scatter / width as f64))
}

/// A matrix whose product with its own transpose is the pseudo-inverse of a symmetric one, in which
/// eigenvalues of single precision's rounding count as 0.
fn pseudo_whitening(matrix: DMatrix<f64>) -> Tensor<2> {
    let width = matrix.nrows();
    let cut = width as f64 * f64::from(f32::EPSILON);
    // No eigenvalue is larger than the norm. If all are above the cut of that, which takes a hundredth
    // of the time to see, it is the inverse.
    let mut shifted = matrix.clone();
    let least = cut * matrix.norm();
    (0..width).for_each(|place| shifted[(place, place)] -= least);
    if Cholesky::new(shifted).is_some()
        && let Some(whitening) = whitening(matrix.clone())
    {
        return whitening;
    }
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(matrix);
    let least = cut * eigenvalues.amax();
    let root = |value: f64| if value > least { value.sqrt().recip() } else { 0.0 };
    let roots = DMatrix::from_diagonal(&eigenvalues.map(root));
    square((eigenvectors * roots).transpose().as_slice(), width)
}

/// Multiplies the texts' probabilities by the densities around the most certain images.
///
/// Behind the towers, an image costs about `2 C d + d^2` multiply-adds, and with `n` stored images
/// `(n + C) d^2 + d^3 / 3` more if it is stored itself. (Where the pseudo-inverse needs eigenvalues,
/// about `10 d^3`.)
#[derive(Debug)]
pub struct Oga {
    config: OgaConfig,
    texts: ClassTexts,
    /// Of the texts' embeddings as plain numbers.
    key: CacheKey,
    stored: Stored,
}

impl Oga {
    /// With fixed texts, at the start of a stream.
    pub fn new(config: OgaConfig, texts: ClassTexts) -> Self {
        Self { config, texts, key: CacheKey::default(), stored: Stored::default() }
    }
}

impl Method for Oga {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::Clean
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
        let texts = classes.derived(&self.key, || {
            let texts: Tensor<2> = classes.features(&self.texts)?.tensor();
            read_vector(texts.flatten(0, 1))
        })?;
        let image = read_vector(normalize(views.clean_embedding()).squeeze_dim(0))?;
        let scale = f64::from(views.clip().logit_scale);
        let answers =
            self.stored.classify_batch(&self.config, scale, image.len(), &texts, &image)?;
        // The softmax of the logarithms are the probabilities again.
        let logarithm = |p: f64| p.max(f64::MIN_POSITIVE).ln() as f32;
        let scores = answers.probabilities.into_iter().map(logarithm).collect();
        Ok(Pending::ready(Outcome::logits(scores)))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.stored)
    }
}

impl Remembers for Stored {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        Ok(save(Memory::default(), &self.classes, "stored"))
    }

    fn restore(&mut self, memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        *self = Self { classes: load(memory, "stored")?, fitted: None };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mint_golden::{Bound, assert_close};

    use super::*;

    fn pseudo_inverse(matrix: &DMatrix<f64>) -> DMatrix<f64> {
        let whitening = pseudo_whitening(matrix.clone());
        let inverse = whitening.clone().matmul(whitening.transpose()).flatten(0, 1);
        let values = read_vector(inverse).expect("the device works").into_iter().map(f64::from);
        DMatrix::from_iterator(matrix.nrows(), matrix.nrows(), values)
    }

    fn assert_same(what: &str, ours: &DMatrix<f64>, expected: &DMatrix<f64>) {
        let values = |matrix: &DMatrix<f64>| matrix.iter().map(|&v| v as f32).collect::<Vec<_>>();
        assert_close(what, &values(ours), &values(expected), Bound::OPERATION);
    }

    #[test]
    fn the_pseudo_inverse_is_the_inverse_where_there_is_one_and_nothing_elsewhere() {
        let rows = DMatrix::from_fn(9, 5, |row, column| {
            ((row * (3 + 5 * column) + column * column) % 11) as f64
        });
        let full = rows.transpose() * &rows;
        assert_same("full", &(pseudo_inverse(&full) * &full), &DMatrix::identity(5, 5));
        // Of rank 2: the pseudo-inverse keeps what the matrix leaves, and is 0 where that is.
        let few = rows.rows(0, 2).transpose() * rows.rows(0, 2);
        let inverse = pseudo_inverse(&few);
        assert_same("kept", &(&few * &inverse * &few), &few);
        assert_same("left", &(&inverse * &few * &inverse), &inverse);
        assert_same("projection", &(&inverse * &few).transpose(), &(&inverse * &few));
        // An eigenvalue below the cut, though above double precision's rounding, counts as 0.
        let diagonal = |values: [f64; 3]| DMatrix::from_diagonal(&values.to_vec().into());
        let small = pseudo_inverse(&diagonal([1.0, 0.5, 1e-8]));
        assert_same("cut", &small, &diagonal([1.0, 2.0, 0.0]));
    }
}
