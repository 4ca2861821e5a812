//! TDA: caches of confident and of uncertain test images vote on later ones.
//!
//! Source: Karmanov et al., *Efficient Test-Time Adaptation of Vision-Language Models* (2024),
//! sections 3.2 and 3.3.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::memory::{Lifetime, Memory, Remembers};
use crate::method::{Method, ViewDemand};
use crate::ordering::smallest;
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;
use crate::settings;

/// Configuration of TDA. The defaults are the published code's for ImageNet; it has others for other
/// sets, which are not used here: no number depends on the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TdaConfig {
    /// Share of the views whose mean is the image, those of lowest entropy; a single view is the
    /// image itself.
    pub confident_share: ConfidentShare,
    /// Images that are cached for each class they were taken for.
    pub positive_slots: usize,
    /// Weight of the positive cache's votes.
    pub positive_weight: f64,
    /// How fast a positive vote falls with the distance to the cached image.
    pub positive_sharpness: f64,
    /// Images that are cached for each class they may not be.
    pub negative_slots: usize,
    /// Weight of the negative cache's votes.
    pub negative_weight: f64,
    /// How fast a negative vote falls with the distance to the cached image.
    pub negative_sharpness: f64,
    /// Images whose entropy lies between these shares of `log2(classes)` enter the negative cache.
    /// (The entropy is in nats: the published code divides one by the other.)
    pub uncertain: (f64, f64),
    /// A cached image votes against the classes whose probability lies between these.
    pub excluded: (f64, f64),
}

impl Default for TdaConfig {
    fn default() -> Self {
        Self {
            confident_share: ConfidentShare::TENTH,
            positive_slots: 3,
            positive_weight: 2.0,
            positive_sharpness: 5.0,
            negative_slots: 2,
            negative_weight: 0.117,
            negative_sharpness: 1.0,
            uncertain: (0.2, 0.5),
            excluded: (0.03, 1.0),
        }
    }
}

impl TdaConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        self.confident(views)?;
        settings::whole("positive-slots", self.positive_slots, 0..=settings::MOST_SLOTS)?;
        settings::whole("negative-slots", self.negative_slots, 0..=settings::MOST_SLOTS)?;
        for (name, value) in [
            ("positive-weight", self.positive_weight),
            ("positive-sharpness", self.positive_sharpness),
            ("negative-weight", self.negative_weight),
            ("negative-sharpness", self.negative_sharpness),
            ("uncertain", self.uncertain.0),
            ("uncertain", self.uncertain.1),
            ("excluded", self.excluded.0),
            ("excluded", self.excluded.1),
        ] {
            settings::finite(name, value)?;
        }
        Ok(())
    }

    /// How many views the image is the mean of.
    fn confident(&self, views: usize) -> Result<usize, MethodError> {
        if views == 1 { Ok(1) } else { self.confident_share.count(views) }
    }
}

/// Adds the caches' votes to the logits of each image.
#[derive(Debug)]
pub struct Tda {
    config: TdaConfig,
    texts: ClassTexts,
    caches: Caches,
}

/// Images that were seen, by the class they were taken for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caches {
    positive: Vec<Vec<Cached>>,
    negative: Vec<Vec<Cached>>,
}

/// An image in a cache.
#[derive(Debug, Clone, PartialEq)]
struct Cached {
    /// Mean of unit vectors. Length: embed.
    feature: Vec<f32>,
    /// In nats.
    entropy: f32,
    /// Classes that it votes for, or against.
    classes: Vec<usize>,
}

/// An image as the caches see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Mean of the confident views' normalised embeddings. Length: embed.
    pub feature: Vec<f32>,
    /// Mean of their logits. Length: class.
    pub logits: Vec<f32>,
    /// Mean of their class distributions. Length: class.
    pub probabilities: Vec<f32>,
}

