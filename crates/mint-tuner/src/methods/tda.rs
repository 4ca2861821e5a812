//! TDA: caches of confident and of uncertain test images vote on later ones.
//!
//! Source: Karmanov et al., *Efficient Test-Time Adaptation of Vision-Language Models* (2024),
//! sections 3.2 and 3.3.

use burn::tensor::Tensor;
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

pub use crate::caches::{Caches, Sighting};
use crate::caches::{Rules, Side, insert};
use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::memory::Remembers;
use crate::method::{Method, ViewDemand};
use crate::ordering::smallest;
use crate::outcome::Outcome;
use crate::pending::Pending;

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
        self.rules().check()
    }

    fn rules(&self) -> Rules {
        Rules {
            positive: Side {
                slots: self.positive_slots,
                weight: self.positive_weight,
                sharpness: self.positive_sharpness,
            },
            negative: Side {
                slots: self.negative_slots,
                weight: self.negative_weight,
                sharpness: self.negative_sharpness,
            },
            uncertain: self.uncertain,
            excluded: self.excluded,
        }
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
        let confident = smallest(entropies, config.confident(logits.dims()[0])?);
        Self::mean(&confident, embeddings, logits)
    }
}

impl Caches {
    /// Caches the image where it belongs, then adds all votes to its logits.
    pub fn classify(&mut self, config: &TdaConfig, image: Sighting) -> Vec<f32> {
        let rules = config.rules();
        self.remember(&rules, &image, insert);
        self.scores(&rules, self.positive().iter().flatten(), &image)
    }
}

impl Tda {
    /// With fixed texts and empty caches.
    pub fn new(config: TdaConfig, texts: ClassTexts) -> Self {
        Self { config, texts, caches: Caches::default() }
    }
}

impl Method for Tda {
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
        let texts = classes.features(&self.texts)?;
        let [n_classes, width] = texts.tensor().dims();
        self.caches.check("TDA", n_classes, width)?;
        let logits = views.logits(&texts);
        views.trace(|trace| {
            let ViewLogits { logits, entropies } = logits.clone();
            let confident = self.config.confident(logits.dims()[0])?;
            trace.choose(logits, entropies.clone(), smallest(entropies, confident))
        })?;
        let image = Sighting::new(&self.config, normalize(views.embeddings()), logits)?;
        // The caches decide by the numbers, so there is nothing left to wait for.
        Ok(Pending::ready(Outcome::logits(self.caches.classify(&self.config, image))))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.caches)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

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
        for caches in [caches, Caches::default()] {
            let mut restored = Caches::default();
            let memory = caches.save().expect("it can be saved");
            restored.restore(&memory, &Device::flex()).expect("the memory is whole");
            assert_eq!(restored, caches);
        }
    }
}
