//! DPE: the classes' texts and the means of cached images are tuned together to each image, and the
//! texts learn from the images of which the answer is certain.
//!
//! Source: Zhang et al., *Dual Prototype Evolving for Test-Time Generalization of Vision-Language
//! Models* (2024), and its official code, which decides where the two differ.

use std::sync::Arc;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

use crate::caches::{Cached, argmax, insert, load, save};
use crate::class_set::{CacheKey, ClassSet};
use crate::class_texts::{ClassTextLists, ClassTexts};
use crate::confidence::{ConfidentShare, confident_views, entropies};
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers, integer_tensor};
use crate::method::{Method, ViewDemand};
use crate::objective::marginal_entropy;
use crate::optimizer::{OptimizerConfig, TensorOptimizer};
use crate::outcome::{Outcome, StepSummary, read_scores, read_unchecked, read_vector};
use crate::pending::Pending;
use crate::per_set::{LooksAt, of_set};
use crate::settings;

/// What the official code has for each test set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Weight of the cached images' votes (`alpha`).
    pub image_weight: f64,
    /// How fast a vote falls with the distance to the mean of a class's cached images (`beta`).
    pub image_sharpness: f64,
    /// Step size.
    pub learning_rate: f64,
    /// Weight of the alignment of cached images and texts (`align`).
    pub alignment_weight: f64,
}

/// The official `configs/*.yaml`: `alpha`, `beta`, `text` (which `image` equals) and `align`. The
/// fine-grained sets come after ImageNet and its siblings.
const OFFICIAL: [(&str, Constants); 15] = [
    ("I", constants(6.0, 5.0, 6e-4, 0.5)),
    ("A", constants(6.0, 5.0, 3e-4, 2.5)),
    ("V", constants(3.0, 8.0, 5e-4, 0.5)),
    ("R", constants(3.0, 8.0, 6e-4, 0.0)),
    ("K", constants(7.0, 7.45, 6e-4, 0.2)),
    ("caltech101", constants(15.0, 5.0, 6e-4, 0.2)),
    ("dtd", constants(6.0, 3.0, 6e-4, 0.2)),
    ("eurosat", constants(3.0, 8.0, 5e-5, 0.2)),
    ("aircraft", constants(6.0, 2.0, 6e-4, 0.2)),
    ("food101", constants(3.0, 1.0, 2e-4, 0.2)),
    ("flower102", constants(2.5, 5.0, 1e-4, 0.2)),
    ("pets", constants(4.0, 7.0, 5e-5, 0.2)),
    ("cars", constants(3.0, 7.0, 1e-4, 1.5)),
    ("sun397", constants(6.0, 3.0, 2e-4, 0.2)),
    ("ucf101", constants(9.0, 8.0, 4e-4, 0.2)),
];

/// What AdamW adds to the size of a gradient.
const EPSILON: f64 = 1e-3;

/// Where the fine-grained sets begin in the table.
const FINE_GRAINED: usize = 5;

const fn constants(
    image_weight: f64,
    image_sharpness: f64,
    learning_rate: f64,
    alignment_weight: f64,
) -> Constants {
    Constants { image_weight, image_sharpness, learning_rate, alignment_weight }
}

/// Configuration of DPE. The defaults are the official code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DpeConfig {
    /// What prototypes are tuned to; officially the clean view on the fine-grained sets, and the
    /// confident ones of all views on others.
    pub looks_at: LooksAt,
    /// What is classified with the tuned prototypes; officially the clean view, but on ImageNet-A the
    /// views that are confident then.
    pub answers_from: LooksAt,
    /// Share of the views whose mean is the image, those of lowest entropy; a single view is the
    /// image itself.
    pub confident_share: ConfidentShare,
    /// Whether texts of each class, such as CuPL's, form one ensemble with the fixed texts.
    pub with_class_texts: bool,
    /// Images that are cached for each class they were taken for.
    pub slots: usize,
    /// Weight of the cached images' votes; `None` for the test set's official one.
    pub image_weight: Option<f64>,
    /// How fast a vote falls with the distance to the mean of a class's cached images; `None` for the
    /// test set's official one.
    pub image_sharpness: Option<f64>,
    /// Step size; `None` for the test set's official one.
    pub learning_rate: Option<f64>,
    /// Weight of the alignment of cached images and texts; `None` for the test set's official one.
    pub alignment_weight: Option<f64>,
    /// Temperature of the alignment.
    pub alignment_temperature: f64,
    /// The texts learn from answers whose entropy is below this share of `log2(classes)`. (The
    /// entropy is in nats: the official code divides one by the other.)
    pub certain: f64,
}

