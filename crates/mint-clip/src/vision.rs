//! The image tower: a vision transformer whose class token becomes the image's embedding.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Int, Tensor};

use crate::attention::Mask;
use crate::block::{Block, FinishGradient, FinishTrace, PrepareTrace, Prepared, Rows};
use crate::linear::{cast, pull_through};
use crate::norm::{LayerNorm, NormTrace};
use crate::precision::{GradientScale, in_single, to_dtype};

/// Position of the class token.
const CLASS_TOKEN: usize = 0;

/// Frozen image tower. Its functions work on whatever views they are given at once; see
/// [`crate::ImageEncoder`] for the one that spreads many views over the cores.
#[derive(Module, Debug)]
pub struct VisionTower {
    /// `[3 * patch * patch] -> [width]`, no bias; the input is ordered channel, row, column.
    pub patch_embedding: Linear,
    /// Shape: `[width]`.
    pub class_embedding: Param<Tensor<1>>,
    /// Shape: `[token, width]`.
    pub position_embedding: Param<Tensor<2>>,
    /// Before the blocks.
    pub ln_pre: LayerNorm,
    /// In order.
    pub blocks: Vec<Block>,
    /// After the blocks, on the class token.
    pub ln_post: LayerNorm,
    /// `[width] -> [embed]`, no bias.
    pub projection: Linear,
    /// Side of a patch in pixels.
    pub patch_size: usize,
}

/// Which class tokens a pass over views keeps, and where prompts are to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassConfig {
    /// 0-based blocks after which the class token is kept, in ascending order.
    pub levels: Vec<usize>,
    /// 0-based block that takes the prompts.
    pub prompted_block: usize,
}

/// A pass over views without prompts.
#[derive(Debug, Clone)]
pub struct UnpromptedPass {
    /// Class tokens after the chosen blocks, one tensor per level. Shape: `[view, width]` each.
    pub class_tokens: Vec<Tensor<2>>,
    /// Embeddings, not normalised. Shape: `[view, embed]`.
    pub embeddings: Tensor<2>,
    /// What a prompted pass starts from.
    pub entry: PromptEntry,
}

/// Where prompts enter a tower: a block, and its input from a pass over views.
#[derive(Debug, Clone)]
pub struct PromptEntry {
    /// 0-based.
    block: usize,
    prepared: Prepared,
}

impl PromptEntry {
    /// A range of the views.
    pub fn narrow(&self, start: usize, length: usize) -> Self {
        Self { prepared: self.prepared.narrow(start, length), ..*self }
    }

    /// Some of the views, in the given order. Shape: `[view]`.
    pub fn select(&self, views: Tensor<1, Int>) -> Self {
        Self { prepared: self.prepared.select(views), ..*self }
    }

    /// Joins the views of one tower's passes.
    pub(crate) fn cat(parts: &[Self]) -> Self {
        let prepared: Vec<Prepared> = parts.iter().map(|part| part.prepared.clone()).collect();
        Self { block: parts[0].block, prepared: Prepared::cat(&prepared) }
    }
}

/// What [`VisionTower::resume_pullback`] needs.
#[derive(Debug, Clone)]
pub struct ResumeTrace {
    /// 0-based.
    prompted_block: usize,
    prompted: FinishTrace,
    later: Vec<(PrepareTrace, FinishTrace)>,
    ln_post: NormTrace,
}