impl Sighting {
    /// Of normalised embeddings `[view, embed]` with their logits `[view, class]` and entropies
    /// `[view]`.
    ///
    /// # Errors
    ///
    /// If the share chooses no view, the device fails, or a number is not finite.
    pub fn new(
        config: &TdaConfig,
        embeddings: Tensor<2>,
        ViewLogits { logits, entropies }: ViewLogits,
    ) -> Result<Self, MethodError> {
        let n_views = logits.dims()[0];
        let confident = smallest(entropies, config.confident(n_views)?);
        let mean = |rows: Tensor<2>| {
            read_vector(rows.select(0, confident.clone()).mean_dim(0).squeeze_dim(0))
        };
        Ok(Self {
            feature: mean(embeddings)?,
            probabilities: mean(softmax(logits.clone(), 1))?,
            logits: mean(logits)?,
        })
    }

    /// Entropy of the class distribution, in nats.
    fn entropy(&self) -> f32 {
        let term = |&p: &f32| if p > 0.0 { -p * p.ln() } else { 0.0 };
        self.probabilities.iter().map(term).sum()
    }
}

impl Caches {
    /// Caches the image where it belongs, then adds all votes to its logits.
    pub fn classify(&mut self, config: &TdaConfig, image: Sighting) -> Vec<f32> {
        let entropy = image.entropy();
        let class = argmax(&image.logits);
        let n_classes = image.logits.len();
        self.positive.resize(n_classes, Vec::new());
        self.negative.resize(n_classes, Vec::new());
        let entry = |classes| Cached { feature: image.feature.clone(), entropy, classes };
        insert(&mut self.positive[class], config.positive_slots, entry(vec![class]));
        let relative = f64::from(entropy) / (n_classes as f64).log2();
        if config.uncertain.0 < relative && relative < config.uncertain.1 {
            let excluded = |&class: &usize| {
                let p = f64::from(image.probabilities[class]);
                config.excluded.0 < p && p < config.excluded.1
            };
            let excluded = (0..n_classes).filter(excluded).collect();
            insert(&mut self.negative[class], config.negative_slots, entry(excluded));
        }
        let mut scores = image.logits;
        let positive = (config.positive_weight, config.positive_sharpness);
        vote(&self.positive, positive, &image.feature, &mut scores);
        let negative = (-config.negative_weight, config.negative_sharpness);
        vote(&self.negative, negative, &image.feature, &mut scores);
        scores
    }

    /// Refuses caches of another number of classes.
    fn check(&self, n_classes: usize) -> Result<(), MethodError> {
        let of = self.positive.len();
        if of == 0 || of == n_classes {
            return Ok(());
        }
        Err(MethodError::Config(format!(
            "TDA's caches are of {of} classes and the test set has {n_classes}"
        )))
    }

    /// How many images are cached for each class, positive and negative.
    pub fn sizes(&self) -> [Vec<usize>; 2] {
        [&self.positive, &self.negative].map(|cache| cache.iter().map(Vec::len).collect())
    }

    fn to_memory(&self) -> Memory {
        let save = |memory: Memory, cache: &[Vec<Cached>], name: &str| {
            let entries = || cache.iter().flatten();
            let lengths = |entry: &Cached| entry.classes.len() as i64;
            let features: Vec<f32> =
                entries().flat_map(|entry| entry.feature.iter().copied()).collect();
            let entropies: Vec<f32> = entries().map(|entry| entry.entropy).collect();
            let classes: Vec<i64> =
                entries().flat_map(|entry| entry.classes.iter().map(|&c| c as i64)).collect();
            let sizes: Vec<i64> = cache.iter().map(|entries| entries.len() as i64).collect();
            memory
                .with_floats(&format!("{name}-features"), &features)
                .with_floats(&format!("{name}-entropies"), &entropies)
                .with_integers(&format!("{name}-classes"), &classes)
                .with_integers(
                    &format!("{name}-class-counts"),
                    &entries().map(lengths).collect::<Vec<_>>(),
                )
                .with_integers(&format!("{name}-sizes"), &sizes)
        };
        save(save(Memory::default(), &self.positive, "positive"), &self.negative, "negative")
    }