impl Default for DpeConfig {
    fn default() -> Self {
        Self {
            looks_at: LooksAt::BySet,
            answers_from: LooksAt::BySet,
            confident_share: ConfidentShare::TENTH,
            with_class_texts: false,
            slots: 3,
            image_weight: None,
            image_sharpness: None,
            learning_rate: None,
            alignment_weight: None,
            alignment_temperature: 0.01,
            certain: 0.1,
        }
    }
}

impl DpeConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        if self.looks_at != LooksAt::Clean {
            self.confident(views)?;
        }
        settings::whole("slots", self.slots, 1..=settings::MOST_SLOTS)?;
        settings::positive("alignment-temperature", self.alignment_temperature)?;
        settings::finite("certain", self.certain)?;
        let constants = self.constants(OFFICIAL[0].1);
        settings::finite("image-weight", constants.image_weight)?;
        settings::finite("image-sharpness", constants.image_sharpness)?;
        settings::not_negative("learning-rate", constants.learning_rate)?;
        settings::not_negative("alignment-weight", constants.alignment_weight)
    }

    /// How many views the image is the mean of.
    fn confident(&self, views: usize) -> Result<usize, MethodError> {
        if views == 1 { Ok(1) } else { self.confident_share.count(views) }
    }

    /// The official constants where the settings have none.
    fn constants(&self, official: Constants) -> Constants {
        constants(
            self.image_weight.unwrap_or(official.image_weight),
            self.image_sharpness.unwrap_or(official.image_sharpness),
            self.learning_rate.unwrap_or(official.learning_rate),
            self.alignment_weight.unwrap_or(official.alignment_weight),
        )
    }
}

/// Tunes texts and cached images to each image, and keeps what is certain.
///
/// Behind the towers, an image of `V` views costs about `(V + 3) C d + 3 M (M + 1) d` multiply-adds,
/// with `M` classes that have cached images (the second part without `M^2` where the alignment
/// weighs nothing); an answer from confident views `V C d` more. What is kept takes
/// `4 C d (slots + 1)` bytes: 8.2 MB for 1,000 classes of width 512 and 3 slots.
#[derive(Debug)]
pub struct Dpe {
    config: DpeConfig,
    texts: ClassTexts,
    descriptions: Option<ClassTexts>,
    /// Of the texts at the start.
    key: CacheKey,
    prototypes: Prototypes,
}

/// What the images so far have taught.
#[derive(Debug, Clone, Default)]
pub struct Prototypes {
    /// The mean of the tuned texts so far (`G`), not normalised. Shape: `[class, embed]`; `None` before
    /// the first image.
    texts: Option<Tensor<2>>,
    /// Images that the texts learned from.
    learned: usize,
    /// Images by the class they were taken for, the most certain first.
    images: Vec<Vec<Cached>>,
}

/// An image compared with texts.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The views that it is the mean of, the one of lowest entropy first. Shape: `[chosen]`.
    pub chosen: Tensor<1, Int>,
    /// Mean of their normalised embeddings. Shape: `[1, embed]`.
    pub feature: Tensor<2>,
    /// Mean of their logits. Shape: `[1, class]`.
    pub logits: Tensor<2>,
    /// Entropy of their mean class distribution, in nats. Shape: `[1]`.
    pub entropy: Tensor<1>,
}

/// The step from what is kept to prototypes for one image.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// Scores before the step. Shape: `[1, class]`.
    pub scores: Tensor<2>,
    /// Their entropy, in nats. Shape: `[1]`.
    pub entropy: Tensor<1>,
    /// How badly cached images and texts of the same class fit, before its weight; `None` where it
    /// weighs nothing. Shape: `[1]`.
    pub alignment: Option<Tensor<1>>,
    /// What both together are. Shape: `[1]`.
    pub loss: Tensor<1>,
    /// Gradients at the texts `[class, embed]`, and at the means of the cached images of each class
    /// that has some, `[filled, embed]`.
    pub gradients: [Tensor<2>; 2],
    /// What is added to them.
    pub residuals: [Tensor<2>; 2],
}

