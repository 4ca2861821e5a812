//! Multi-head attention whose keys and values may be extended by tokens from elsewhere.
//!
//! Two uses need that: MINT inserts one key token and one value token that no query belongs to,
//! and class prompts attend to the keys and values of a prefix that all classes share.
//!
//! The projection after the heads is left to the block, which adds it to the residual stream.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Tensor};

use crate::kernels::{self, AttentionShape};
use crate::linear::{apply, cast, pull_through};
use crate::precision::{in_single, to_dtype};

/// The four projections of an attention layer.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[width] -> [width]`
    pub query: Linear,
    /// `[width] -> [width]`
    pub key: Linear,
    /// `[width] -> [width]`
    pub value: Linear,
    /// `[width] -> [width]`
    pub output: Linear,
    /// Number of heads.
    pub heads: usize,
}

/// Keys and values; each head has its part of the width. Shapes: `[batch, token, width]`.
#[derive(Debug, Clone)]
pub struct KeyValue {
    /// What queries are compared with.
    pub key: Tensor<3>,
    /// What attention averages.
    pub value: Tensor<3>,
}

/// Queries, keys and values of some tokens.
#[derive(Debug, Clone)]
pub struct Projected {
    /// Shape: `[batch, query token, width]`.
    pub query: Tensor<3>,
    /// Keys and values of all tokens.
    pub own: KeyValue,
}

/// Which of the keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All keys.
    None,
    /// The extra keys, and the own keys up to the query's position.
    Causal,
}

/// What the pullback of [`Attention::attend`] needs.
#[derive(Debug, Clone)]
pub struct AttentionTrace {
    query: Tensor<3>,
    own: KeyValue,
    /// As they were given: a batch of 1 is not repeated, which saves much memory where all classes
    /// share a prefix.
    extra: Option<KeyValue>,
    /// Shape: `[batch, head, query token, key token]`.
    probabilities: Tensor<4>,
    /// Output of all heads. Shape: `[batch, query token, width]`.
    output: Tensor<3>,
}

/// Gradients at queries, keys and values.
#[derive(Debug, Clone)]
pub struct AttentionGradient {
    /// At the queries.
    pub query: Tensor<3>,
    /// At the own keys and values.
    pub own: KeyValue,
    /// At the extra keys and values, if there were any.
    pub extra: Option<KeyValue>,
}

impl Attention {
    /// Keys and values of all `tokens`, and the queries of `query_tokens`.
    ///
    /// Shapes: `[batch, token, width]`, `[batch, query token, width]`.
    pub fn project(&self, query_tokens: Tensor<3>, tokens: Tensor<3>) -> Projected {
        Projected {
            query: apply(&self.query, query_tokens),
            own: self.key_value(tokens.clone(), tokens),
        }
    }

    /// Keys of some tokens and values of others. Shapes: `[batch, token, width]`.
    pub fn key_value(&self, key_tokens: Tensor<3>, value_tokens: Tensor<3>) -> KeyValue {
        KeyValue { key: apply(&self.key, key_tokens), value: apply(&self.value, value_tokens) }
    }

    /// `softmax(q k^T / sqrt(head width)) v` of all heads, before the output's projection.
    ///
    /// Shape: `[batch, query token, width]`.
    pub fn attend(&self, projected: Projected, extra: Option<KeyValue>, mask: Mask) -> Tensor<3> {
        let Projected { query, own } = projected;
        let shape = self.shape(&extra, mask);
        let all = own.after(extra);
        kernels::attend(&query, &all.key, &all.value, shape).unwrap_or_else(|| {
            let probabilities = self.probabilities(query, all.key, shape);
            merge_heads(probabilities.matmul(self.split_heads(all.value)))
        })
    }

    /// [`Attention::attend`], keeping what the pullback needs.
    pub fn attend_traced(
        &self,
        projected: Projected,
        extra: Option<KeyValue>,
        mask: Mask,
    ) -> (Tensor<3>, AttentionTrace) {
        let Projected { query, own } = projected;
        let shape = self.shape(&extra, mask);
        let all = own.clone().after(extra.clone());
        let traced = kernels::attend_traced(&query, &all.key, &all.value, shape);
        let (output, probabilities) = traced.unwrap_or_else(|| {
            let probabilities = self.probabilities(query.clone(), all.key.clone(), shape);
            let heads = probabilities.clone().matmul(self.split_heads(all.value.clone()));
            (merge_heads(heads), probabilities)
        });
        (output.clone(), AttentionTrace { query, own, extra, probabilities, output })
    }

    /// Gradients at queries, keys and values from the gradient at the output of
    /// [`Attention::attend_traced`], shape `[batch, query token, width]`.
    pub fn attend_pullback(
        &self,
        trace: &AttentionTrace,
        gradient: Tensor<3>,
    ) -> AttentionGradient {
        let AttentionTrace { query, own, extra, probabilities, output } = trace;
        let all = own.clone().after(extra.clone());
        let operands = [query, &all.key, &all.value];
        let fused =
            kernels::attend_pullback(operands, probabilities, output, &gradient, self.heads);
        let [query, key, value] =
            fused.unwrap_or_else(|| self.attend_pullback_plainly(trace, all, gradient));
        let n_extra = extra.as_ref().map_or(0, |extra| extra.key.dims()[1]);
        let (extra, own) = KeyValue { key, value }.split(n_extra);
        AttentionGradient { query, own, extra }
    }

