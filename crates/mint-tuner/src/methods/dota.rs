//! DOTA: a normal distribution of each class, fitted to the stream of images, is added to the texts'
//! opinion the more the longer the stream.
//!
//! Source: Han et al., *DOTA: Distributional Test-Time Adaptation of Vision-Language Models* (2025),
//! and its official code, which decides where the two differ.

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::normalize;
use nalgebra::{Cholesky, DMatrix};
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::{ConfidentShare, entropies};
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::methods::onzeta::{dot, softmax};
use crate::ordering::smallest;
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;
use crate::per_set::{LooksAt, is_shifted_imagenet, of_set};
use crate::settings;

/// `eta`, `rho` and `epsilon` of the official `configs/vit/*.yaml`.
const OFFICIAL: [(&str, (f64, f64, f64)); 15] = [
    ("I", (0.2, 0.005, 1e-4)),
    ("A", (0.5, 0.02, 1e-4)),
    ("V", (0.1, 0.01, 1e-4)),
    ("R", (0.3, 0.0025, 1e-4)),
    ("K", (0.8, 0.03, 1e-4)),
    ("caltech101", (0.3, 0.02, 2e-3)),
    ("dtd", (0.3, 0.02, 1e-4)),
    ("eurosat", (3.0, 0.05, 1e-4)),
    ("aircraft", (0.2, 0.01, 1e-4)),
    ("food101", (0.1, 0.01, 4e-5)),
    ("flower102", (0.2, 0.02, 1e-4)),
    ("pets", (0.3, 0.02, 1e-4)),
    ("cars", (0.3, 0.01, 1e-4)),
    ("sun397", (0.2, 0.01, 1e-4)),
    ("ucf101", (0.4, 0.02, 1e-4)),
];

/// Every coordinate of a class's mean before its first image, and what that counts as.
const START: (f32, f32) = (0.001, 1.0);

/// A class to which every view gives less is left as it is: 100,000 such views would move it by a
/// millionth of what one view of its own does.
const VISIBLE: f32 = 1e-11;

/// Configuration of DOTA. The defaults are the official code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DotaConfig {
    /// Which views there are; officially all on ImageNet's variants, and the clean one on other sets.
    pub looks_at: LooksAt,
    /// Share of the views that are learned from and whose mean is the image, those of lowest entropy.
    /// A single view is the image itself.
    pub confident_share: ConfidentShare,
    /// The most that the distributions' opinion weighs (`eta`); `None` for the test set's official
    /// number.
    pub largest_weight: Option<f64>,
    /// What the opinion weighs for each image that a class has had on average (`rho`); `None` for the
    /// test set's official number.
    pub weight_growth: Option<f64>,
    /// The share of the unit matrix in the covariance of all classes (`epsilon`); `None` for the test
    /// set's official number.
    pub shrinkage: Option<f64>,
    /// Variance of every coordinate before a class's first image (`sigma`).
    pub initial_variance: f64,
}

impl Default for DotaConfig {
    fn default() -> Self {
        Self {
            looks_at: LooksAt::BySet,
            confident_share: ConfidentShare::TENTH,
            largest_weight: None,
            weight_growth: None,
            shrinkage: None,
            initial_variance: 0.002,
        }
    }
}

impl DotaConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        if self.looks_at != LooksAt::Clean && views > 1 {
            self.confident_share.count(views)?;
        }
        let constants = self.constants(OFFICIAL[0].1);
        settings::not_negative("largest-weight", constants.largest_weight)?;
        settings::not_negative("weight-growth", constants.weight_growth)?;
        settings::share("shrinkage", constants.shrinkage)?;
        settings::positive("initial-variance", constants.initial_variance)
    }

    fn constants(&self, (largest_weight, weight_growth, shrinkage): (f64, f64, f64)) -> Constants {
        Constants {
            largest_weight: self.largest_weight.unwrap_or(largest_weight),
            weight_growth: self.weight_growth.unwrap_or(weight_growth),
            shrinkage: self.shrinkage.unwrap_or(shrinkage),
            initial_variance: self.initial_variance,
        }
    }
}

