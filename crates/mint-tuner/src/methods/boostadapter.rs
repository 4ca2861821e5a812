//! BoostAdapter: caches of confident and of uncertain test images, and the image's own confident
//! views beside them, vote on each image.
//!
//! Source: Zhang et al., *BoostAdapter: Improving Vision-Language Test-Time Adaptation via Regional
//! Bootstrapping* (2024), and its official code, which decides where the two differ.

use burn::tensor::Tensor;
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

use crate::caches::{Cached, Caches, Rules, Side, Sighting, append, argmax, insert};
use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::{ConfidentShare, entropies};
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::memory::{Remembers, integer_tensor};
use crate::method::{Method, ViewDemand};
use crate::ordering::smallest;
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;
use crate::per_set::{LooksAt, is_shifted_imagenet, of_set};
use crate::settings;

/// `alpha`, `beta` and `delta` of the official `configs/*.yaml`. ImageNet's has no `delta`: its one
/// view leaves nothing to boost.
const OFFICIAL: [(&str, (f64, f64, usize)); 15] = [
    ("I", (2.0, 5.0, 0)),
    ("A", (2.0, 5.0, 3)),
    ("V", (1.0, 8.0, 1)),
    ("R", (1.0, 8.0, 3)),
    ("K", (2.363, 7.45, 1)),
    ("caltech101", (5.0, 5.0, 2)),
    ("dtd", (2.0, 3.0, 0)),
    ("eurosat", (4.0, 8.0, 0)),
    ("aircraft", (2.0, 2.0, 2)),
    ("food101", (1.0, 1.0, 3)),
    ("flower102", (1.0, 5.0, 0)),
    ("pets", (2.0, 7.0, 0)),
    ("cars", (1.0, 7.0, 3)),
    ("sun397", (2.0, 3.0, 1)),
    ("ucf101", (3.0, 8.0, 0)),
];

/// Configuration of BoostAdapter. The defaults are the official code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BoostadapterConfig {
    /// Which views there are; officially the clean one on ImageNet, where nothing is boosted, and all
    /// on other sets.
    pub looks_at: LooksAt,
    /// What is cached and classified; officially the mean of the confident views on ImageNet's
    /// variants, and the clean view on other sets.
    pub query: LooksAt,
    /// Share of the views that are confident, those of lowest entropy. A single view is the image
    /// itself and boosts nothing.
    pub confident_share: ConfidentShare,
    /// Images that are cached for each class they were taken for.
    pub positive_slots: usize,
    /// By how much the image's own views may enlarge a class's positive cache while the image is
    /// classified; `None` for the test set's official number.
    pub boosted_slots: Option<usize>,
    /// Weight of the positive cache's votes; `None` for the test set's official one.
    pub positive_weight: Option<f64>,
    /// How fast a positive vote falls with the distance to the cached image; `None` for the test
    /// set's official one.
    pub positive_sharpness: Option<f64>,
    /// Images that are cached for each class they may not be, the latest ones.
    pub negative_slots: usize,
    /// Weight of the negative cache's votes.
    pub negative_weight: f64,
    /// How fast a negative vote falls with the distance to the cached image.
    pub negative_sharpness: f64,
    /// Images whose entropy lies between these shares of `log2(classes)` enter the negative cache.
    /// (The entropy is in nats: the official code divides one by the other.)
    pub uncertain: (f64, f64),
    /// A cached image votes against the classes whose probability lies between these.
    pub excluded: (f64, f64),
}

impl Default for BoostadapterConfig {
    fn default() -> Self {
        Self {
            looks_at: LooksAt::BySet,
            query: LooksAt::BySet,
            confident_share: ConfidentShare::TENTH,
            positive_slots: 3,
            boosted_slots: None,
            positive_weight: None,
            positive_sharpness: None,
            negative_slots: 2,
            negative_weight: 0.117,
            negative_sharpness: 1.0,
            uncertain: (0.2, 0.5),
            excluded: (0.03, 1.0),
        }
    }
}