    /// The gradients at the scores before their scaling are `p * (dp - sum(dp * p)) * scale`,
    /// where the sum over all keys is that over the head's output times its gradient.
    fn attend_pullback_plainly(
        &self,
        trace: &AttentionTrace,
        all: KeyValue,
        gradient: Tensor<3>,
    ) -> [Tensor<3>; 3] {
        let AttentionTrace { query, probabilities, output, .. } = trace.clone();
        let [query, key, all_values, output, gradient] =
            [query, all.key, all.value, output, gradient].map(|x| self.split_heads(x));
        let value = probabilities.clone().transpose().matmul(gradient.clone());
        let dtype = query.dtype();
        let total = in_single(output * gradient.clone()).sum_dim(3);
        let at_probabilities = in_single(gradient.matmul(all_values.transpose()));
        let scores = in_single(probabilities) * (at_probabilities - total) * score_scale(&query);
        let scores = to_dtype(scores, dtype);
        let at_key = scores.clone().transpose().matmul(query);
        [scores.matmul(key), at_key, value].map(merge_heads)
    }

    /// Gradient at `tokens` of [`Attention::key_value`] for keys, and the same for values.
    ///
    /// Shapes: `[batch, token, width]` each.
    pub fn key_value_pullback(&self, gradient: KeyValue) -> (Tensor<3>, Tensor<3>) {
        (pull_through(&self.key, gradient.key), pull_through(&self.value, gradient.value))
    }

    /// Gradient at the query tokens of [`Attention::project`].
    pub fn query_pullback(&self, gradient: Tensor<3>) -> Tensor<3> {
        pull_through(&self.query, gradient)
    }

    pub(crate) fn with_dtype(self, dtype: DType) -> Self {
        Self {
            query: cast(self.query, dtype),
            key: cast(self.key, dtype),
            value: cast(self.value, dtype),
            output: cast(self.output, dtype),
            heads: self.heads,
        }
    }

    fn shape(&self, extra: &Option<KeyValue>, mask: Mask) -> AttentionShape {
        let n_extra = extra.as_ref().map_or(0, |extra| extra.key.dims()[1]);
        let causal_after = (mask == Mask::Causal).then_some(n_extra);
        AttentionShape { heads: self.heads, causal_after }
    }

    /// Shape: `[batch, head, query token, key token]`.
    fn probabilities(&self, query: Tensor<3>, key: Tensor<3>, shape: AttentionShape) -> Tensor<4> {
        let (query, key) = (self.split_heads(query), self.split_heads(key));
        let (scale, dtype) = (score_scale(&query), query.dtype());
        let mut scores = in_single(query.matmul(key.transpose())) * scale;
        if let Some(n_extra) = shape.causal_after {
            scores = mask_later_keys(scores, n_extra);
        }
        to_dtype(softmax(scores, 3), dtype)
    }

    /// `[batch, token, width] -> [batch, head, token, head width]`
    fn split_heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
    }
}

impl KeyValue {
    /// Puts `extra` before these keys and values; an extra batch of 1 is repeated.
    fn after(self, extra: Option<KeyValue>) -> KeyValue {
        let Some(extra) = extra else { return self };
        let join = |extra: Tensor<3>, own: Tensor<3>| {
            let [batch, _, width] = own.dims();
            let n_extra = extra.dims()[1];
            Tensor::cat(vec![extra.expand([batch, n_extra, width]), own], 1)
        };
        KeyValue { key: join(extra.key, self.key), value: join(extra.value, self.value) }
    }

    /// The first `n` tokens, if any, and the others.
    fn split(self, n: usize) -> (Option<KeyValue>, KeyValue) {
        if n == 0 {
            return (None, self);
        }
        let rest = self.key.dims()[1] - n;
        let part = |start, length| KeyValue {
            key: self.key.clone().narrow(1, start, length),
            value: self.value.clone().narrow(1, start, length),
        };
        (Some(part(0, n)), part(n, rest))
    }

    /// Sums over the batch axis, which stays with length 1.
    ///
    /// In single precision, since many texts may be summed.
    pub fn sum_batch(self) -> KeyValue {
        KeyValue { key: in_single(self.key).sum_dim(0), value: in_single(self.value).sum_dim(0) }
    }

    pub(crate) fn with_dtype(self, dtype: DType) -> KeyValue {
        KeyValue { key: to_dtype(self.key, dtype), value: to_dtype(self.value, dtype) }
    }
}

impl std::ops::Add for KeyValue {
    type Output = KeyValue;

    fn add(self, other: KeyValue) -> KeyValue {
        KeyValue { key: self.key + other.key, value: self.value + other.value }
    }
}

/// Factor of the scores, `1 / sqrt(head width)`. The head width is the last axis of `heads`.
fn score_scale(heads: &Tensor<4>) -> f64 {
    1.0 / (heads.dims()[3] as f64).sqrt()
}

/// Sets the scores of own keys after the query to minus infinity.
fn mask_later_keys(scores: Tensor<4>, n_extra: usize) -> Tensor<4> {
    let [batch, heads, n_queries, n_keys] = scores.dims();
    let later: Tensor<2, Bool> =
        Tensor::<2>::ones([n_queries, n_keys], &scores.device()).triu(n_extra as i64 + 1).bool();
    let later = later.unsqueeze::<4>().expand([batch, heads, n_queries, n_keys]);
    scores.mask_fill(later, f32::NEG_INFINITY)
}

/// `[batch, head, token, head width] -> [batch, token, width]`
fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, head_width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * head_width])
}