/// What the settings are for a test set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// The most that the distributions' opinion weighs.
    pub largest_weight: f64,
    /// What the opinion weighs for each image that a class has had on average.
    pub weight_growth: f64,
    /// The share of the unit matrix in the covariance of all classes.
    pub shrinkage: f64,
    /// Variance of every coordinate before a class's first image.
    pub initial_variance: f64,
}

/// The chosen views of an image, the one of lowest entropy first.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenViews {
    /// Unit vectors. Shape: `[view, embed]`.
    pub embeddings: Vec<f32>,
    /// Their class distributions. Shape: `[view, class]`.
    pub probabilities: Vec<f32>,
    /// The mean of the embeddings, which is not made a unit vector again. Length: embed.
    pub mean_embedding: Vec<f32>,
    /// The mean of the logits. Length: class.
    pub mean_logits: Vec<f32>,
}

impl ChosenViews {
    /// The share of lowest entropy of normalised embeddings `[view, embed]`; one view is itself.
    ///
    /// # Errors
    ///
    /// If the share chooses no view, the device fails, or a number is not finite.
    pub fn new(
        share: ConfidentShare,
        embeddings: Tensor<2>,
        ViewLogits { logits, entropies }: ViewLogits,
    ) -> Result<Self, MethodError> {
        let [n_views, n_classes] = logits.dims();
        let count = if n_views == 1 { 1 } else { share.count(n_views)? };
        let chosen = smallest(entropies, count);
        let (embeddings, logits) = (embeddings.select(0, chosen.clone()), logits.select(0, chosen));
        let numbers = |rows: Tensor<2>| read_vector(rows.flatten(0, 1));
        let mean_embedding = numbers(embeddings.clone().mean_dim(0))?;
        let mean_logits = numbers(logits.clone().mean_dim(0))?;
        let logits = numbers(logits)?;
        let distributions = logits.chunks_exact(n_classes).map(|row| softmax(row.to_vec()));
        let probabilities = distributions.flatten().collect();
        Ok(Self { embeddings: numbers(embeddings)?, probabilities, mean_embedding, mean_logits })
    }
}

/// The normal distributions of the classes: what the images so far have taught.
///
/// With `C` classes and `d` numbers in an embedding, each class that was ever learned has the lower
/// half of its covariance, `2 d (d + 1)` bytes; means and counts take `4 C (d + 1)` bytes and the sum
/// of the covariances `4 d (d + 1)`. That is 525 MB, 2.1 MB and 1.1 MB for 1,000 classes of width 512.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gaussians {
    /// Views of each class so far, in shares of a view (`c`). Length: class.
    counts: Vec<f32>,
    /// Shape: `[class, embed]` (`mu`).
    means: Vec<f32>,
    /// The rows of each lower half, one after the other (`Sigma`); `None` for the initial variance
    /// and no covariance.
    covariances: Vec<Option<Vec<f32>>>,
    /// By how much the covariances of all classes together differ from the initial ones.
    change: Vec<f64>,
}

/// What the texts and the distributions say about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The opinion of the distributions. Length: class.
    pub distribution_logits: Vec<f32>,
    /// What it would weigh if there were no largest weight.
    pub weight: f32,
    /// The answer. Length: class.
    pub logits: Vec<f32>,
}

impl Gaussians {
    /// Classifies the next image, then learns from it.
    ///
    /// # Errors
    ///
    /// If the stream was one of other classes, the covariance cannot be inverted, or a number is not
    /// finite.
    pub fn classify(
        &mut self,
        constants: &Constants,
        image: &ChosenViews,
    ) -> Result<Answer, MethodError> {
        let (n_classes, width) = (image.mean_logits.len(), image.mean_embedding.len());
        if self.counts.is_empty() {
            self.counts = vec![START.1; n_classes];
            self.means = vec![START.0; n_classes * width];
            self.covariances = vec![None; n_classes];
            self.change = vec![0.0; half(width)];
        }
        if self.counts.len() != n_classes || self.change.len() != half(width) {
            let message = "DOTA's distributions are of other classes than the test set";
            return Err(MethodError::Config(message.to_owned()));
        }
        let answer = self.answer(constants, image)?;
        self.learn(constants, image);
        Ok(answer)
    }

