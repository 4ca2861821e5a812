//! One residual attention block of a frozen tower.
//!
//! A block is run in two halves, because the first half depends on the block's input alone:
//! [`Block::prepare`] gives queries, keys and values, [`Block::finish`] the output. MINT runs the
//! second half twice, with and without its extra tokens, and the first half once.
//!
//! Towers are frozen, so a backward pass needs the gradient at a block's input and never at its
//! weights. The `*_traced` functions keep just what that takes, and the `*_pullback` functions
//! compute the vector-Jacobian product. A trace can be pulled back any number of times.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::attention::{Attention, AttentionTrace, KeyValue, Mask, Projected};
use crate::config::Activation;
use crate::linear::{apply, apply_activated, apply_added, pull_through};
use crate::norm::{LayerNorm, NormTrace};

/// `x += attention(ln_1(x)); x += mlp(ln_2(x))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub ln_1: LayerNorm,
    /// Multi-head attention.
    pub attention: Attention,
    /// Before the MLP.
    pub ln_2: LayerNorm,
    /// `[width] -> [4 width]`
    pub mlp_in: Linear,
    /// `[4 width] -> [width]`
    pub mlp_out: Linear,
    /// Between the MLP's layers.
    #[module(skip)]
    pub activation: Activation,
}

/// Which tokens of a block's output are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every token.
    All,
    /// One token, for the last block of a tower whose other outputs nobody reads.
    Only(usize),
}

/// A block's input after [`Block::prepare`].
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The wanted rows of the residual stream. Shape: `[batch, row, width]`.
    pub residual: Tensor<3>,
    /// Their queries, and the keys and values of all tokens.
    pub projected: Projected,
}

impl Prepared {
    /// A range of the batch.
    pub fn narrow(&self, start: usize, length: usize) -> Self {
        let part = |x: &Tensor<3>| x.clone().narrow(0, start, length);
        Self {
            residual: self.residual.clone().narrow(0, start, length),
            projected: Projected {
                query: part(&self.projected.query),
                own: KeyValue {
                    key: part(&self.projected.own.key),
                    value: part(&self.projected.own.value),
                },
            },
        }
    }

    /// Some members of the batch, in the given order.
    pub fn select(&self, indices: Tensor<1, burn::tensor::Int>) -> Self {
        let part = |x: &Tensor<3>| x.clone().select(0, indices.clone());
        Self {
            residual: self.residual.clone().select(0, indices.clone()),
            projected: Projected {
                query: part(&self.projected.query),
                own: KeyValue {
                    key: part(&self.projected.own.key),
                    value: part(&self.projected.own.value),
                },
            },
        }
    }

    /// Joins batches.
    pub fn cat(parts: Vec<Self>) -> Self {
        let join = |field: &dyn Fn(&Self) -> Tensor<3>| {
            Tensor::cat(parts.iter().map(field).collect::<Vec<_>>(), 0)
        };
        Self {
            residual: Tensor::cat(parts.iter().map(|part| part.residual.clone()).collect(), 0),
            projected: Projected {
                query: join(&|part| part.projected.query.clone()),
                own: KeyValue {
                    key: join(&|part| part.projected.own.key.clone()),
                    value: join(&|part| part.projected.own.value.clone()),
                },
            },
        }
    }
}

/// What [`Block::prepare_pullback`] needs.
#[derive(Debug, Clone)]
pub struct PrepareTrace {
    ln_1: NormTrace,
    rows: Rows,
    tokens: usize,
}

/// What [`Block::finish_pullback`] needs.
#[derive(Debug, Clone)]
pub struct FinishTrace {
    attention: AttentionTrace,
    ln_2: NormTrace,
    /// Before the activation. Shape: `[batch, row, 4 width]`.
    hidden: Tensor<3>,
}

