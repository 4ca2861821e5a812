//! Multi-head attention whose keys and values may be extended by tokens from elsewhere.
//!
//! Two uses need that: MINT inserts one key token and one value token that no query belongs to,
//! and class prompts attend to the keys and values of a prefix that all classes share.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

use crate::linear::pull_through;

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

/// Keys and values, split by heads. Shapes: `[batch, head, token, head width]`.
#[derive(Debug, Clone)]
pub struct KeyValue {
    /// What queries are compared with.
    pub key: Tensor<4>,
    /// What attention averages.
    pub value: Tensor<4>,
}

/// Queries, keys and values of some tokens.
#[derive(Debug, Clone)]
pub struct Projected {
    /// Shape: `[batch, head, query token, head width]`.
    pub query: Tensor<4>,
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
    query: Tensor<4>,
    /// Extra and own keys and values together.
    all: KeyValue,
    /// Shape: `[batch, head, query token, key token]`.
    probabilities: Tensor<4>,
    /// Output of each head. Shape: `[batch, head, query token, head width]`.
    heads: Tensor<4>,
    /// Number of extra tokens, which come first.
    n_extra: usize,
}

/// Gradients at queries, keys and values.
#[derive(Debug, Clone)]
pub struct AttentionGradient {
    /// At the queries.
    pub query: Tensor<4>,
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
            query: self.split_heads(self.query.forward(query_tokens)),
            own: self.key_value(tokens.clone(), tokens),
        }
    }

    /// Keys of some tokens and values of others. Shapes: `[batch, token, width]`.
    pub fn key_value(&self, key_tokens: Tensor<3>, value_tokens: Tensor<3>) -> KeyValue {
        KeyValue {
            key: self.split_heads(self.key.forward(key_tokens)),
            value: self.split_heads(self.value.forward(value_tokens)),
        }
    }

    /// `softmax(q k^T / sqrt(head width)) v`, heads merged and projected.
    ///
    /// Shape: `[batch, query token, width]`.
    pub fn attend(&self, projected: Projected, extra: Option<KeyValue>, mask: Mask) -> Tensor<3> {
        let all = projected.own.after(extra);
        let options =
            AttentionModuleOptions { is_causal: mask == Mask::Causal, ..Default::default() };
        let heads = attention(projected.query, all.key, all.value, None, None, options);
        self.output.forward(merge_heads(heads))
    }

    /// [`Attention::attend`], keeping what the pullback needs.
    pub fn attend_traced(
        &self,
        projected: Projected,
        extra: Option<KeyValue>,
        mask: Mask,
    ) -> (Tensor<3>, AttentionTrace) {
        let Projected { query, own } = projected;
        let n_extra = extra.as_ref().map_or(0, |extra| extra.key.dims()[2]);
        let all = own.after(extra);
        let mut scores = query.clone().matmul(all.key.clone().transpose()) * score_scale(&query);
        if mask == Mask::Causal {
            scores = mask_later_keys(scores, n_extra);
        }
        let probabilities = softmax(scores, 3);
        let heads = probabilities.clone().matmul(all.value.clone());
        let output = self.output.forward(merge_heads(heads.clone()));
        (output, AttentionTrace { query, all, probabilities, heads, n_extra })
    }

    /// Gradients at queries, keys and values from the gradient at the output of
    /// [`Attention::attend_traced`], shape `[batch, query token, width]`.
    pub fn attend_pullback(
        &self,
        trace: &AttentionTrace,
        gradient: Tensor<3>,
    ) -> AttentionGradient {
        let heads_gradient = self.split_heads(pull_through(&self.output, gradient));
        let AttentionTrace { query, all, probabilities, heads, n_extra } = trace.clone();
        let value = probabilities.clone().transpose().matmul(heads_gradient.clone());
        let scores = score_gradient(probabilities, all.value, heads, heads_gradient);
        let all_gradient = KeyValue { key: scores.clone().transpose().matmul(query), value };
        let (extra, own) = all_gradient.split(n_extra);
        AttentionGradient { query: scores.matmul(all.key), own, extra }
    }

    /// The part of [`Attention::attend_pullback`] that concerns the extra keys and values alone.
    pub fn attend_pullback_extra(&self, trace: &AttentionTrace, gradient: Tensor<3>) -> KeyValue {
        let heads_gradient = self.split_heads(pull_through(&self.output, gradient));
        let AttentionTrace { query, all, probabilities, heads, n_extra } = trace.clone();
        let probabilities = probabilities.narrow(3, 0, n_extra);
        let values = all.value.narrow(2, 0, n_extra);
        let value = probabilities.clone().transpose().matmul(heads_gradient.clone());
        let scores = score_gradient(probabilities, values, heads, heads_gradient);
        KeyValue { key: scores.transpose().matmul(query), value }
    }

    /// Gradient at `tokens` of [`Attention::key_value`] for keys, and the same for values.
    ///
    /// Shapes: `[batch, token, width]` each.
    pub fn key_value_pullback(&self, gradient: KeyValue) -> (Tensor<3>, Tensor<3>) {
        (
            pull_through(&self.key, merge_heads(gradient.key)),
            pull_through(&self.value, merge_heads(gradient.value)),
        )
    }

    /// `[batch, token, width] -> [batch, head, token, head width]`
    fn split_heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    /// Gradient at the query tokens of [`Attention::project`].
    pub fn query_pullback(&self, gradient: Tensor<4>) -> Tensor<3> {
        pull_through(&self.query, merge_heads(gradient))
    }
}

impl KeyValue {
    /// Puts `extra` before these keys and values; an extra batch of 1 is repeated.
    fn after(self, extra: Option<KeyValue>) -> KeyValue {
        let Some(extra) = extra else { return self };
        let join = |extra: Tensor<4>, own: Tensor<4>| {
            let [batch, heads, _, head_width] = own.dims();
            let n_extra = extra.dims()[2];
            Tensor::cat(vec![extra.expand([batch, heads, n_extra, head_width]), own], 2)
        };
        KeyValue { key: join(extra.key, self.key), value: join(extra.value, self.value) }
    }

    /// The first `n` tokens, if any, and the others.
    fn split(self, n: usize) -> (Option<KeyValue>, KeyValue) {
        if n == 0 {
            return (None, self);
        }
        let rest = self.key.dims()[2] - n;
        let part = |start, length| KeyValue {
            key: self.key.clone().narrow(2, start, length),
            value: self.value.clone().narrow(2, start, length),
        };
        (Some(part(0, n)), part(n, rest))
    }

    /// Sums over the batch axis, which stays with length 1.
    pub fn sum_batch(self) -> KeyValue {
        KeyValue { key: self.key.sum_dim(0), value: self.value.sum_dim(0) }
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

/// Gradient at the scores before their scaling: `p * (dp - sum(dp * p)) * scale`.
///
/// The sum over all keys equals the sum over the head's output times its gradient, so it is
/// right also where `probabilities` holds only some of the keys.
fn score_gradient(
    probabilities: Tensor<4>,
    values: Tensor<4>,
    heads: Tensor<4>,
    heads_gradient: Tensor<4>,
) -> Tensor<4> {
    let scale = score_scale(&heads);
    let total = (heads * heads_gradient.clone()).sum_dim(3);
    let gradient = heads_gradient.matmul(values.transpose());
    probabilities * (gradient - total) * scale
}

/// Sets the scores of own keys behind the query to minus infinity.
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
