//! The text tower: a causal transformer whose output at the end of a text becomes its embedding.
//!
//! Attention is causal, so what comes after the end of a text is never read, and the tokens that
//! all texts start with have the same keys and values in each of them. Texts are therefore run in
//! two parts: the shared prefix once, and each text's own suffix against the prefix's keys and
//! values.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::attention::{KeyValue, Mask};
use crate::block::{Block, FinishGradient, FinishTrace, PrepareTrace, Rows};
use crate::linear::{cast, pull_through};
use crate::norm::{LayerNorm, NormTrace};
use crate::precision::{in_single, to_dtype};
use crate::prompt::Item;

/// Frozen text tower. See [`crate::TextEncoder`] for whole sets of class prompts.
#[derive(Module, Debug)]
pub struct TextTower {
    /// Shape: `[vocabulary, width]`.
    pub token_embedding: Param<Tensor<2>>,
    /// Shape: `[context length, width]`.
    pub position_embedding: Param<Tensor<2>>,
    /// In order.
    pub blocks: Vec<Block>,
    /// After the blocks.
    pub ln_final: LayerNorm,
    /// `[width] -> [embed]`, no bias.
    pub projection: Linear,
}

/// What the pullback of a prefix needs, block by block. The last block's output is not read.
#[derive(Debug, Clone)]
pub struct PrefixTrace(Vec<(PrepareTrace, Option<FinishTrace>)>);

/// What the pullback of suffixes needs.
#[derive(Debug, Clone)]
pub struct SuffixTrace {
    blocks: Vec<(PrepareTrace, FinishTrace)>,
    /// Shape: `[text, token, 1]`.
    ends: Option<Tensor<3>>,
    ln_final: NormTrace,
}

/// Gradients from [`TextTower::suffix_pullback`].
#[derive(Debug, Clone)]
pub struct SuffixGradient {
    /// At the prefix's keys and values, one a block, summed over the texts.
    pub prefix: Vec<KeyValue>,
    /// At the suffix tokens before the first block. Shape: `[text, token, width]`.
    pub tokens: Tensor<3>,
}

impl TextTower {
    /// The embeddings of some tokens. Shape: `[token, width]`.
    pub fn token_rows(&self, ids: &[u32]) -> Tensor<2> {
        let embedding = self.token_embedding.val();
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids = TensorData::new(ids.clone(), [ids.len()]);
        let ids: Tensor<1, Int> = Tensor::from_data(ids, &embedding.device());
        embedding.select(0, ids)
    }

    /// Tokens before the first block, for texts that have context vectors at the same places.
    ///
    /// `start` is the position of the first item. Shapes: context `[context, width]`, result
    /// `[text, item, width]`.
    ///
    /// # Panics
    ///
    /// If a text has places for context and none is given.
    pub fn embed(&self, texts: &[&[Item]], start: usize, context: Option<&Tensor<2>>) -> Tensor<3> {
        let length = texts[0].len();
        let ids: Vec<u32> =
            texts.iter().flat_map(|text| text.iter().map(|item| item.id())).collect();
        let rows = self.token_rows(&ids);
        let width = rows.dims()[1];
        let mut tokens = rows.reshape([texts.len(), length, width]);
        for (position, item) in texts[0].iter().enumerate() {
            let Item::Context(index) = *item else { continue };
            let context = context.expect("prompts with context places are given a context");
            let vector = context.clone().narrow(0, index, 1).unsqueeze::<3>();
            tokens = tokens.slice_assign(
                [0..texts.len(), position..position + 1, 0..width],
                vector.expand([texts.len(), 1, width]),
            );
        }
        let positions = self.position_embedding.val().narrow(0, start, length);
        to_dtype(tokens + positions.unsqueeze(), self.dtype())
    }

    /// The prefix's keys and values in each block. Shape: tokens `[1, token, width]`.
    pub fn prefix(&self, tokens: Tensor<3>) -> Vec<KeyValue> {
        self.prefix_with_deep_prompts(tokens, &[])
    }