    fn answer(&self, constants: &Constants, image: &ChosenViews) -> Result<Answer, MethodError> {
        let (n_classes, width) = (image.mean_logits.len(), image.mean_embedding.len());
        let whitening = self.whitening(constants)?;
        let embedding = products(&image.mean_embedding, &whitening)?;
        let means = products(&self.means, &whitening)?;
        // <x, W_c> - <mu_c, W_c> / 2 with W_c = Lambda mu_c.
        let logit = |mean: &[f32]| dot(&embedding, mean) - 0.5 * dot(mean, mean);
        let distribution_logits: Vec<f32> = means.chunks_exact(width).map(logit).collect();
        let seen = self.counts.iter().copied().map(f64::from).sum::<f64>() / n_classes as f64;
        let n_views = image.embeddings.len() / width;
        let weight = constants.weight_growth * seen / n_views as f64;
        let used = weight.min(constants.largest_weight) as f32;
        let both = image.mean_logits.iter().zip(&distribution_logits);
        let logits: Vec<f32> =
            both.map(|(texts, distributions)| texts + used * distributions).collect();
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(MethodError::NotFinite);
        }
        Ok(Answer { distribution_logits, weight: weight as f32, logits })
    }

    fn learn(&mut self, constants: &Constants, image: &ChosenViews) {
        let (n_classes, width) = (image.mean_logits.len(), image.mean_embedding.len());
        let mut change = vec![0f32; half(width)];
        let mut next = vec![0f32; width];
        for class in 0..n_classes {
            let of_class = |row: &[f32]| row[class];
            let weights: Vec<f32> =
                image.probabilities.chunks_exact(n_classes).map(of_class).collect();
            if weights.iter().all(|&weight| weight < VISIBLE) {
                continue;
            }
            let count = self.counts[class];
            let total = count + weights.iter().sum::<f32>();
            let kept = count / total;
            let shares: Vec<f32> = weights.into_iter().map(|weight| weight / total).collect();
            let mean = &mut self.means[class * width..][..width];
            // All from the mean as it was before, as the official code has it.
            let from_mean = |row: &[f32]| row.iter().zip(&*mean).map(|(x, m)| x - m).collect();
            let residuals: Vec<Vec<f32>> =
                image.embeddings.chunks_exact(width).map(from_mean).collect();
            let covariance = self.covariances[class]
                .get_or_insert_with(|| diagonal(width, constants.initial_variance as f32));
            for row in 0..width {
                let place = half(row)..half(row + 1);
                let old = &mut covariance[place.clone()];
                next.iter_mut().zip(&*old).for_each(|(next, old)| *next = kept * old);
                for (residual, share) in residuals.iter().zip(&shares) {
                    let factor = share * residual[row];
                    let sums = next.iter_mut().zip(&residual[..=row]);
                    sums.for_each(|(next, r)| *next += factor * r);
                }
                for ((old, next), change) in old.iter_mut().zip(&next).zip(&mut change[place]) {
                    *change += next - *old;
                    *old = *next;
                }
            }
            mean.iter_mut().for_each(|mean| *mean *= kept);
            for (row, share) in image.embeddings.chunks_exact(width).zip(&shares) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += share * x);
            }
            self.counts[class] = total;
        }
        let changes = self.change.iter_mut().zip(change);
        changes.for_each(|(sum, change)| *sum += f64::from(change));
    }

    /// The mean of the classes' covariances, each of which counts as much. Shape: `[embed, embed]`.
    pub fn mean_covariance(&self, constants: &Constants) -> Vec<f64> {
        let n_classes = self.counts.len() as f64;
        let start = diagonal(self.width(), constants.initial_variance);
        let mean: Vec<f64> =
            start.iter().zip(&self.change).map(|(s, c)| s + c / n_classes).collect();
        let at = |row: usize, column| mean[half(row.max(column)) + row.min(column)];
        let width = self.width();
        (0..width * width).map(|place| at(place / width, place % width)).collect()
    }

    /// A matrix whose product with its own transpose inverts the covariance of all classes (`Lambda`).
    /// Before the first image that is not shrunk. Shape: `[embed, embed]`.
    ///
    /// # Errors
    ///
    /// If the covariance cannot be inverted.
    pub fn whitening(&self, constants: &Constants) -> Result<Tensor<2>, MethodError> {
        let width = self.width();
        let mut covariance = DMatrix::from_vec(width, width, self.mean_covariance(constants));
        if self.covariances.iter().any(Option::is_some) {
            covariance *= 1.0 - constants.shrinkage;
            (0..width).for_each(|place| covariance[(place, place)] += constants.shrinkage);
        }
        whitening(covariance).ok_or_else(|| {
            let message = "DOTA's covariance cannot be inverted; raise `shrinkage`";
            MethodError::Config(message.to_owned())
        })
    }

    /// Views of each class so far, in shares of a view, and one more. Length: class; empty before the
    /// first image.
    pub fn counts(&self) -> &[f32] {
        &self.counts
    }

    /// The mean of each class. Shape: `[class, embed]`; empty before the first image.
    pub fn means(&self) -> &[f32] {
        &self.means
    }

    /// The rows of the lower half of a class's covariance, one after the other; `None` while it is the
    /// initial one.
    pub fn covariance(&self, class: usize) -> Option<&[f32]> {
        self.covariances.get(class)?.as_deref()
    }

    fn width(&self) -> usize {
        self.means.len().checked_div(self.counts.len()).unwrap_or(0)
    }
}

