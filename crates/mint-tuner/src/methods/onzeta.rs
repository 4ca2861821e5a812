//! OnZeta: labels from the texts, balanced over the stream, teach a classifier of images as they
//! arrive.
//!
//! Source: Qian and Hu, *Online Zero-Shot Classification with CLIP* (2024), and its official code,
//! which decides where the two differ.

use burn::tensor::{Device, Tensor};
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

use crate::class_set::{CacheKey, ClassSet};
use crate::class_texts::ClassTexts;
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;
use crate::settings;

/// Configuration of OnZeta. The defaults are the official script's, which it has for ImageNet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OnzetaConfig {
    /// Images of the whole stream; `None` for the size of the test set. The share of the image
    /// classifier in an answer grows with the part of the stream that is over.
    pub images: Option<usize>,
    /// Temperature of the text classifier.
    pub text_temperature: f64,
    /// Temperature of the image classifier.
    pub image_temperature: f64,
    /// Step of the image classifier, divided by the root of the number of images so far.
    pub classifier_rate: f64,
    /// Step of the classes' weights, divided by the root of the number of images so far.
    pub balance_rate: f64,
    /// The least share of the stream that each class is thought to have, as a part of an even share;
    /// 0 leaves the text classifier alone.
    pub balance: f64,
    /// The share of the image classifier in the answer for the last image of the stream.
    pub image_share: f64,
}

impl Default for OnzetaConfig {
    fn default() -> Self {
        Self {
            images: None,
            text_temperature: 0.01,
            image_temperature: 0.04,
            classifier_rate: 0.5,
            balance_rate: 20.0,
            balance: 1.0,
            image_share: 0.8,
        }
    }
}

impl OnzetaConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self) -> Result<(), MethodError> {
        settings::positive("text-temperature", self.text_temperature)?;
        settings::positive("image-temperature", self.image_temperature)?;
        settings::not_negative("classifier-rate", self.classifier_rate)?;
        settings::not_negative("balance-rate", self.balance_rate)?;
        settings::not_negative("balance", self.balance)?;
        if self.image_share != 0.0 {
            settings::share("image-share", self.image_share)?;
        }
        if let Some(images) = self.images {
            settings::whole("images", images, 1..=usize::MAX)?;
        }
        Ok(())
    }
}

/// Classifies by the texts and by what the images so far have taught.
#[derive(Debug)]
pub struct Onzeta {
    config: OnzetaConfig,
    texts: ClassTexts,
    /// Of the texts' embeddings as plain numbers.
    key: CacheKey,
    stream: Stream,
}

/// What the images so far have taught.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// Images so far.
    images: usize,
    /// What is added to each class's logit (`rho`), so that each class gets its share; 0 at the
    /// start. Length: class.
    class_weights: Vec<f32>,
    /// The image classifier (`W`), unit vectors, the texts at the start. Shape: `[class, embed]`.
    classifier: Vec<f32>,
}

/// Three opinions on an image. Each has a probability per class.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinions {
    /// Of the balanced text classifier.
    pub texts: Vec<f32>,
    /// Of the image classifier, before it learned from the image.
    pub images: Vec<f32>,
    /// Both together: the answer.
    pub combined: Vec<f32>,
}

