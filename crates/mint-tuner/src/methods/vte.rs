//! VTE: the mean of the most confident views' embeddings, compared with an ensemble of texts.
//!
//! Source: Döbler et al., *A Lost Opportunity for Vision-Language Models: A Comparative Study of
//! Online Test-Time Adaptation for Vision-Language Models* (2024), section 4.

use serde::{Deserialize, Serialize};

use crate::class_set::ClassSet;
use crate::class_texts::ClassTexts;
use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::image_views::{ImageViews, ViewLogits};
use crate::method::{Method, ViewDemand};
use crate::ordering::smallest;
use crate::pending::Pending;

/// Configuration of VTE. The default is the published code's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct VteConfig {
    /// Share of the views whose embeddings are averaged, those of lowest entropy.
    pub confident_share: ConfidentShare,
}

impl Default for VteConfig {
    fn default() -> Self {
        Self { confident_share: ConfidentShare::TENTH }
    }
}

impl VteConfig {
    /// Checks the settings for images of this many views.
    ///
    /// # Errors
    ///
    /// If the share is less than one view.
    pub fn check(&self, views: usize) -> Result<(), MethodError> {
        self.confident_share.count(views).map(drop)
    }
}

/// Classifies the mean embedding of the confident views.
#[derive(Debug)]
pub struct Vte {
    config: VteConfig,
    texts: ClassTexts,
}

impl Vte {
    /// With fixed texts.
    pub fn new(config: VteConfig, texts: ClassTexts) -> Self {
        Self { config, texts }
    }
}

impl Method for Vte {
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
        let n_views = logits.dims()[0];
        let chosen = smallest(entropies.clone(), self.config.confident_share.count(n_views)?);
        views.trace(|trace| trace.choose(logits.clone(), entropies, chosen.clone()))?;
        // The mean of unit vectors is not made a unit vector again. Logits are linear in the image,
        // so those of the mean are the mean of the views'.
        let mean = logits.select(0, chosen).mean_dim(0);
        Ok(Pending::logits(mean))
    }
}