    fn from_memory(memory: &Memory) -> Result<Self, MethodError> {
        let load = |name: &str| {
            let integers = |what: &str| -> Result<Vec<usize>, MethodError> {
                let what = format!("{name}-{what}");
                let values = memory.integers(&what)?.into_iter().map(usize::try_from);
                values.collect::<Result<_, _>>().map_err(|_| memory.damaged(&what))
            };
            let damaged = || memory.damaged(name);
            let features = memory.floats(&format!("{name}-features"))?;
            let entropies = memory.floats(&format!("{name}-entropies"))?;
            let (classes, counts) = (integers("classes")?, integers("class-counts")?);
            let width = features.len().checked_div(entropies.len()).unwrap_or(0);
            let mut features = features.chunks(width.max(1));
            let mut classes = classes.into_iter();
            let mut entries = entropies.into_iter().zip(counts).map(|(entropy, count)| {
                let classes: Vec<usize> = classes.by_ref().take(count).collect();
                Some(Cached { feature: features.next()?.to_vec(), entropy, classes })
            });
            let of_class = |size: usize| {
                entries.by_ref().take(size).collect::<Option<Vec<_>>>().ok_or_else(damaged)
            };
            integers("sizes")?.into_iter().map(of_class).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { positive: load("positive")?, negative: load("negative")? })
    }
}

/// Adds an entry while there is room; then it takes the place of the least certain one if it is
/// more certain. Entries are sorted, the most certain first.
fn insert(entries: &mut Vec<Cached>, slots: usize, entry: Cached) {
    if entries.len() < slots {
        entries.push(entry);
    } else if let Some(last) = entries.last_mut().filter(|last| entry.entropy < last.entropy) {
        *last = entry;
    }
    entries.sort_by(|a, b| a.entropy.total_cmp(&b.entropy));
}

/// Adds `weight * exp(-sharpness * (1 - cosine))` to the score of every class that an entry names.
fn vote(
    cache: &[Vec<Cached>],
    (weight, sharpness): (f64, f64),
    feature: &[f32],
    scores: &mut [f32],
) {
    for entry in cache.iter().flatten() {
        let cosine: f32 = entry.feature.iter().zip(feature).map(|(a, b)| a * b).sum();
        let vote = weight * (-sharpness * (1.0 - f64::from(cosine))).exp();
        entry.classes.iter().for_each(|&class| scores[class] += vote as f32);
    }
}

/// The class of the largest value, the lowest of equal ones.
fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, class| if values[class] > values[best] { class } else { best })
}

impl Tda {
    /// With fixed texts and empty caches.
    pub fn new(config: TdaConfig, texts: ClassTexts) -> Self {
        Self { config, texts, caches: Caches::default() }
    }
}

impl Method for Tda {
    fn view_demand(&self) -> ViewDemand {
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
        self.caches.check(classes.names().len())?;
        let logits = views.logits(&classes.features(&self.texts)?);
        let image = Sighting::new(&self.config, normalize(views.embeddings()), logits)?;
        // The caches decide by the numbers, so there is nothing left to wait for.
        Ok(Pending::ready(Outcome::logits(self.caches.classify(&self.config, image))))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(self)
    }
}

impl Remembers for Tda {
    fn lifetime(&self) -> Lifetime {
        Lifetime::TestSet
    }

    fn forget(&mut self) {
        self.caches = Caches::default();
    }

    fn save(&self) -> Result<Memory, MethodError> {
        Ok(self.caches.to_memory())
    }

    fn restore(&mut self, memory: &Memory, _device: &Device) -> Result<(), MethodError> {
        self.caches = Caches::from_memory(memory)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_come_back_as_they_were_saved() {
        let mut caches = Caches::default();
        let config = TdaConfig { uncertain: (0.0, 1.0), ..TdaConfig::default() };
        for step in 0..12usize {
            let feature = (0..4).map(|place| ((step * 7 + place) % 5) as f32 * 0.2).collect();
            let mut probabilities = vec![0.1, 0.2, 0.3, 0.4];
            probabilities.rotate_left(step % 3);
            let logits = probabilities.iter().map(|p: &f32| p.ln()).collect();
            caches.classify(&config, Sighting { feature, logits, probabilities });
        }
        assert!(caches.sizes().iter().flatten().sum::<usize>() > 6, "{:?}", caches.sizes());
        let restored = Caches::from_memory(&caches.to_memory()).expect("the memory is whole");
        assert_eq!(restored, caches);
        let empty = Caches::from_memory(&Caches::default().to_memory()).expect("it is whole");
        assert_eq!(empty, Caches::default());
    }
}