/// Numbers in the rows of a matrix's lower half before row `row`; of all rows for its width.
fn half(row: usize) -> usize {
    row * (row + 1) / 2
}

/// The lower half of a multiple of the unit matrix.
fn diagonal<T: Copy + Default>(width: usize, value: T) -> Vec<T> {
    let mut rows = vec![T::default(); half(width)];
    (0..width).for_each(|row| rows[half(row) + row] = value);
    rows
}

/// A matrix whose product with its own transpose is the inverse of a symmetric one, of which the lower
/// half is read; `None` if that is not positive. About `d^3 / 3` multiply-adds in double precision.
pub(crate) fn whitening(matrix: DMatrix<f64>) -> Option<Tensor<2>> {
    let width = matrix.nrows();
    let lower = Cholesky::new(matrix)?.unpack();
    let mut inverse = DMatrix::identity(width, width);
    for place in 0..width {
        let left = width - place;
        let lower = lower.view((place, place), (left, left));
        let mut column = inverse.view_mut((place, place), (left, 1));
        if !lower.solve_lower_triangular_mut(&mut column) {
            return None;
        }
    }
    // Columns of `L^-1` are rows of its transpose.
    Some(square(inverse.as_slice(), width))
}

/// A matrix of rows, in single precision.
pub(crate) fn square(rows: &[f64], width: usize) -> Tensor<2> {
    let rows: Vec<f32> = rows.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(rows, [width, width]), &Device::flex())
}

/// The products of rows with a matrix. Shapes: `[row, embed], [embed, embed] -> [row, embed]`.
pub(crate) fn products(rows: &[f32], matrix: &Tensor<2>) -> Result<Vec<f32>, MethodError> {
    let width = matrix.dims()[0];
    let rows = TensorData::new(rows.to_vec(), [rows.len() / width, width]);
    let rows = Tensor::<2>::from_data(rows, &matrix.device());
    read_vector(rows.matmul(matrix.clone()).flatten(0, 1))
}