/// What happened with one image.
#[derive(Debug, Clone)]
pub struct Step {
    /// The image before the step.
    pub sight: Sight,
    /// The class it was taken for.
    pub class: usize,
    /// Its entropy in nats over `log2(classes)`.
    pub entropy: f32,
    /// The step.
    pub tuned: Tuned,
    /// The tuned texts' part of the answer. Shape: `[1, class]`.
    pub logits: Tensor<2>,
    /// The answer: logits with the votes of the cached images. Shape: `[1, class]`.
    pub scores: Tensor<2>,
    /// Its entropy in nats over `log2(classes)`.
    pub final_entropy: f32,
    /// Whether the texts learned from it.
    pub learned: bool,
}

/// Everything that scores depend on besides the image.
struct Scorer {
    scale: f64,
    constants: Constants,
    /// Classes that have cached images, ascending. Shape: `[filled]`.
    filled: Tensor<1, Int>,
}

impl Sight {
    /// The most confident `count` of the views. Shapes: views `[view, embed]` and texts
    /// `[class, embed]`, both unit vectors.
    fn new(views: Tensor<2>, texts: Tensor<2>, scale: f64, count: usize) -> Self {
        let logits = views.clone().matmul(texts.transpose()) * scale;
        let chosen = confident_views(logits.clone(), count);
        let logits = logits.select(0, chosen.clone());
        Self {
            feature: views.select(0, chosen.clone()).mean_dim(0),
            entropy: marginal_entropy(logits.clone()),
            logits: logits.mean_dim(0),
            chosen,
        }
    }
}

impl Scorer {
    /// Logits of the texts, and with them the votes of the cached images
    /// `alpha exp(-beta (1 - cosine))`.
    ///
    /// Shapes: `[1, embed]`, `[class, embed]`, `[filled, embed]` -> twice `[1, class]`.
    fn scores(&self, image: Tensor<2>, texts: Tensor<2>, images: Tensor<2>) -> [Tensor<2>; 2] {
        let Constants { image_weight, image_sharpness, .. } = self.constants;
        let logits = image.clone().matmul(texts.transpose()) * self.scale;
        let affinities = image.matmul(images.transpose());
        let votes = ((affinities - 1.0) * image_sharpness).exp() * image_weight;
        let filled = self.filled.clone();
        [logits.clone(), logits.select_assign(1, filled, votes, IndexingUpdateOp::Add)]
    }

    /// One step of AdamW from texts `[class, embed]` and means of cached images `[filled, embed]`,
    /// which are not normalised, for an image `[1, embed]`.
    fn tune(
        &self,
        temperature: f64,
        image: Tensor<2>,
        texts: Tensor<2>,
        images: Tensor<2>,
    ) -> Tuned {
        let [texts, images] = [texts, images].map(|rows| rows.autodiff().require_grad());
        let (units, image_units) = (normalize(texts.clone()), normalize(images.clone()));
        let [_, scores] = self.scores(image.autodiff(), units.clone(), image_units.clone());
        let entropy = entropies(scores.clone());
        let weight = self.constants.alignment_weight;
        let alignment = (weight > 0.0).then(|| {
            let same = units.select(0, self.filled.clone()).transpose();
            let fit = log_softmax(image_units.matmul(same) / temperature, 1);
            let n_filled = fit.dims()[0] as i64;
            let diagonal = Tensor::<1, Int>::arange(0..n_filled, &self.filled.device());
            -fit.gather(1, diagonal.unsqueeze_dim(1)).mean()
        });
        let mut loss = entropy.clone();
        if let Some(alignment) = &alignment {
            loss = loss + alignment.clone() * weight;
        }
        let at = loss.backward();
        let gradients =
            [texts, images].map(|rows| rows.grad(&at).expect("the loss depends on both"));
        let optimizer = OptimizerConfig {
            learning_rate: self.constants.learning_rate,
            epsilon: EPSILON,
            // Of vectors that start at 0 nothing decays in the first step.
            weight_decay: 0.0,
            ..OptimizerConfig::default()
        };
        let residuals = gradients
            .clone()
            .map(|gradient| TensorOptimizer::new(&optimizer).step(gradient.zeros_like(), gradient));
        Tuned {
            scores: scores.inner(),
            entropy: entropy.inner(),
            alignment: alignment.map(Tensor::inner),
            loss: loss.inner(),
            gradients,
            residuals,
        }
    }
}

