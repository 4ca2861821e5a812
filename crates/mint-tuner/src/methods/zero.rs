//! ZERO: the most confident views vote.
//!
//! Source: Farina et al., *Frustratingly Easy Test-Time Adaptation of Vision-Language Models*
//! (2024), algorithm 1: the marginal probability over the confident views at temperature zero.

use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::{ConfidentShare, Uncertainty};
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::method::{Method, ViewDemand};
use crate::ordering::{ascending, smallest};
use crate::outcome::{Outcome, read_vector};
use crate::pending::Pending;

/// Configuration of ZERO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ZeroConfig {
    /// Share of the views that vote, those of lowest entropy: 0.3 in the published code, 0.1 in
    /// the paper's first version.
    pub confident_share: ConfidentShare,
    /// What says how unsure a view is.
    pub uncertainty: Uncertainty,
}

impl Default for ZeroConfig {
    fn default() -> Self {
        Self { confident_share: ConfidentShare::THREE_TENTHS, uncertainty: Uncertainty::default() }
    }
}

impl ZeroConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If the share is less than one view, or an order of entropy is not above 0.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        self.uncertainty.check()?;
        self.confident_share.count(views).map(drop)
    }
}

/// Counts votes of views for their best class.
#[derive(Debug)]
pub struct Zero {
    config: ZeroConfig,
    texts: ClassTexts,
}

impl Zero {
    /// With fixed texts.
    pub fn new(config: ZeroConfig, texts: ClassTexts) -> Self {
        Self { config, texts }
    }
}

impl Method for Zero {
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
        let ViewLogits { logits, entropies } = views.logits(&classes.features(&self.texts)?);
        let entropies = match self.config.uncertainty {
            Uncertainty::Shannon => entropies,
            other => other.of(logits.clone()),
        };
        let [n_views, n_classes] = logits.dims();
        let n_voters = self.config.confident_share.count(n_views)?;
        views.trace(|trace| {
            let voters = smallest(entropies.clone(), n_voters);
            trace.choose(logits.clone(), entropies.clone(), voters)
        })?;
        Ok(Pending::later(move || {
            let entropies = read_vector(entropies)?;
            let logits = read_vector(logits.reshape([n_views * n_classes]))?;
            Ok(Outcome::votes(votes(&logits, n_classes, &entropies, n_voters)))
        }))
    }
}

/// Votes of the `n_voters` views of lowest entropy for each class, ties broken.
///
/// A view with several best classes shares its vote among them. If several classes have the most
/// votes, the next views are asked in the order of their entropy, and the first whose
/// best class is one of those gives one vote to it. If none is, the tied class with the largest
/// logit in the first view after the voters wins, or the lowest class where there is no such view.
/// (The published code means to do the same at that point, but inverts the bits of class indices
/// where it means to exclude the others, so that it often answers with a class that nobody voted
/// for.)
///
/// `logits` is `[view, class]` in row-major order.
pub fn votes(logits: &[f32], n_classes: usize, entropies: &[f32], n_voters: usize) -> Vec<f32> {
    let order = ascending(entropies);
    let row = |view: usize| &logits[view * n_classes..(view + 1) * n_classes];
    let (voters, others) = order.split_at(n_voters.min(order.len()));
    let mut votes = vec![0.0; n_classes];
    for &view in voters {
        let best = best_classes(row(view));
        for &class in &best {
            votes[class] += 1.0 / best.len() as f32;
        }
    }
    let tied = best_classes(&votes);
    if tied.len() > 1 {
        let asked = others.iter().map(|&view| best_classes(row(view))[0]);
        let winner = asked.into_iter().find(|class| tied.contains(class));
        let by_logit = || {
            let first = row(*others.first()?);
            let better =
                |best: usize, class: usize| if first[class] > first[best] { class } else { best };
            tied.iter().copied().reduce(better)
        };
        votes[winner.or_else(by_logit).unwrap_or(tied[0])] += 1.0;
    }
    votes
}

/// All classes with the largest value, the lowest first; class 0 if no value is a number.
fn best_classes(values: &[f32]) -> Vec<usize> {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let best: Vec<usize> = (0..values.len()).filter(|&class| values[class] == largest).collect();
    if best.is_empty() { vec![0] } else { best }
}
