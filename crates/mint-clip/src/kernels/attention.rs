//! Attention of all heads, reading and writing heads where they lie in `[batch, token, width]`.

use burn::tensor::Tensor;
use multiversion::multiversion;

use super::linear::{Matrix, multiply, row_major};
use super::vector::{add_scaled, dot, softmax};
use super::{CpuTensor, tensor};

/// Number of heads, and which keys a query sees.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Number of heads.
    pub heads: usize,
    /// If set, query `i` sees this many keys and the `i + 1` after them; otherwise all.
    pub causal_after: Option<usize>,
}

/// Queries, keys and values on the CPU, with their dimensions.
struct Operands {
    query: CpuTensor,
    key: CpuTensor,
    value: CpuTensor,
    batch: usize,
    queries: usize,
    keys: usize,
    width: usize,
    head_width: usize,
    shape: AttentionShape,
}

/// Below this many queries, loops over dot products beat matrix products.
const FEW_QUERIES: usize = 24;

/// `softmax(q k^T / sqrt(head width)) v`. Shapes: query `[batch, query token, width]`, key and
/// value `[batch, token, width]`, result that of the query.
pub fn attend(
    query: &Tensor<3>,
    key: &Tensor<3>,
    value: &Tensor<3>,
    shape: AttentionShape,
) -> Option<Tensor<3>> {
    let operands = Operands::new(query, key, value, shape)?;
    let mut scores = vec![0.0; operands.queries * operands.keys];
    let mut output = vec![0.0; operands.batch * operands.queries * operands.width];
    operands.for_each_head(|batch, head| {
        operands.probabilities(batch, head, &mut scores);
        operands.average(batch, head, &scores, &mut output);
    });
    Some(tensor(output, query.dims()))
}

/// [`attend`], with the probabilities `[batch, head, query token, token]`.
pub fn attend_traced(
    query: &Tensor<3>,
    key: &Tensor<3>,
    value: &Tensor<3>,
    shape: AttentionShape,
) -> Option<(Tensor<3>, Tensor<4>)> {
    let operands = Operands::new(query, key, value, shape)?;
    let Operands { batch, queries, keys, width, .. } = operands;
    let of_head = queries * keys;
    let mut probabilities = vec![0.0; batch * shape.heads * of_head];
    let mut output = vec![0.0; batch * queries * width];
    operands.for_each_head(|batch, head| {
        let start = (batch * shape.heads + head) * of_head;
        let scores = &mut probabilities[start..start + of_head];
        operands.probabilities(batch, head, scores);
        operands.average(batch, head, scores, &mut output);
    });
    let probabilities = tensor(probabilities, [batch, shape.heads, queries, keys]);
    Some((tensor(output, query.dims()), probabilities))
}

/// Gradients at queries, keys and values, from the probabilities and the output of
/// [`attend_traced`] and the gradient at that output.
///
/// With `s = q k^T / sqrt(head width)`, `p = softmax(s)` and `o = p v`: `dv = p^T do`,
/// `ds = p (do v^T - sum(o do))`, `dq = ds k / sqrt(head width)`, `dk = ds^T q / sqrt(head width)`.
pub fn attend_pullback(
    [query, key, value]: [&Tensor<3>; 3],
    probabilities: &Tensor<4>,
    output: &Tensor<3>,
    gradient: &Tensor<3>,
    heads: usize,
) -> Option<[Tensor<3>; 3]> {
    let shape = AttentionShape { heads, causal_after: None };
    let operands = Operands::new(query, key, value, shape)?;
    let Operands { queries, keys, width, head_width, .. } = operands;
    let probabilities = CpuTensor::new(probabilities.clone())?;
    let (output, gradient) = (CpuTensor::new(output.clone())?, CpuTensor::new(gradient.clone())?);
    let mut at_query = vec![0.0; operands.query.values().len()];
    let mut at_key = vec![0.0; operands.key.values().len()];
    let mut at_value = vec![0.0; operands.key.values().len()];
    let mut scores = vec![0.0; queries * keys];
    let scale = operands.scale();
    operands.for_each_head(|batch, head| {
        let (of_queries, of_keys) = operands.starts(batch, head);
        let start = (batch * heads + head) * queries * keys;
        let probabilities = &probabilities.values()[start..start + queries * keys];
        let gradient = &gradient.values()[of_queries..];
        let output = &output.values()[of_queries..];
        let [query, key, value] = [
            &operands.query.values()[of_queries..],
            &operands.key.values()[of_keys..],
            &operands.value.values()[of_keys..],
        ];
        let across = |values| row_major(values, width);
        let transposed = |values, columns| Matrix { values, row_stride: 1, column_stride: columns };
        // SAFETY: the targets hold `keys` or `queries` rows of `head_width` values that are
        // `width` apart, from the head's start on; the scores hold `queries` rows of `keys`.
        unsafe {
            multiply(
                [keys, queries, head_width],
                transposed(probabilities, keys),
                across(gradient),
                at_value[of_keys..].as_mut_ptr(),
                width,
                0.0,
                1.0,
            );
            multiply(
                [queries, head_width, keys],
                across(gradient),
                transposed(value, width),
                scores.as_mut_ptr(),
                keys,
                0.0,
                1.0,
            );
        }
        let rows = Rows { queries, keys, width, head_width };
        score_gradients(rows, output, gradient, probabilities, &mut scores);
        // SAFETY: as above.
        unsafe {
            multiply(
                [queries, keys, head_width],
                row_major(&scores, keys),
                across(key),
                at_query[of_queries..].as_mut_ptr(),
                width,
                0.0,
                scale,
            );
            multiply(
                [keys, queries, head_width],
                transposed(&scores, keys),
                across(query),
                at_key[of_keys..].as_mut_ptr(),
                width,
                0.0,
                scale,
            );
        }
    });
    Some([
        tensor(at_query, query.dims()),
        tensor(at_key, key.dims()),
        tensor(at_value, value.dims()),
    ])
}

