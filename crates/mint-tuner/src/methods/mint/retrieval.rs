//! Which slots of the memory each view recalls.

use burn::tensor::{Int, Tensor};
use mint_clip::normalize;
use serde::{Deserialize, Serialize};

use crate::methods::mint::memory_bank::MemoryBank;
use crate::ordering::smallest_per_row;

/// How usage counts scale the distances while adapting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageScaling {
    /// `count / total` while `0 < total <= slots * views`, else 1. A slot that was never recalled
    /// gets the distance 0 and is taken before any other.
    #[default]
    Official,
    /// `(count + 1) / (total + slots)`, always.
    Smoothed,
    /// 1.
    Off,
}

/// Class tokens of all views at all levels, normalised: what the keys are compared with.
#[derive(Debug, Clone)]
pub struct Queries {
    /// Shape: `[level * view, width]`, levels outside.
    rows: Tensor<2>,
    levels: usize,
    views: usize,
}

impl Queries {
    /// From one tensor `[view, width]` for each level.
    pub fn new(class_tokens: &[Tensor<2>]) -> Self {
        let views = class_tokens[0].dims()[0];
        let rows = normalize(Tensor::cat(class_tokens.to_vec(), 0));
        Self { rows, levels: class_tokens.len(), views }
    }

    /// Number of views.
    pub fn views(&self) -> usize {
        self.views
    }

    /// The queries of view 0 alone.
    pub fn clean(&self) -> Self {
        let width = self.rows.dims()[1];
        let rows = self.rows.clone().reshape([self.levels, self.views, width]).narrow(1, 0, 1);
        Self { rows: rows.reshape([self.levels, width]), levels: self.levels, views: 1 }
    }

    /// For each view the `per_level` nearest slots at each level, in the order of the levels.
    ///
    /// Distances are `1 - cos(query, key)` times the slot's factor, if any; of equal distances
    /// the lowest slot wins. Shapes: factors `[slot]`, result `[view, level * per_level]`.
    pub fn nearest(
        &self,
        bank: &MemoryBank,
        factors: Option<Tensor<1>>,
        per_level: usize,
    ) -> Tensor<2, Int> {
        let similarities = self.rows.clone().matmul(normalize(bank.keys.clone()).transpose());
        let mut distances = -similarities + 1.0;
        if let Some(factors) = factors {
            distances = distances * factors.unsqueeze();
        }
        smallest_per_row(distances, per_level)
            .reshape([self.levels, self.views, per_level])
            .swap_dims(0, 1)
            .reshape([self.views, self.levels * per_level])
    }

    /// Distances of the picked slots, differentiable with respect to `keys`.
    ///
    /// Shapes: keys `[slot, width]`, picks `[view, pick]`, factors `[slot]`, result `[view, pick]`.
    pub fn distances(
        &self,
        keys: Tensor<2>,
        picks: &Tensor<2, Int>,
        factors: Option<Tensor<1>>,
    ) -> Tensor<2> {
        let [views, per_view] = picks.dims();
        let width = keys.dims()[1];
        let per_level = per_view / self.levels;
        let flat = picks.clone().reshape([views * per_view]);
        let picked = normalize(keys).select(0, flat.clone());
        let queries = self
            .rows
            .clone()
            .reshape([self.levels, self.views, 1, width])
            .expand([self.levels, self.views, per_level, width])
            .swap_dims(0, 1)
            .reshape([views * per_view, width]);
        let distances = (-(picked * queries).sum_dim(1) + 1.0).reshape([views, per_view]);
        match factors {
            None => distances,
            Some(factors) => distances * factors.select(0, flat).reshape([views, per_view]),
        }
    }
}

impl UsageScaling {
    /// The factor of each slot's distance for an image of `views` views. Shape: `[slot]`.
    pub fn factors(self, bank: &MemoryBank, views: usize) -> Option<Tensor<1>> {
        let usage = bank.usage();
        let slots = bank.slots();
        match self {
            UsageScaling::Official => {
                let scaled = (1..=(slots * views) as u64).contains(&usage.total());
                scaled.then(|| usage.counts().float() / usage.total() as f64)
            }
            UsageScaling::Smoothed => {
                let total = usage.total() + slots as u64;
                Some((usage.counts().float() + 1.0) / total as f64)
            }
            UsageScaling::Off => None,
        }
    }
}