impl VisionTower {
    /// Embeddings of normalised pixels, not normalised.
    ///
    /// Shapes: `[view, channel, row, column] -> [view, embed]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let mut x = self.embed(pixels);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, self.rows(index), Mask::None);
        }
        self.head(x)
    }

    /// [`VisionTower::forward`] with prompts in the first blocks: `prompts[0]` follows the
    /// image's tokens, and `prompts[k]` takes its place before block `k` (0-based).
    ///
    /// Source: Khattak et al., *MaPLe: Multi-modal Prompt Learning* (2023), section 3.2. The
    /// prompts have no position embedding; `ln_pre` is applied to the first. Shapes: prompts
    /// `[prompt, width]` each, the same number in each.
    pub fn forward_with_deep_prompts(&self, pixels: Tensor<4>, prompts: &[Tensor<2>]) -> Tensor<2> {
        let image = self.positioned(pixels);
        let [views, n_tokens, width] = image.dims();
        let for_each_view = |prompt: &Tensor<2>| {
            let n_prompts = prompt.dims()[0];
            prompt.clone().unsqueeze::<3>().expand([views, n_prompts, width])
        };
        let first = prompts.first().map(for_each_view);
        let tokens = Tensor::cat([image].into_iter().chain(first).collect(), 1);
        let mut x = to_dtype(self.ln_pre.forward(tokens), self.dtype());
        for (index, block) in self.blocks.iter().enumerate() {
            if let Some(prompt) = prompts.get(index).filter(|_| index > 0) {
                let image = x.narrow(1, 0, n_tokens);
                x = Tensor::cat(vec![image, to_dtype(for_each_view(prompt), self.dtype())], 1);
            }
            x = block.forward(x, self.rows(index), Mask::None);
        }
        self.head(x)
    }

    /// Tokens before the first block. Shape: `[view, token, width]`.
    pub fn embed(&self, pixels: Tensor<4>) -> Tensor<3> {
        to_dtype(self.ln_pre.forward(self.positioned(pixels)), self.dtype())
    }

    /// Class token and patches with their positions. Shape: `[view, token, width]`.
    fn positioned(&self, pixels: Tensor<4>) -> Tensor<3> {
        let patches = to_dtype(self.patches(pixels), self.dtype());
        let patches = in_single(self.patch_embedding.forward(patches));
        let [views, _, width] = patches.dims();
        let class_token = self.class_embedding.val().reshape([1, 1, width]);
        let tokens = Tensor::cat(vec![class_token.expand([views, 1, width]), patches], 1);
        tokens + self.position_embedding.val().unsqueeze()
    }

    /// [`VisionTower::forward`], keeping class tokens and the prompted block's input.
    ///
    /// # Panics
    ///
    /// If the tower does not have the prompted block.
    pub fn unprompted_pass(&self, pixels: Tensor<4>, config: &PassConfig) -> UnpromptedPass {
        let mut x = self.embed(pixels);
        let mut class_tokens = Vec::with_capacity(config.levels.len());
        let mut entry = None;
        for (index, block) in self.blocks.iter().enumerate() {
            let prepared = block.prepare(x, self.rows(index));
            if index == config.prompted_block {
                entry = Some(PromptEntry { block: index, prepared: prepared.clone() });
            }
            x = block.finish(prepared, None, Mask::None);
            if config.levels.contains(&index) {
                class_tokens.push(in_single(class_token(x.clone()).squeeze_dim(1)));
            }
        }
        let entry = entry.expect("the prompted block is one of the tower's");
        UnpromptedPass { class_tokens, embeddings: self.head(x), entry }
    }

    /// Embeddings with prompts, from the prompted block on.
    ///
    /// Row 0 of a view's prompt becomes an extra key token, row 1 an extra value token.
    /// Shapes: prompts `[view, 2, width]`, result `[view, embed]`, not normalised.
    pub fn resume(&self, entry: PromptEntry, prompts: Tensor<3>) -> Tensor<2> {
        let (block, later) = self.split_blocks(entry.block);
        let prompts = to_dtype(prompts, self.dtype());
        let extra = block.attention.key_value(row(&prompts, 0), row(&prompts, 1));
        let mut x = block.finish(entry.prepared, Some(extra), Mask::None);
        for (index, block) in later {
            x = block.forward(x, self.rows(index), Mask::None);
        }
        self.head(x)
    }

    /// [`VisionTower::resume`], keeping what the pullback needs.
    pub fn resume_traced(
        &self,
        entry: PromptEntry,
        prompts: Tensor<3>,
    ) -> (Tensor<2>, ResumeTrace) {
        let PromptEntry { block: prompted_block, prepared } = entry;
        let (block, rest) = self.split_blocks(prompted_block);
        let prompts = to_dtype(prompts, self.dtype());
        let extra = block.attention.key_value(row(&prompts, 0), row(&prompts, 1));
        let (mut x, prompted) = block.finish_traced(prepared, Some(extra), Mask::None);
        let mut later = Vec::with_capacity(self.blocks.len());
        for (index, block) in rest {
            let (prepared, prepare_trace) = block.prepare_traced(x, self.rows(index));
            let (output, finish_trace) = block.finish_traced(prepared, None, Mask::None);
            later.push((prepare_trace, finish_trace));
            x = output;
        }
        let (embeddings, ln_post) = self.head_traced(x);
        (embeddings, ResumeTrace { prompted_block, prompted, later, ln_post })
    }

    /// Gradient at the prompts from the gradient at the embeddings.
    ///
    /// Shapes: `[view, embed] -> [view, 2, width]`.
    ///
    /// # Panics
    ///
    /// If the trace is of another tower.
    pub fn resume_pullback(&self, trace: &ResumeTrace, gradient: Tensor<2>) -> Tensor<3> {
        let (prompted, later) = self.split_blocks(trace.prompted_block);
        let scale = GradientScale::new(&gradient, self.dtype());
        let gradient = pull_through(&self.projection, scale.apply(gradient).unsqueeze_dim(1));
        let mut gradient = self.ln_post.pullback(&trace.ln_post, gradient);
        let blocks: Vec<&Block> = later.map(|(_, block)| block).collect();
        for (block, (prepare_trace, finish_trace)) in blocks.iter().zip(&trace.later).rev() {
            let FinishGradient { prepared, .. } = block.finish_pullback(finish_trace, gradient);
            gradient = block.prepare_pullback(prepare_trace, prepared).input;
        }
        let FinishGradient { extra, .. } = prompted.finish_pullback(&trace.prompted, gradient);
        let extra = extra.expect("the prompted block had extra tokens");
        let (key_token, value_token) = prompted.attention.key_value_pullback(extra);
        scale.undo(Tensor::cat(vec![key_token, value_token], 1))
    }

    /// Type of the linear layers.
    pub(crate) fn dtype(&self) -> DType {
        self.patch_embedding.weight.val().dtype()
    }

    /// The tower with linear layers of another type.
    pub(crate) fn with_dtype(self, dtype: DType) -> Self {
        Self {
            patch_embedding: cast(self.patch_embedding, dtype),
            blocks: self.blocks.into_iter().map(|block| block.with_dtype(dtype)).collect(),
            projection: cast(self.projection, dtype),
            ..self
        }
    }

    /// Pixels as rows of patches. Shape: `[view, patch, 3 * patch * patch]`.
    fn patches(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [views, channels, height, width] = pixels.dims();
        let side = self.patch_size;
        let (rows, columns) = (height / side, width / side);
        pixels
            .reshape([views, channels, rows, side, columns, side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([views, rows * columns, channels * side * side])
    }

    /// Class token to embedding. Shapes: `[view, row, width] -> [view, embed]`.
    fn head(&self, x: Tensor<3>) -> Tensor<2> {
        in_single(self.projection.forward(self.ln_post.forward(class_token(x))).squeeze_dim(1))
    }

    /// [`VisionTower::head`], keeping what the pullback of `ln_post` needs.
    pub(crate) fn head_traced(&self, x: Tensor<3>) -> (Tensor<2>, NormTrace) {
        let (normalized, ln_post) = self.ln_post.forward_traced(class_token(x));
        (in_single(self.projection.forward(normalized).squeeze_dim(1)), ln_post)
    }

    /// Of the last block only the class token is read.
    pub(crate) fn rows(&self, index: usize) -> Rows {
        if index + 1 == self.blocks.len() { Rows::Only(CLASS_TOKEN) } else { Rows::All }
    }

    /// The prompted block, and the blocks after it with their indices.
    fn split_blocks(&self, prompted: usize) -> (&Block, impl Iterator<Item = (usize, &Block)>) {
        (&self.blocks[prompted], self.blocks.iter().enumerate().skip(prompted + 1))
    }
}

/// Shape: `[view, row, width] -> [view, 1, width]`.
fn class_token(x: Tensor<3>) -> Tensor<3> {
    x.narrow(1, CLASS_TOKEN, 1)
}

/// One row of each prompt. Shape: `[view, 1, width]`.
fn row(prompts: &Tensor<3>, index: usize) -> Tensor<3> {
    prompts.clone().narrow(1, index, 1)
}