    /// [`TextTower::prefix`] with prompts in later blocks: the first tokens after the
    /// start-of-text token are replaced before block `k + 1` (0-based) by `prompts[k]`.
    ///
    /// Shapes: tokens `[1, token, width]`, prompts `[prompt, width]` each.
    pub fn prefix_with_deep_prompts(
        &self,
        tokens: Tensor<3>,
        prompts: &[Tensor<2>],
    ) -> Vec<KeyValue> {
        let mut x = tokens;
        let mut key_values = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            if let Some(prompt) = index.checked_sub(1).and_then(|deep| prompts.get(deep)) {
                let [n_prompts, width] = prompt.dims();
                let places = [0..1, 1..1 + n_prompts, 0..width];
                let prompt = to_dtype(prompt.clone(), self.dtype());
                x = x.slice_assign(places, prompt.unsqueeze());
            }
            let prepared = block.prepare(x.clone(), Rows::All);
            key_values.push(prepared.projected.own.clone());
            if !self.is_last(index) {
                x = block.finish(prepared, None, Mask::Causal);
            }
        }
        key_values
    }

    /// [`TextTower::prefix`], keeping what the pullback needs.
    pub fn prefix_traced(&self, tokens: Tensor<3>) -> (Vec<KeyValue>, PrefixTrace) {
        let mut x = tokens;
        let mut key_values = Vec::with_capacity(self.blocks.len());
        let mut traces = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let (prepared, prepare_trace) = block.prepare_traced(x.clone(), Rows::All);
            key_values.push(prepared.projected.own.clone());
            let mut finish_trace = None;
            if !self.is_last(index) {
                let (output, trace) = block.finish_traced(prepared, None, Mask::Causal);
                finish_trace = Some(trace);
                x = output;
            }
            traces.push((prepare_trace, finish_trace));
        }
        (key_values, PrefixTrace(traces))
    }

    /// Gradient at the prefix tokens from the gradients at their keys and values.
    ///
    /// Shape: `[1, token, width]`.
    ///
    /// # Panics
    ///
    /// If the trace is of another tower.
    pub fn prefix_pullback(&self, trace: &PrefixTrace, gradients: Vec<KeyValue>) -> Tensor<3> {
        let mut gradient: Option<Tensor<3>> = None;
        let steps = self.blocks.iter().zip(&trace.0).zip(gradients);
        for ((block, (prepare_trace, finish_trace)), key_value) in steps.rev() {
            gradient = Some(match (gradient, finish_trace) {
                (Some(gradient), Some(finish_trace)) => {
                    let mut prepared = block.finish_pullback(finish_trace, gradient).prepared;
                    let own = prepared.projected.own;
                    prepared.projected.own = own + key_value.with_dtype(self.dtype());
                    block.prepare_pullback(prepare_trace, prepared).input
                }
                _ => block.key_value_pullback(prepare_trace, key_value.with_dtype(self.dtype())),
            });
        }
        gradient.expect("a tower has blocks")
    }

    /// Embeddings of texts, not normalised, each at its end.
    ///
    /// `ends` has 1 at the end of each text and 0 elsewhere; `None` means the last token of all.
    /// Shapes: tokens `[text, token, width]`, ends `[text, token, 1]`, result `[text, embed]`.
    pub fn suffix(
        &self,
        tokens: Tensor<3>,
        prefix: &[KeyValue],
        ends: Option<&Tensor<3>>,
    ) -> Tensor<2> {
        let mut x = tokens;
        for (index, (block, prefix)) in self.blocks.iter().zip(prefix).enumerate() {
            let (rows, mask) = self.suffix_rows(index, x.dims()[1], ends);
            let prepared = block.prepare(x, rows);
            x = block.finish(prepared, Some(prefix.clone()), mask);
        }
        let x = at_ends(x, ends);
        in_single(self.projection.forward(self.ln_final.forward(x)).squeeze_dim(1))
    }

    /// [`TextTower::suffix`], keeping what the pullback needs.
    pub fn suffix_traced(
        &self,
        tokens: Tensor<3>,
        prefix: &[KeyValue],
        ends: Option<Tensor<3>>,
    ) -> (Tensor<2>, SuffixTrace) {
        let mut x = tokens;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (index, (block, prefix)) in self.blocks.iter().zip(prefix).enumerate() {
            let (rows, mask) = self.suffix_rows(index, x.dims()[1], ends.as_ref());
            let (prepared, prepare_trace) = block.prepare_traced(x, rows);
            let (output, finish_trace) = block.finish_traced(prepared, Some(prefix.clone()), mask);
            blocks.push((prepare_trace, finish_trace));
            x = output;
        }
        let x = at_ends(x, ends.as_ref());
        let (normalized, ln_final) = self.ln_final.forward_traced(x);
        let embeddings = in_single(self.projection.forward(normalized).squeeze_dim(1));
        (embeddings, SuffixTrace { blocks, ends, ln_final })
    }

    /// Gradients at prefix and tokens from the gradient at the embeddings `[text, embed]`.
    ///
    /// # Panics
    ///
    /// If the trace is of a pass without a prefix.
    pub fn suffix_pullback(&self, trace: &SuffixTrace, gradient: Tensor<2>) -> SuffixGradient {
        let gradient = pull_through(&self.projection, gradient.unsqueeze_dim(1));
        let mut gradient = self.ln_final.pullback(&trace.ln_final, gradient);
        if let Some(ends) = &trace.ends {
            gradient = to_dtype(in_single(gradient) * ends.clone(), self.dtype());
        }
        let mut prefix = Vec::with_capacity(self.blocks.len());
        for (block, (prepare_trace, finish_trace)) in self.blocks.iter().zip(&trace.blocks).rev() {
            let FinishGradient { prepared, extra, .. } =
                block.finish_pullback(finish_trace, gradient);
            prefix.push(extra.expect("suffixes attend to a prefix").sum_batch());
            gradient = block.prepare_pullback(prepare_trace, prepared).input;
        }
        prefix.reverse();
        SuffixGradient { prefix, tokens: gradient }
    }

    /// Type of the linear layers.
    pub(crate) fn dtype(&self) -> DType {
        self.projection.weight.val().dtype()
    }

    /// The tower with linear layers of another type.
    pub(crate) fn with_dtype(self, dtype: DType) -> Self {
        Self {
            blocks: self.blocks.into_iter().map(|block| block.with_dtype(dtype)).collect(),
            projection: cast(self.projection, dtype),
            ..self
        }
    }

    fn is_last(&self, index: usize) -> bool {
        index + 1 == self.blocks.len()
    }

    /// Of the last block only the end of the text is read; it sees every token.
    fn suffix_rows(&self, index: usize, length: usize, ends: Option<&Tensor<3>>) -> (Rows, Mask) {
        if self.is_last(index) && ends.is_none() {
            (Rows::Only(length - 1), Mask::None)
        } else {
            (Rows::All, Mask::Causal)
        }
    }
}

/// The token at each text's end. Shapes: `[text, token, width] -> [text, 1, width]`.
fn at_ends(x: Tensor<3>, ends: Option<&Tensor<3>>) -> Tensor<3> {
    let Some(ends) = ends else { return x };
    let dtype = x.dtype();
    to_dtype(in_single(x) * ends.clone(), dtype).sum_dim(1)
}
