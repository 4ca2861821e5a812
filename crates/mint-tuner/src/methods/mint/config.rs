//! Every hyperparameter of MINT. The defaults are what the official code does.

use mint_clip::{ClipConfig, PassConfig};
use serde::{Deserialize, Serialize};

use crate::confidence::ConfidentShare;
use crate::error::MethodError;
use crate::memory::Lifetime;
use crate::methods::mint::retrieval::UsageScaling;
use crate::optimizer::OptimizerConfig;
use crate::settings;

/// Configuration of MINT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MintConfig {
    /// Slots of the memory bank.
    pub bank_slots: usize,
    /// Seed of the bank's first keys and prompts.
    pub bank_seed: u64,
    /// How long the bank remembers.
    pub bank_lifetime: Lifetime,
    /// Blocks after which class tokens become queries, counted from 1. `None` means the last
    /// block of each third of the tower: 4, 8 and 12 of 12.
    pub query_blocks: Option<Vec<usize>>,
    /// Block that takes the prompts as an extra key and value token, counted from 1.
    pub prompted_block: usize,
    /// Slots recalled for each view at each query block.
    pub picks_per_block: usize,
    /// How usage counts scale the distances while adapting.
    pub usage_scaling: UsageScaling,
    /// Share of the views whose entropy is minimised, those of lowest entropy.
    pub confident_share: ConfidentShare,
    /// Steps of adaptation for each image.
    pub steps: usize,
    /// Weight of the distance term.
    pub distance_weight: f64,
    /// Which way the distance term moves the keys.
    pub distance_sign: DistanceSign,
    /// Settings of AdamW, for context, keys and prompts alike.
    pub optimizer: OptimizerConfig,
}

/// Which way the distance term moves the recalled keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistanceSign {
    /// Away from their queries: what the official code does.
    #[default]
    Away,
    /// Towards their queries.
    Toward,
}

impl Default for MintConfig {
    fn default() -> Self {
        Self {
            bank_slots: 512,
            bank_seed: 0,
            bank_lifetime: Lifetime::Run,
            query_blocks: None,
            prompted_block: 1,
            picks_per_block: 2,
            usage_scaling: UsageScaling::Official,
            confident_share: ConfidentShare::TENTH,
            steps: 3,
            distance_weight: 0.2,
            distance_sign: DistanceSign::Away,
            optimizer: OptimizerConfig::default(),
        }
    }
}

impl MintConfig {
    /// Where queries are taken and prompts inserted in a given model.
    ///
    /// # Errors
    ///
    /// If the model does not have the blocks.
    pub fn pass(&self, clip: &ClipConfig) -> Result<PassConfig, MethodError> {
        let layers = clip.vision.layers;
        let blocks = match &self.query_blocks {
            Some(blocks) => blocks.clone(),
            None => (1..=3).map(|third| layers * third / 3).collect(),
        };
        let sorted = blocks.windows(2).all(|pair| pair[0] < pair[1]);
        let valid = |block: &usize| (1..=layers).contains(block);
        if blocks.is_empty() || !sorted || !blocks.iter().all(valid) {
            return Err(MethodError::Config(format!(
                "`query-blocks` is {blocks:?}: it must list blocks from 1 to {layers} in ascending order"
            )));
        }
        if !valid(&self.prompted_block) {
            return Err(MethodError::Config(format!(
                "`prompted-block` is {}: it must be from 1 to {layers}",
                self.prompted_block
            )));
        }
        Ok(PassConfig {
            levels: blocks.into_iter().map(|block| block - 1).collect(),
            prompted_block: self.prompted_block - 1,
        })
    }

    /// How many of `views` views are chosen.
    ///
    /// # Errors
    ///
    /// If none is, and there are steps.
    pub fn chosen(&self, views: usize) -> Result<usize, MethodError> {
        if self.steps == 0 { Ok(0) } else { self.confident_share.count(views) }
    }

    /// Checks what depends neither on the model nor on the views.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn check(&self) -> Result<(), MethodError> {
        settings::whole("bank-slots", self.bank_slots, 1..=settings::MOST_SLOTS)?;
        settings::whole("picks-per-block", self.picks_per_block, 1..=self.bank_slots)?;
        settings::whole("steps", self.steps, 0..=settings::MOST_STEPS)?;
        settings::finite("distance-weight", self.distance_weight)?;
        self.optimizer.check()
    }
}
