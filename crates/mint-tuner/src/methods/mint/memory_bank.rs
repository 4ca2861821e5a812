//! The memory: slots of a key, which queries are compared with, and a prompt, which they recall.

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::error::MethodError;
use crate::memory::Memory;

/// Rows of a prompt: one becomes a key token, the other a value token.
pub const PROMPT_ROWS: usize = 2;

/// Learnable key-prompt pairs, and how often each was recalled while adapting.
#[derive(Debug, Clone)]
pub struct MemoryBank {
    /// Shape: `[slot, width]`.
    pub keys: Tensor<2>,
    /// Shape: `[slot, 2, width]`.
    pub prompts: Tensor<3>,
    usage: Usage,
}

/// How often each slot was recalled.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Shape: `[slot]`.
    counts: Tensor<1, Int>,
    total: u64,
}

impl MemoryBank {
    /// Keys and prompts drawn from the standard normal distribution, no usage.
    pub fn random(slots: usize, width: usize, seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw =
            |count: usize| -> Vec<f32> { (0..count).map(|_| rng.sample(StandardNormal)).collect() };
        let keys = TensorData::new(draw(slots * width), [slots, width]);
        let prompts =
            TensorData::new(draw(slots * PROMPT_ROWS * width), [slots, PROMPT_ROWS, width]);
        Self::new(Tensor::from_data(keys, device), Tensor::from_data(prompts, device))
    }

    /// Given keys `[slot, width]` and prompts `[slot, 2, width]`, no usage.
    pub fn new(keys: Tensor<2>, prompts: Tensor<3>) -> Self {
        let counts = Tensor::zeros([keys.dims()[0]], &keys.device());
        Self { keys, prompts, usage: Usage { counts, total: 0 } }
    }

    /// A bank that was used: `counts` has one entry per slot.
    pub fn with_usage(keys: Tensor<2>, prompts: Tensor<3>, counts: &[i64]) -> Self {
        let total = counts.iter().map(|&count| count as u64).sum();
        let counts =
            Tensor::from_data(TensorData::new(counts.to_vec(), [counts.len()]), &keys.device());
        Self { keys, prompts, usage: Usage { counts, total } }
    }

    /// A bank that was saved.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or of another shape.
    pub fn from_memory(memory: &Memory, device: &Device) -> Result<Self, MethodError> {
        let keys = memory.tensor::<2>("keys", device)?;
        let prompts = memory.tensor::<3>("prompts", device)?;
        let counts = memory.integers("usage")?;
        if prompts.dims() != [counts.len(), PROMPT_ROWS, keys.dims()[1]] {
            return Err(memory.damaged("prompts"));
        }
        Ok(Self::with_usage(keys, prompts, &counts))
    }

    /// Keys, prompts and usage, to be saved.
    ///
    /// # Errors
    ///
    /// If the device cannot deliver it.
    pub fn to_memory(&self) -> Result<Memory, MethodError> {
        let counts = mint_clip::read::<i64, _, _>(self.usage.counts())?;
        let memory = Memory::default().with("keys", &self.keys)?.with("prompts", &self.prompts)?;
        Ok(memory.with_integers("usage", &counts))
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.keys.dims()[0]
    }

    /// Usage so far.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Counts each pick, duplicates included. Shape: `[view, pick]`.
    pub fn count(&mut self, picks: &Tensor<2, Int>) {
        let [views, per_view] = picks.dims();
        let picks = picks.clone().reshape([views * per_view]);
        let ones = Tensor::ones([views * per_view], &picks.device());
        let counts = self.usage.counts.clone();
        self.usage.counts = counts.select_assign(0, picks, ones, IndexingUpdateOp::Add);
        self.usage.total += (views * per_view) as u64;
    }

    /// Mean of the picked slots' prompts, duplicates counted.
    ///
    /// Shapes: picks `[view, pick]`, result `[view, 2, width]`.
    pub fn mean_prompts(&self, picks: &Tensor<2, Int>) -> Tensor<3> {
        let [views, per_view] = picks.dims();
        let width = self.keys.dims()[1];
        let flat = self.prompts.clone().reshape([self.slots(), PROMPT_ROWS * width]);
        flat.select(0, picks.clone().reshape([views * per_view]))
            .reshape([views, per_view, PROMPT_ROWS * width])
            .mean_dim(1)
            .reshape([views, PROMPT_ROWS, width])
    }

    /// Gradient at the prompts from the gradient at [`MemoryBank::mean_prompts`].
    ///
    /// Shapes: `[view, 2, width] -> [slot, 2, width]`.
    pub fn mean_prompts_pullback(&self, picks: &Tensor<2, Int>, gradient: Tensor<3>) -> Tensor<3> {
        let [views, per_view] = picks.dims();
        let [_, rows, width] = gradient.dims();
        let shares = (gradient / per_view as f64)
            .reshape([views, 1, rows * width])
            .expand([views, per_view, rows * width])
            .reshape([views * per_view, rows * width]);
        let picks = picks.clone().reshape([views * per_view]);
        Tensor::<2>::zeros([self.slots(), rows * width], &shares.device())
            .select_assign(0, picks, shares, IndexingUpdateOp::Add)
            .reshape([self.slots(), rows, width])
    }
}

impl Usage {
    /// Counts of all slots. Shape: `[slot]`.
    pub fn counts(&self) -> Tensor<1, Int> {
        self.counts.clone()
    }

    /// Sum of all counts.
    pub fn total(&self) -> u64 {
        self.total
    }
}
