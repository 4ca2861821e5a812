//! Attention of all heads, reading and writing heads where they lie in `[batch, token, width]`.

use burn::tensor::Tensor;
use multiversion::multiversion;

use super::matrix::{Matrix, MatrixMut, Update, multiply};
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
        let [query, key, value, output_gradient] =
            [(query, queries), (key, keys), (value, keys), (gradient, queries)]
                .map(|(values, rows)| Matrix::strided(values, [rows, head_width], width));
        let of_scores = [queries, keys];
        let plain = Update::Replace { factor: 1.0 };
        let scaled = Update::Replace { factor: scale };
        let at_value = MatrixMut::strided(&mut at_value[of_keys..], width);
        let transposed = Matrix::new(probabilities, of_scores).transposed();
        multiply(at_value, plain, transposed, output_gradient);
        let at_scores = MatrixMut::strided(&mut scores, keys);
        multiply(at_scores, plain, output_gradient, value.transposed());
        let layout = HeadLayout { queries, keys, width, head_width };
        score_gradients(layout, output, gradient, probabilities, &mut scores);
        let at_scores = Matrix::new(&scores, of_scores);
        multiply(MatrixMut::strided(&mut at_query[of_queries..], width), scaled, at_scores, key);
        let at_key = MatrixMut::strided(&mut at_key[of_keys..], width);
        multiply(at_key, scaled, at_scores.transposed(), query);
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
            let key = Matrix::strided(key, [keys, head_width], width).transposed();
            let query = Matrix::strided(query, [queries, head_width], width);
            let plain = Update::Replace { factor: 1.0 };
            multiply(MatrixMut::strided(scores, keys), plain, query, key);
        } else {
            few_scores(HeadLayout { queries, keys, width, head_width }, query, key, scores);
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
            let probabilities = Matrix::new(probabilities, [queries, keys]);
            let value = Matrix::strided(value, [keys, head_width], width);
            let plain = Update::Replace { factor: 1.0 };
            multiply(MatrixMut::strided(output, width), plain, probabilities, value);
        } else {
            let layout = HeadLayout { queries, keys, width, head_width };
            few_averages(layout, probabilities, value, output);
        }
    }
}

/// How the rows of one head lie: `queries` and `keys` rows of `head_width` values, `width` apart;
/// scores and probabilities have `keys` values per row.
#[derive(Clone, Copy)]
struct HeadLayout {
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
fn few_scores(layout: HeadLayout, query: &[f32], key: &[f32], scores: &mut [f32]) {
    for (row, scores) in scores.chunks_exact_mut(layout.keys).enumerate() {
        let query = &query[row * layout.width..][..layout.head_width];
        for (score, key) in scores.iter_mut().zip(key.chunks(layout.width)) {
            *score = dot(query, &key[..layout.head_width]);
        }
    }
}

/// The values' averages for few queries, added to the output.
#[multiversion(targets = "simd")]
fn few_averages(layout: HeadLayout, probabilities: &[f32], value: &[f32], output: &mut [f32]) {
    for (row, probabilities) in probabilities.chunks_exact(layout.keys).enumerate() {
        let output = &mut output[row * layout.width..][..layout.head_width];
        for (probability, value) in probabilities.iter().zip(value.chunks(layout.width)) {
            add_scaled(output, *probability, &value[..layout.head_width]);
        }
    }
}

/// Turns `do v^T` into the gradients at the scores: `p (do v^T - sum(o do))`.
#[multiversion(targets = "simd")]
fn score_gradients(
    layout: HeadLayout,
    output: &[f32],
    gradient: &[f32],
    probabilities: &[f32],
    scores: &mut [f32],
) {
    for (row, scores) in scores.chunks_exact_mut(layout.keys).take(layout.queries).enumerate() {
        let own = row * layout.width..row * layout.width + layout.head_width;
        let total = dot(&output[own.clone()], &gradient[own]);
        let probabilities = &probabilities[row * layout.keys..(row + 1) * layout.keys];
        for (score, probability) in scores.iter_mut().zip(probabilities) {
            *score = probability * (*score - total);
        }
    }
}