impl Prototypes {
    /// Classifies the next image, then learns from it. `scale` makes logits of cosines; `texts` are
    /// the classes' texts at the start `[class, embed]`, unit vectors; `embeddings` those of the views
    /// that the image is the mean of, or of the clean view alone, `[view, embed]`; `answers_from`
    /// says which of them are classified in the end.
    ///
    /// # Errors
    ///
    /// If no view would be chosen, the prototypes are of other classes, the device fails, or a number
    /// is not finite, which after the step is the learning rate's fault.
    pub fn classify(
        &mut self,
        config: &DpeConfig,
        constants: Constants,
        scale: f64,
        texts: Tensor<2>,
        embeddings: Tensor<2>,
        answers_from: ViewDemand,
    ) -> Result<Step, MethodError> {
        let [n_classes, width] = texts.dims();
        let texts = self.texts.clone().unwrap_or(texts);
        if texts.dims() != [n_classes, width] {
            let message = "DPE's prototypes are of other classes than the test set";
            return Err(MethodError::Config(message.to_owned()));
        }
        let count = config.confident(embeddings.dims()[0])?;
        let views = normalize(embeddings);
        let sight = Sight::new(views.clone(), normalize(texts.clone()), scale, count);
        let feature = read_scores(sight.feature.clone())?;
        let class = argmax(&read_scores(sight.logits.clone())?);
        // A single class has no entropy to be a share of.
        let most = (n_classes.max(2) as f64).log2() as f32;
        let entropy = read_vector(sight.entropy.clone())?[0] / most;
        self.texts = Some(texts.clone());
        self.images.resize(n_classes, Vec::new());
        let entry = Cached { feature, entropy, classes: vec![class] };
        insert(&mut self.images[class], config.slots, entry);

        let filled = (0..n_classes).filter(|&class| !self.images[class].is_empty());
        let filled: Vec<i64> = filled.map(|class| class as i64).collect();
        let means: Vec<f32> = self.images.iter().flat_map(|images| mean(images)).collect();
        let device = texts.device();
        let means = TensorData::new(means, [filled.len(), width]);
        let means = Tensor::<2>::from_data(means, &device);
        let scorer = Scorer { scale, constants, filled: integer_tensor(filled, &device) };
        let temperature = config.alignment_temperature;
        let tuned = scorer.tune(temperature, sight.feature.clone(), texts.clone(), means.clone());

        let [of_texts, of_images] = tuned.residuals.clone();
        let units = normalize(texts.clone() + of_texts);
        let image = match answers_from {
            ViewDemand::Clean => views.narrow(0, 0, 1),
            ViewDemand::All => Sight::new(views, units.clone(), scale, count).feature,
        };
        let [logits, scores] = scorer.scores(image, units.clone(), normalize(means + of_images));
        let final_entropy = read_vector(entropies(scores.clone()));
        let final_entropy = final_entropy.map_err(|error| error.after_steps(1))?[0] / most;
        let learned = f64::from(final_entropy) < config.certain;
        if learned {
            self.learned += 1;
            let images = self.learned as f64;
            self.texts = Some(texts * (images / (images + 1.0)) + units * (1.0 / (images + 1.0)));
        }
        Ok(Step { sight, class, entropy, tuned, logits, scores, final_entropy, learned })
    }

    /// The mean of the tuned texts so far, not normalised. Shape: `[class, embed]`; `None` before the
    /// first image.
    pub fn texts(&self) -> Option<&Tensor<2>> {
        self.texts.as_ref()
    }

    /// Images that the texts learned from.
    pub fn learned(&self) -> usize {
        self.learned
    }

    /// Features and entropies of the images that are cached for a class, the most certain first.
    pub fn images(&self, class: usize) -> impl Iterator<Item = (&[f32], f32)> {
        let images = self.images.get(class).into_iter().flatten();
        images.map(|image| (image.feature.as_slice(), image.entropy))
    }
}