impl BoostadapterConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        if self.looks_at != LooksAt::Clean && views > 1 {
            self.confident_share.count(views)?;
        }
        let boosted = self.boosted_slots.unwrap_or(0);
        settings::whole("boosted-slots", boosted, 0..=settings::MOST_SLOTS)?;
        self.rules(OFFICIAL[0].1).check()
    }

    /// What the settings are for a test set.
    pub fn boosting(&self, classes: &ClassSet<'_>) -> Boosting {
        let constants = of_set(&OFFICIAL, classes);
        let by_set = |all: bool| if all { ViewDemand::All } else { ViewDemand::Clean };
        let is_known = OFFICIAL[1..].iter().any(|(set, _)| classes.set() == Some(*set));
        Boosting {
            views: self.looks_at.demand(by_set(is_known)),
            query: self.query.demand(by_set(is_shifted_imagenet(classes))),
            confident_share: self.confident_share,
            boosted_slots: self.positive_slots + self.boosted_slots.unwrap_or(constants.2),
            rules: self.rules(constants),
        }
    }

    fn rules(&self, (weight, sharpness, _): (f64, f64, usize)) -> Rules {
        Rules {
            positive: Side {
                slots: self.positive_slots,
                weight: self.positive_weight.unwrap_or(weight),
                sharpness: self.positive_sharpness.unwrap_or(sharpness),
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
}

/// How images of a test set are seen, cached and classified.
#[derive(Debug, Clone)]
pub struct Boosting {
    views: ViewDemand,
    query: ViewDemand,
    confident_share: ConfidentShare,
    /// Images of each class while an image is classified.
    boosted_slots: usize,
    rules: Rules,
}

/// An image and its confident views.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostedImage {
    /// What is cached and classified.
    pub query: Sighting,
    /// The confident views, the one of lowest entropy first; none if there is but one view.
    pub views: Vec<Cached>,
}

impl Boosting {
    /// The image in normalised embeddings `[view, embed]` of its views, the clean one first.
    ///
    /// # Errors
    ///
    /// If the share chooses no view, the device fails, or a number is not finite.
    pub fn see(
        &self,
        embeddings: Tensor<2>,
        ViewLogits { logits, entropies }: ViewLogits,
    ) -> Result<BoostedImage, MethodError> {
        let [n_views, n_classes] = logits.dims();
        let count = if n_views == 1 { 0 } else { self.confident_share.count(n_views)? };
        let confident = smallest(entropies.clone(), count.max(1));
        let query = match self.query {
            ViewDemand::Clean => &integer_tensor(vec![0], &logits.device()),
            ViewDemand::All => &confident,
        };
        let query = Sighting::mean(query, embeddings.clone(), logits.clone())?;
        let rows = |rows: Tensor<2>| read_vector(rows.select(0, confident.clone()).flatten(0, 1));
        let (features, logits) = (rows(embeddings)?, rows(logits)?);
        let entropies = read_vector(entropies.select(0, confident))?;
        let views = features.chunks_exact(query.feature.len()).zip(logits.chunks_exact(n_classes));
        let view = |((feature, logits), entropy): ((&[f32], &[f32]), f32)| Cached {
            feature: feature.to_vec(),
            entropy,
            classes: vec![argmax(logits)],
        };
        Ok(BoostedImage { query, views: views.zip(entropies).take(count).map(view).collect() })
    }

    /// The positive cache of each class with the image's own views, the most certain first.
    pub fn boosted<'a>(&self, caches: &'a Caches, views: &'a [Cached]) -> Vec<Vec<&'a Cached>> {
        let of_class = |entries: &'a Vec<Cached>| entries.iter().collect();
        let mut boosted: Vec<Vec<&Cached>> = caches.positive().iter().map(of_class).collect();
        for view in views {
            let classes = view.classes.iter();
            classes.for_each(|&class| insert(&mut boosted[class], self.boosted_slots, view));
        }
        boosted
    }

    /// Caches the image where it belongs, then adds all votes to its logits. Length: class.
    pub fn classify(&self, caches: &mut Caches, image: &BoostedImage) -> Vec<f32> {
        caches.remember(&self.rules, &image.query, append);
        let boosted = self.boosted(caches, &image.views);
        caches.scores(&self.rules, boosted.into_iter().flatten(), &image.query)
    }
}

/// Adds the votes of the caches and of the image's own views to its logits.
///
/// Behind the towers, an image of `V` views costs about `V C d` multiply-adds, and `d` more for each
/// cached image.
#[derive(Debug)]
pub struct Boostadapter {
    config: BoostadapterConfig,
    texts: ClassTexts,
    caches: Caches,
}

impl Boostadapter {
    /// With fixed texts and empty caches.
    pub fn new(config: BoostadapterConfig, texts: ClassTexts) -> Self {
        Self { config, texts, caches: Caches::default() }
    }
}

impl Method for Boostadapter {
    fn view_demand(&self, classes: &ClassSet<'_>) -> ViewDemand {
        self.config.boosting(classes).views
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
        self.caches.check("BoostAdapter", n_classes, width)?;
        let boosting = self.config.boosting(classes);
        let (embeddings, logits) = match boosting.views {
            ViewDemand::All => (views.embeddings(), views.logits(&texts)),
            ViewDemand::Clean => {
                let clean = views.clean_embedding();
                let logits = views.clip().logits(clean.clone(), texts.tensor());
                (clean, ViewLogits { entropies: entropies(logits.clone()), logits })
            }
        };
        if boosting.views == ViewDemand::All {
            views.trace(|trace| {
                let ViewLogits { logits, entropies } = logits.clone();
                let confident = boosting.confident_share.count(logits.dims()[0])?;
                trace.choose(logits, entropies.clone(), smallest(entropies, confident))
            })?;
        }
        let image = boosting.see(normalize(embeddings), logits)?;
        Ok(Pending::ready(Outcome::logits(boosting.classify(&mut self.caches, &image))))
    }

    fn remembers(&mut self) -> Option<&mut dyn Remembers> {
        Some(&mut self.caches)
    }
}