/// Adds the opinion of the classes' distributions to the texts'.
///
/// Behind the towers, an image with `k` chosen views costs about `(1 + k / 2) C d^2 + d^3 / 3`
/// multiply-adds, where `C` counts for the second part only the classes that the views may show.
#[derive(Debug)]
pub struct Dota {
    config: DotaConfig,
    texts: ClassTexts,
    gaussians: Gaussians,
}

impl Dota {
    /// With fixed texts, at the start of a stream.
    pub fn new(config: DotaConfig, texts: ClassTexts) -> Self {
        Self { config, texts, gaussians: Gaussians::default() }
    }
}

impl Method for Dota {
    fn view_demand(&self, classes: &ClassSet<'_>) -> ViewDemand {
        self.config.looks_at.demand(match is_shifted_imagenet(classes) {
            true => ViewDemand::All,
            false => ViewDemand::Clean,
        })
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
        let texts = classes.features(&self.texts)?;
        let (embeddings, logits) = match self.view_demand(classes) {
            ViewDemand::All => (views.embeddings(), views.logits(&texts)),
            ViewDemand::Clean => {
                let clean = views.clean_embedding();
                let logits = views.clip().logits(clean.clone(), texts.tensor());
                (clean, ViewLogits { entropies: entropies(logits.clone()), logits })
            }
        };
        let share = self.config.confident_share;
        if self.view_demand(classes) == ViewDemand::All {
            views.trace(|trace| {
                let ViewLogits { logits, entropies } = logits.clone();
                let confident = share.count(logits.dims()[0])?;
                trace.choose(logits, entropies.clone(), smallest(entropies, confident))
            })?;
        }
        let image = ChosenViews::new(share, normalize(embeddings), logits)?;
        let constants = self.config.constants(of_set(&OFFICIAL, classes));
        let answer = self.gaussians.classify(&constants, &image)?;
        Ok(Pending::ready(Outcome::logits(answer.logits)))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.gaussians)
    }
}

impl Remembers for Gaussians {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        let learned = |(class, of): (usize, &Option<Vec<f32>>)| of.as_ref().map(|_| class as i64);
        let learned: Vec<i64> = self.covariances.iter().enumerate().filter_map(learned).collect();
        let change: Vec<i64> = self.change.iter().map(|sum| sum.to_bits() as i64).collect();
        let covariances: Vec<f32> = self.covariances.iter().flatten().flatten().copied().collect();
        Ok(Memory::default()
            .with_floats("counts", &self.counts)
            .with_floats("means", &self.means)
            .with_integers("learned-classes", &learned)
            .with_floats("covariances", &covariances)
            .with_integers("covariance-change-bits", &change))
    }

    fn restore(&mut self, memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        let (counts, means) = (memory.floats("counts")?, memory.floats("means")?);
        let covariances = memory.floats("covariances")?;
        let change = memory.integers("covariance-change-bits")?;
        let change: Vec<f64> = change.into_iter().map(|bits| f64::from_bits(bits as u64)).collect();
        let mut restored = Self { counts, means, change, ..Self::default() };
        let (n_classes, size) = (restored.counts.len(), half(restored.width()));
        let learned = memory.integers("learned-classes")?;
        let floats = || restored.counts.iter().chain(&restored.means).chain(&covariances);
        let is_whole = restored.means.len() == n_classes * restored.width()
            && restored.change.len() == size
            && covariances.len() == learned.len() * size
            && learned.is_sorted_by(|one, next| one < next)
            && restored.counts.iter().all(|&count| count > 0.0)
            && floats().all(|value| value.is_finite())
            && restored.change.iter().all(|value| value.is_finite());
        if !is_whole {
            return Err(memory.damaged("covariances"));
        }
        restored.covariances = vec![None; n_classes];
        for (place, class) in learned.into_iter().enumerate() {
            let slot = usize::try_from(class).ok().and_then(|it| restored.covariances.get_mut(it));
            let slot = slot.ok_or_else(|| memory.damaged("learned-classes"))?;
            *slot = Some(covariances[place * size..][..size].to_vec());
        }
        *self = restored;
        Ok(())
    }
}
