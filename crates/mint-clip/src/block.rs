//! One residual attention block of a frozen tower.
//!
//! A block is run in two halves, because the first half depends on the block's input alone:
//! [`Block::prepare`] returns queries, keys and values, [`Block::finish`] the output. MINT runs the
//! second half twice, with and without its extra tokens, and the first half once.
//!
//! Towers are frozen, so a backward pass needs the gradient at a block's input and never at its
//! weights. The `*_traced` functions keep just what that takes, and the `*_pullback` functions
//! compute the vector-Jacobian product. A trace can be pulled back any number of times.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{DType, Int, Tensor};

use crate::attention::{Attention, AttentionTrace, KeyValue, Mask, Projected};
use crate::config::Activation;
use crate::linear::{apply, apply_activated, apply_added, cast, pull_through};
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
        self.map(|x| x.narrow(0, start, length))
    }

    /// Some members of the batch, in the given order.
    pub fn select(&self, indices: Tensor<1, Int>) -> Self {
        self.map(|x| x.select(0, indices.clone()))
    }

    /// Joins batches.
    pub fn cat(parts: &[Self]) -> Self {
        let join = |field: fn(&Self) -> &Tensor<3>| {
            Tensor::cat(parts.iter().map(|part| field(part).clone()).collect(), 0)
        };
        Self {
            residual: join(|part| &part.residual),
            projected: Projected {
                query: join(|part| &part.projected.query),
                own: KeyValue {
                    key: join(|part| &part.projected.own.key),
                    value: join(|part| &part.projected.own.value),
                },
            },
        }
    }

    fn map(&self, change: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        let Self { residual, projected: Projected { query, own } } = self.clone();
        let own = KeyValue { key: change(own.key), value: change(own.value) };
        Self { residual: change(residual), projected: Projected { query: change(query), own } }
    }
}

/// What [`Block::prepare_pullback`] needs.
#[derive(Debug, Clone)]
pub struct PrepareTrace {
    pub(crate) ln_1: NormTrace,
    rows: Rows,
    tokens: usize,
}

/// What [`Block::finish_pullback`] needs.
#[derive(Debug, Clone)]
pub struct FinishTrace {
    attention: AttentionTrace,
    pub(crate) ln_2: NormTrace,
    /// Before the activation. Shape: `[batch, row, 4 width]`.
    hidden: Tensor<3>,
}

/// Gradients of the first half of a block.
#[derive(Debug)]
pub struct PrepareGradient {
    /// At the block's input. Shape: `[batch, token, width]`.
    pub input: Tensor<3>,
    /// At the output of `ln_1`. Shape: `[batch, token, width]`.
    pub after_ln_1: Tensor<3>,
}

/// Gradients of the second half of a block.
#[derive(Debug)]
pub struct FinishGradient {
    /// At the prepared input.
    pub prepared: Prepared,
    /// At the extra tokens, if there were any.
    pub extra: Option<KeyValue>,
    /// At the output of `ln_2`. Shape: `[batch, row, width]`.
    pub after_ln_2: Tensor<3>,
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

    /// Gradients of [`Block::prepare`] from the gradient at its result.
    pub fn prepare_pullback(&self, trace: &PrepareTrace, gradient: Prepared) -> PrepareGradient {
        let Prepared { residual, projected } = gradient;
        let residual = trace.rows.spread(residual, trace.tokens);
        let query_tokens = self.attention.query_pullback(projected.query);
        let (key_tokens, value_tokens) = self.attention.key_value_pullback(projected.own);
        let after_ln_1 = trace.rows.spread(query_tokens, trace.tokens) + key_tokens + value_tokens;
        let input = residual + self.ln_1.pullback(&trace.ln_1, after_ln_1.clone());
        PrepareGradient { input, after_ln_1 }
    }

    /// Gradient at a block's input where only its keys and values were used.
    pub fn key_value_pullback(&self, trace: &PrepareTrace, gradient: KeyValue) -> Tensor<3> {
        let (key_tokens, value_tokens) = self.attention.key_value_pullback(gradient);
        self.ln_1.pullback(&trace.ln_1, key_tokens + value_tokens)
    }

    /// Gradients of [`Block::finish`] from the gradient at its output `[batch, row, width]`.
    pub fn finish_pullback(&self, trace: &FinishTrace, gradient: Tensor<3>) -> FinishGradient {
        let activated = pull_through(&self.mlp_out, gradient.clone());
        let hidden = self.activation.pullback(&trace.hidden, activated);
        let after_ln_2 = pull_through(&self.mlp_in, hidden);
        let residual = gradient + self.ln_2.pullback(&trace.ln_2, after_ln_2.clone());
        let heads = pull_through(&self.attention.output, residual.clone());
        let attention = self.attention.attend_pullback(&trace.attention, heads);
        let projected = Projected { query: attention.query, own: attention.own };
        let prepared = Prepared { residual, projected };
        FinishGradient { prepared, extra: attention.extra, after_ln_2 }
    }

    /// The block with linear layers of another type.
    pub(crate) fn with_dtype(self, dtype: DType) -> Self {
        Self {
            attention: self.attention.with_dtype(dtype),
            mlp_in: cast(self.mlp_in, dtype),
            mlp_out: cast(self.mlp_out, dtype),
            ..self
        }
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