/// Gradient at a [`Prepared`].
#[derive(Debug, Clone)]
pub struct PreparedGradient {
    /// At the residual rows. Shape: `[batch, row, width]`.
    pub residual: Tensor<3>,
    /// At the queries. Shape: `[batch, row, width]`.
    pub query: Tensor<3>,
    /// At the own keys and values.
    pub own: KeyValue,
}

impl Block {
    /// The whole block without extra tokens. Shape: `[batch, token, width]` in, rows out.
    pub fn forward(&self, x: Tensor<3>, rows: Rows, mask: Mask) -> Tensor<3> {
        let prepared = self.prepare(x, rows);
        self.finish(prepared, None, mask)
    }

    /// LayerNorm and the projections. Shape: `[batch, token, width]`.
    pub fn prepare(&self, x: Tensor<3>, rows: Rows) -> Prepared {
        let normalized = self.ln_1.forward(x.clone());
        Prepared {
            residual: rows.of(x),
            projected: self.attention.project(rows.of(normalized.clone()), normalized),
        }
    }

    /// Attention and MLP. Shape: `[batch, row, width]`.
    pub fn finish(&self, prepared: Prepared, extra: Option<KeyValue>, mask: Mask) -> Tensor<3> {
        let Prepared { residual, projected } = prepared;
        let attended = self.attention.attend(projected, extra, mask);
        let x = apply_added(residual, &self.attention.output, attended);
        let normalized = self.ln_2.forward(x.clone());
        let activated = apply_activated(&self.mlp_in, normalized, self.activation);
        apply_added(x, &self.mlp_out, activated)
    }

    /// [`Block::prepare`], keeping what the pullback needs.
    pub fn prepare_traced(&self, x: Tensor<3>, rows: Rows) -> (Prepared, PrepareTrace) {
        let tokens = x.dims()[1];
        let (normalized, ln_1) = self.ln_1.forward_traced(x.clone());
        let projected = self.attention.project(rows.of(normalized.clone()), normalized);
        (Prepared { residual: rows.of(x), projected }, PrepareTrace { ln_1, rows, tokens })
    }

    /// [`Block::finish`], keeping what the pullback needs.
    pub fn finish_traced(
        &self,
        prepared: Prepared,
        extra: Option<KeyValue>,
        mask: Mask,
    ) -> (Tensor<3>, FinishTrace) {
        let Prepared { residual, projected } = prepared;
        let (attended, attention) = self.attention.attend_traced(projected, extra, mask);
        let x = apply_added(residual, &self.attention.output, attended);
        let (normalized, ln_2) = self.ln_2.forward_traced(x.clone());
        let hidden = apply(&self.mlp_in, normalized);
        let activated = self.activation.forward(hidden.clone());
        let output = apply_added(x, &self.mlp_out, activated);
        (output, FinishTrace { attention, ln_2, hidden })
    }

    /// Gradient at a block's input. Shape: `[batch, token, width]`.
    pub fn prepare_pullback(&self, trace: &PrepareTrace, gradient: PreparedGradient) -> Tensor<3> {
        let rows = trace.rows.spread(gradient.residual.clone(), trace.tokens);
        let normalized = self.projection_pullback(trace, gradient);
        rows + self.ln_1.pullback(&trace.ln_1, normalized)
    }

    /// Gradient behind `ln_1` from those at queries, keys and values.
    fn projection_pullback(&self, trace: &PrepareTrace, gradient: PreparedGradient) -> Tensor<3> {
        let query_tokens = self.attention.query_pullback(gradient.query);
        let (key_tokens, value_tokens) = self.attention.key_value_pullback(gradient.own);
        trace.rows.spread(query_tokens, trace.tokens) + key_tokens + value_tokens
    }

    /// [`Block::prepare_pullback`] with the gradient at `ln_1`'s gain and offset `[2, width]`.
    pub fn prepare_pullback_norm(
        &self,
        trace: &PrepareTrace,
        gradient: PreparedGradient,
    ) -> (Tensor<3>, Tensor<2>) {
        let rows = trace.rows.spread(gradient.residual.clone(), trace.tokens);
        let normalized = self.projection_pullback(trace, gradient);
        let at_norm = self.ln_1.parameter_pullback(&trace.ln_1, normalized.clone());
        (rows + self.ln_1.pullback(&trace.ln_1, normalized), at_norm)
    }

