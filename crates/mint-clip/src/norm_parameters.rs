//! The image tower's LayerNorms as parameters: what methods tune that adapt the encoder itself.
//!
//! Gains and offsets of the first blocks are one tensor of the shape
//! `[block, ln_1 | ln_2, weight | bias, width]`, so that an optimizer treats them as one.

use burn::module::Param;
use burn::tensor::Tensor;

use crate::attention::Mask;
use crate::block::{FinishGradient, FinishTrace, PrepareGradient, PrepareTrace};
use crate::image_encoder::ImageEncoder;
use crate::linear::pull_through;
use crate::norm::{LayerNorm, NormTrace};
use crate::precision::GradientScale;
use crate::vision::VisionTower;

/// What [`VisionTower::norm_pullback`] needs of a pass.
#[derive(Debug, Clone)]
pub struct TowerTrace {
    blocks: Vec<(PrepareTrace, FinishTrace)>,
    ln_post: NormTrace,
}

impl VisionTower {
    /// Gains and offsets of the first `blocks` blocks. Shape: `[block, 2, 2, width]`.
    pub fn norm_parameters(&self, blocks: usize) -> Tensor<4> {
        let norm =
            |norm: &LayerNorm| Tensor::stack::<2>(vec![norm.weight.val(), norm.bias.val()], 0);
        let block = |index: usize| {
            let block = &self.blocks[index];
            Tensor::stack::<3>(vec![norm(&block.ln_1), norm(&block.ln_2)], 0)
        };
        Tensor::stack((0..blocks).map(block).collect(), 0)
    }

    /// The tower with other gains and offsets in its first blocks. Shape: `[block, 2, 2, width]`.
    pub fn with_norm_parameters(&self, parameters: &Tensor<4>) -> Self {
        let [blocks, _, _, width] = parameters.dims();
        let vector = |block: usize, norm: usize, row: usize| {
            let part = parameters.clone().slice([block..block + 1, norm..norm + 1, row..row + 1]);
            Param::from_tensor(part.reshape([width]))
        };
        let norm = |block, norm| LayerNorm {
            weight: vector(block, norm, 0),
            bias: vector(block, norm, 1),
        };
        let mut tower = self.clone();
        for (index, block) in tower.blocks.iter_mut().take(blocks).enumerate() {
            block.ln_1 = norm(index, 0);
            block.ln_2 = norm(index, 1);
        }
        tower
    }

    /// [`VisionTower::forward`], keeping what the pullback needs.
    pub fn forward_traced(&self, pixels: Tensor<4>) -> (Tensor<2>, TowerTrace) {
        let mut x = self.embed(pixels);
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let (prepared, prepare_trace) = block.prepare_traced(x, self.rows(index));
            let (output, finish_trace) = block.finish_traced(prepared, None, Mask::None);
            blocks.push((prepare_trace, finish_trace));
            x = output;
        }
        let (embeddings, ln_post) = self.head_traced(x);
        (embeddings, TowerTrace { blocks, ln_post })
    }

    /// Gradient at the gains and offsets of the first `blocks` blocks.
    ///
    /// Shapes: `[view, embed] -> [block, 2, 2, width]`.
    pub fn norm_pullback(
        &self,
        trace: &TowerTrace,
        gradient: Tensor<2>,
        blocks: usize,
    ) -> Tensor<4> {
        let scale = GradientScale::new(&gradient, self.dtype());
        let gradient = pull_through(&self.projection, scale.apply(gradient).unsqueeze_dim(1));
        let mut gradient = self.ln_post.pullback(&trace.ln_post, gradient);
        let mut at_norms = Vec::with_capacity(blocks);
        let traced = self.blocks.iter().zip(&trace.blocks).enumerate();
        for (index, (block, (prepare_trace, finish_trace))) in traced.rev() {
            let FinishGradient { prepared, after_ln_2, .. } =
                block.finish_pullback(finish_trace, gradient);
            let PrepareGradient { input, after_ln_1 } =
                block.prepare_pullback(prepare_trace, prepared);
            if index < blocks {
                let ln_1 = block.ln_1.parameter_pullback(&prepare_trace.ln_1, after_ln_1);
                let ln_2 = block.ln_2.parameter_pullback(&finish_trace.ln_2, after_ln_2);
                at_norms.push(Tensor::stack::<3>(vec![ln_1, ln_2], 0));
            }
            gradient = input;
        }
        at_norms.reverse();
        scale.undo(Tensor::stack(at_norms, 0))
    }
}

impl ImageEncoder {
    /// The same encoder with other gains and offsets in its first blocks; see
    /// [`VisionTower::with_norm_parameters`].
    pub fn with_norm_parameters(&self, parameters: &Tensor<4>) -> Self {
        Self::new(self.tower().with_norm_parameters(parameters), self.lanes().clone())
    }

    /// Gradient of a loss at the gains and offsets of the first `blocks` blocks.
    ///
    /// The loss is a sum over views. `at_embeddings` returns its gradient at the embeddings
    /// `[view, embed]` of some views, or `None` where no view counts, and whatever else is wanted
    /// of them, which comes back in the order of the views. Few views are in memory at a time.
    /// Shapes: `[view, channel, row, column] -> [block, 2, 2, width]`.
    pub fn norm_gradient<R: Send>(
        &self,
        pixels: Tensor<4>,
        blocks: usize,
        at_embeddings: impl Fn(&Tensor<2>) -> (Option<Tensor<2>>, R) + Sync,
    ) -> (Vec<R>, Tensor<4>) {
        let tower = self.tower();
        let passes = self.lanes().map(self.traced_jobs(pixels.dims()[0]), |views| {
            let (embeddings, trace) =
                tower.forward_traced(pixels.clone().narrow(0, views.start, views.len()));
            let (gradient, result) = at_embeddings(&embeddings);
            (result, gradient.map(|gradient| tower.norm_pullback(&trace, gradient, blocks)))
        });
        let (results, gradients) = passes.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let zeros = tower.norm_parameters(blocks).zeros_like();
        let gradient = gradients.into_iter().flatten().fold(zeros, |sum, part| sum + part);
        (results, gradient)
    }
}