impl Operands {
    fn new(
        query: &Tensor<3>,
        key: &Tensor<3>,
        value: &Tensor<3>,
        shape: AttentionShape,
    ) -> Option<Self> {
        let [batch, queries, width] = query.dims();
        let keys = key.dims()[1];
        assert_eq!([key.dims(), value.dims()], [[batch, keys, width]; 2], "keys and values");
        Some(Self {
            query: CpuTensor::new(query.clone())?,
            key: CpuTensor::new(key.clone())?,
            value: CpuTensor::new(value.clone())?,
            batch,
            queries,
            keys,
            width,
            head_width: width / shape.heads,
            shape,
        })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    fn for_each_head(&self, mut work: impl FnMut(usize, usize)) {
        for batch in 0..self.batch {
            for head in 0..self.shape.heads {
                work(batch, head);
            }
        }
    }

    /// Where the first query and the first key of a head lie.
    fn starts(&self, batch: usize, head: usize) -> (usize, usize) {
        let column = head * self.head_width;
        (batch * self.queries * self.width + column, batch * self.keys * self.width + column)
    }

    /// Number of keys that a query sees.
    fn seen(&self, query: usize) -> usize {
        self.shape.causal_after.map_or(self.keys, |before| (before + query + 1).min(self.keys))
    }

    /// Softmax of the scores of one head, zero where a query does not see a key.
    fn probabilities(&self, batch: usize, head: usize, scores: &mut [f32]) {
        let &Self { queries, keys, width, head_width, .. } = self;
        let (of_queries, of_keys) = self.starts(batch, head);
        let (query, key) = (&self.query.values()[of_queries..], &self.key.values()[of_keys..]);
        let scale = self.scale();
        if queries > FEW_QUERIES {
            let transposed = Matrix { values: key, row_stride: 1, column_stride: width };
            // SAFETY: the scores hold `queries` rows of `keys` values.
            unsafe {
                multiply(
                    [queries, head_width, keys],
                    row_major(query, width),
                    transposed,
                    scores.as_mut_ptr(),
                    keys,
                    0.0,
                    1.0,
                );
            }
        }
        let rows = Rows { queries, keys, width, head_width };
        if queries <= FEW_QUERIES {
            few_scores(rows, query, key, scores);
        }
        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let (seen, hidden) = scores.split_at_mut(self.seen(row));
            softmax_row(seen, scale);
            hidden.fill(0.0);
        }
    }

    /// The values' average by the probabilities, into the head's place of the output.
    fn average(&self, batch: usize, head: usize, probabilities: &[f32], output: &mut [f32]) {
        let &Self { queries, keys, width, head_width, .. } = self;
        let (of_queries, of_keys) = self.starts(batch, head);
        let value = &self.value.values()[of_keys..];
        let output = &mut output[of_queries..];
        if queries > FEW_QUERIES {
            // SAFETY: the output holds `queries` rows of `head_width` values that are `width`
            // apart.
            unsafe {
                multiply(
                    [queries, keys, head_width],
                    row_major(probabilities, keys),
                    row_major(value, width),
                    output.as_mut_ptr(),
                    width,
                    0.0,
                    1.0,
                );
            }
            return;
        }
        few_averages(Rows { queries, keys, width, head_width }, probabilities, value, output);
    }
}

/// How the rows of one head lie: `queries` and `keys` rows of `head_width` values, `width` apart;
/// scores and probabilities have `keys` values a row.
#[derive(Clone, Copy)]
struct Rows {
    queries: usize,
    keys: usize,
    width: usize,
    head_width: usize,
}

#[multiversion(targets = "simd")]
fn softmax_row(row: &mut [f32], scale: f32) {
    softmax(row, scale);
}

/// Scores of all keys for few queries.
#[multiversion(targets = "simd")]
fn few_scores(rows: Rows, query: &[f32], key: &[f32], scores: &mut [f32]) {
    for (row, scores) in scores.chunks_exact_mut(rows.keys).enumerate() {
        let query = &query[row * rows.width..][..rows.head_width];
        for (score, key) in scores.iter_mut().zip(key.chunks(rows.width)) {
            *score = dot(query, &key[..rows.head_width]);
        }
    }
}

/// The values' averages for few queries, added to the output.
#[multiversion(targets = "simd")]
fn few_averages(rows: Rows, probabilities: &[f32], value: &[f32], output: &mut [f32]) {
    for (row, probabilities) in probabilities.chunks_exact(rows.keys).enumerate() {
        let output = &mut output[row * rows.width..][..rows.head_width];
        for (probability, value) in probabilities.iter().zip(value.chunks(rows.width)) {
            add_scaled(output, *probability, &value[..rows.head_width]);
        }
    }
}

/// Turns `do v^T` into the gradients at the scores: `p (do v^T - sum(o do))`.
#[multiversion(targets = "simd")]
fn score_gradients(
    rows: Rows,
    output: &[f32],
    gradient: &[f32],
    probabilities: &[f32],
    scores: &mut [f32],
) {
    for (row, scores) in scores.chunks_exact_mut(rows.keys).take(rows.queries).enumerate() {
        let own = row * rows.width..row * rows.width + rows.head_width;
        let total = dot(&output[own.clone()], &gradient[own]);
        let probabilities = &probabilities[row * rows.keys..(row + 1) * rows.keys];
        for (score, probability) in scores.iter_mut().zip(probabilities) {
            *score = probability * (*score - total);
        }
    }
}