    /// Gradient at a block's input where only its keys and values were used.
    pub fn key_value_pullback(&self, trace: &PrepareTrace, gradient: KeyValue) -> Tensor<3> {
        let (key_tokens, value_tokens) = self.attention.key_value_pullback(gradient);
        self.ln_1.pullback(&trace.ln_1, key_tokens + value_tokens)
    }

    /// Gradients at the prepared input and the extra tokens, from the gradient at the output.
    pub fn finish_pullback(
        &self,
        trace: &FinishTrace,
        gradient: Tensor<3>,
    ) -> (PreparedGradient, Option<KeyValue>) {
        let residual = self.mlp_pullback(trace, gradient);
        self.attention_pullback(trace, residual)
    }

    /// [`Block::finish_pullback`] with the gradient at `ln_2`'s gain and offset `[2, width]`.
    pub fn finish_pullback_norm(
        &self,
        trace: &FinishTrace,
        gradient: Tensor<3>,
    ) -> (PreparedGradient, Tensor<2>) {
        let normalized = self.mlp_inner_pullback(trace, gradient.clone());
        let at_norm = self.ln_2.parameter_pullback(&trace.ln_2, normalized.clone());
        let residual = gradient + self.ln_2.pullback(&trace.ln_2, normalized);
        (self.attention_pullback(trace, residual).0, at_norm)
    }

    /// Gradients at the prepared input and the extra tokens, from the gradient behind the attention.
    fn attention_pullback(
        &self,
        trace: &FinishTrace,
        residual: Tensor<3>,
    ) -> (PreparedGradient, Option<KeyValue>) {
        let heads = pull_through(&self.attention.output, residual.clone());
        let attention = self.attention.attend_pullback(&trace.attention, heads);
        let prepared = PreparedGradient { residual, query: attention.query, own: attention.own };
        (prepared, attention.extra)
    }

    /// Gradient at the extra tokens alone, from the gradient at the output.
    pub fn finish_pullback_extra(&self, trace: &FinishTrace, gradient: Tensor<3>) -> KeyValue {
        let residual = self.mlp_pullback(trace, gradient);
        self.attention_pullback(trace, residual).1.expect("there were extra tokens")
    }

    /// Gradient between attention and MLP from the gradient at the output.
    fn mlp_pullback(&self, trace: &FinishTrace, gradient: Tensor<3>) -> Tensor<3> {
        let normalized = self.mlp_inner_pullback(trace, gradient.clone());
        gradient + self.ln_2.pullback(&trace.ln_2, normalized)
    }

    /// Gradient behind `ln_2` from the gradient at the output.
    fn mlp_inner_pullback(&self, trace: &FinishTrace, gradient: Tensor<3>) -> Tensor<3> {
        let activated = pull_through(&self.mlp_out, gradient);
        pull_through(&self.mlp_in, self.activation.pullback(&trace.hidden, activated))
    }
}

impl Rows {
    /// The wanted rows. Shape: `[batch, token, width] -> [batch, row, width]`.
    fn of(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Rows::All => x,
            Rows::Only(row) => x.narrow(1, row, 1),
        }
    }

    /// The opposite of [`Rows::of`], with zeros elsewhere.
    fn spread(self, x: Tensor<3>, tokens: usize) -> Tensor<3> {
        let Rows::Only(row) = self else { return x };
        let [batch, _, width] = x.dims();
        let like = (&x.device(), x.dtype());
        let zeros = |tokens| Tensor::zeros([batch, tokens, width], like);
        let parts = [zeros(row), x.clone(), zeros(tokens - row - 1)];
        Tensor::cat(parts.into_iter().filter(|part| part.dims()[1] > 0).collect(), 1)
    }
}