/// The mean of images' features, empty without images.
fn mean(images: &[Cached]) -> Vec<f32> {
    let mut mean = images.first().map_or_else(Vec::new, |image| vec![0.0; image.feature.len()]);
    for image in images {
        let parts = image.feature.iter().map(|value| value / images.len() as f32);
        mean.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }
    mean
}

impl Dpe {
    /// With fixed texts at the start; descriptions, as CuPL's, form one ensemble with them.
    pub fn new(
        config: DpeConfig,
        texts: ClassTexts,
        descriptions: Option<Arc<ClassTextLists>>,
    ) -> Self {
        let (key, prototypes) = (CacheKey::default(), Prototypes::default());
        let descriptions = descriptions.map(ClassTexts::PerClass);
        Self { config, texts, descriptions, key, prototypes }
    }

    /// The texts at the start. Shape: `[class, embed]`.
    fn start(&self, classes: &ClassSet<'_>) -> Result<Tensor<2>, MethodError> {
        let start = classes.derived(&self.key, || {
            let texts = classes.features(&self.texts)?;
            let Some(descriptions) = &self.descriptions else { return Ok(texts.tensor()) };
            let descriptions = classes.features(descriptions)?;
            Ok(normalize(texts.means().sums() + descriptions.means().sums()))
        })?;
        Ok(Tensor::clone(&start))
    }
}

impl Method for Dpe {
    fn view_demand(&self, classes: &ClassSet<'_>) -> ViewDemand {
        let fine_grained =
            OFFICIAL[FINE_GRAINED..].iter().any(|(set, _)| classes.set() == Some(set));
        self.config.looks_at.demand(if fine_grained { ViewDemand::Clean } else { ViewDemand::All })
    }

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.start(classes).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let start = self.start(classes)?;
        let embeddings = match self.view_demand(classes) {
            ViewDemand::Clean => views.clean_embedding(),
            ViewDemand::All => views.embeddings(),
        };
        let official = if classes.set() == Some("A") { ViewDemand::All } else { ViewDemand::Clean };
        let step = self.prototypes.classify(
            &self.config,
            self.config.constants(of_set(&OFFICIAL, classes)),
            views.clip().logit_scale.into(),
            start,
            embeddings,
            self.config.answers_from.demand(official),
        )?;
        views.trace(|trace| trace.score(step.tuned.scores.clone()))?;
        // The cache and the texts decide by the numbers, so there is nothing left to wait for.
        let Tuned { loss, entropy, .. } = step.tuned;
        let summary = StepSummary::new(1, read_unchecked(loss)?[0], read_unchecked(entropy)?[0])?;
        let outcome = Outcome::logits(read_scores(step.scores)?);
        Ok(Pending::ready(Outcome { steps: vec![summary], ..outcome }))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.prototypes)
    }
}

impl Remembers for Prototypes {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        let Self { texts, learned, images } = self;
        let texts = texts.clone().map(|texts| read_unchecked(texts.flatten(0, 1))).transpose()?;
        let memory = Memory::default()
            .with_floats("texts", &texts.unwrap_or_default())
            .with_integers("learned", &[*learned as i64]);
        Ok(save(memory, images, "images"))
    }

    fn restore(&mut self, memory: &Memory, device: &Device) -> Result<(), MethodError> {
        let learned = match memory.integers("learned")?[..] {
            [learned] => usize::try_from(learned).ok(),
            _ => None,
        };
        let learned = learned.ok_or_else(|| memory.damaged("learned"))?;
        let (texts, images) = (memory.floats("texts")?, load(memory, "images")?);
        let n_classes = images.len();
        let width = texts.len().checked_div(n_classes).unwrap_or(0);
        let is_whole = texts.len() == n_classes * width
            && (width == 0) == images.is_empty()
            && texts.iter().all(|value| value.is_finite())
            && images.iter().flatten().all(|image| image.feature.len() == width);
        if !is_whole {
            return Err(memory.damaged("texts"));
        }
        let rows = TensorData::new(texts, [n_classes, width]);
        let texts = (n_classes > 0).then(|| Tensor::from_data(rows, device));
        *self = Self { texts, learned, images };
        Ok(())
    }
}