impl Stream {
    /// Classifies the next of `n_images`, then learns from it. `texts` has shape `[class, embed]`,
    /// `image` length `embed`; both are unit vectors.
    ///
    /// # Errors
    ///
    /// If there are more than `n_images`, or the stream was one of other classes.
    pub fn classify(
        &mut self,
        config: &OnzetaConfig,
        n_images: usize,
        texts: &[f32],
        image: &[f32],
    ) -> Result<Opinions, MethodError> {
        let n_classes = texts.len() / image.len();
        if self.images == 0 {
            self.class_weights = vec![0.0; n_classes];
            self.classifier = texts.to_vec();
        }
        if self.classifier.len() != texts.len() || self.class_weights.len() != n_classes {
            let message = "OnZeta's classifier is of other classes than the test set";
            return Err(MethodError::Config(message.to_owned()));
        }
        if self.images == n_images {
            return Err(MethodError::Config(format!(
                "OnZeta was told of {n_images} images, and there are more; set `images`"
            )));
        }
        self.images += 1;
        let (images, root) = (self.images as f64, (self.images as f64).sqrt());

        let mut balanced = scaled(texts, image, config.text_temperature);
        balanced.iter_mut().zip(&self.class_weights).for_each(|(logit, weight)| *logit += weight);
        let by_texts = softmax(balanced);
        let step = (config.balance_rate / root) as f32;
        let least = (config.balance / n_classes as f64) as f32;
        for (weight, p) in self.class_weights.iter_mut().zip(&by_texts) {
            *weight = (*weight - step * (p - least)).max(0.0);
        }

        let by_images = softmax(scaled(&self.classifier, image, config.image_temperature));
        let share = (config.image_share * (images / n_images as f64).sqrt()) as f32;
        let both = by_images.iter().zip(&by_texts);
        let combined = both.clone().map(|(q, p)| share * q + (1.0 - share) * p).collect();
        let step = (config.classifier_rate / root / config.image_temperature) as f32;
        for (row, (q, p)) in self.classifier.chunks_exact_mut(image.len()).zip(both) {
            row.iter_mut().zip(image).for_each(|(w, x)| *w -= step * (q - p) * x);
            let length = dot(row, row).sqrt().max(1e-12);
            row.iter_mut().for_each(|w| *w /= length);
        }
        Ok(Opinions { texts: by_texts, images: by_images, combined })
    }

    /// Images so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// What is added to each class's logit. Length: class; empty before the first image.
    pub fn class_weights(&self) -> &[f32] {
        &self.class_weights
    }

    /// The image classifier. Shape: `[class, embed]`; empty before the first image.
    pub fn classifier(&self) -> &[f32] {
        &self.classifier
    }
}

/// Cosines of unit vectors, divided by a temperature. Shapes: `[class, embed], [embed] -> [class]`.
fn scaled(rows: &[f32], image: &[f32], temperature: f64) -> Vec<f32> {
    rows.chunks_exact(image.len()).map(|row| dot(row, image) / temperature as f32).collect()
}

/// The sum of the products of two rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Probabilities of logits.
pub(crate) fn softmax(logits: Vec<f32>) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.into_iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

impl Onzeta {
    /// With fixed texts, at the start of a stream.
    pub fn new(config: OnzetaConfig, texts: ClassTexts) -> Self {
        Self { config, texts, key: CacheKey::default(), stream: Stream::default() }
    }
}

impl Method for Onzeta {
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
        let n_images = self.config.images.or(classes.image_count()).ok_or_else(|| {
            let message = "OnZeta must know how many images will come; set `images`";
            MethodError::Config(message.to_owned())
        })?;
        let texts = classes.derived(&self.key, || {
            let texts: Tensor<2> = classes.features(&self.texts)?.tensor();
            read_vector(texts.flatten(0, 1))
        })?;
        let image = read_vector(normalize(views.clean_embedding()).squeeze_dim(0))?;
        let opinions = self.stream.classify(&self.config, n_images, &texts, &image)?;
        // The softmax of the logarithms are the probabilities again.
        let logarithm = |p: f32| p.max(f32::MIN_POSITIVE).ln();
        let scores = opinions.combined.into_iter().map(logarithm).collect();
        Ok(Pending::ready(Outcome::logits(scores)))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.stream)
    }
}

impl Remembers for Stream {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        let Self { images, class_weights, classifier } = self;
        Ok(Memory::default()
            .with_integers("images", &[*images as i64])
            .with_floats("class-weights", class_weights)
            .with_floats("classifier", classifier))
    }

    fn restore(&mut self, memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        let images = memory.integers("images")?;
        let images = images.first().and_then(|&images| usize::try_from(images).ok());
        *self = Self {
            images: images.ok_or_else(|| memory.damaged("images"))?,
            class_weights: memory.floats("class-weights")?,
            classifier: memory.floats("classifier")?,
        };
        Ok(())
    }
}
