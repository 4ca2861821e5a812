//! Products with the weights of frozen linear layers.

use burn::tensor::Tensor;
use gemm::Parallelism;
use multiversion::multiversion;

use super::activation::add_and_activate;
use super::{CpuTensor, tensor};
use crate::config::Activation;

/// A matrix in memory: its values, and the distance between rows and between columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// `x w + bias`. Shapes: `[batch, token, in]`, `[in, out]`, `[out]`.
pub fn linear(x: &Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Option<Tensor<3>> {
    let [batch, tokens, _] = x.dims();
    let [inner, outer] = weight.dims();
    let (x, weight) = (CpuTensor::new(x.clone())?, CpuTensor::new(weight)?);
    let rows = batch * tokens;
    let values = match bias {
        None => product(rows, inner, outer, x.values(), weight.values()),
        Some(bias) => {
            let bias = CpuTensor::new(bias)?;
            let mut values = bias.values().repeat(rows);
            accumulate(rows, inner, outer, x.values(), weight.values(), &mut values);
            values
        }
    };
    Some(tensor(values, [batch, tokens, outer]))
}

/// The activation of `x w + bias`. Shapes: those of [`linear`].
pub fn linear_activated(
    x: &Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    activation: Activation,
) -> Option<Tensor<3>> {
    if activation != Activation::QuickGelu {
        return None;
    }
    let [batch, tokens, _] = x.dims();
    let [inner, outer] = weight.dims();
    let x = CpuTensor::new(x.clone())?;
    let (weight, bias) = (CpuTensor::new(weight)?, CpuTensor::new(bias)?);
    let mut values = product(batch * tokens, inner, outer, x.values(), weight.values());
    add_and_activate(&mut values, bias.values());
    Some(tensor(values, [batch, tokens, outer]))
}

/// `residual + x w + bias`, in the residual's memory unless others share it.
///
/// Shapes: those of [`linear`], residual `[batch, token, out]`. The error gives the residual back.
#[expect(clippy::result_large_err, reason = "the error is the tensor that was given")]
pub fn linear_added(
    residual: Tensor<3>,
    x: &Tensor<3>,
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Result<Tensor<3>, Tensor<3>> {
    let shape = residual.dims();
    let [inner, outer] = weight.dims();
    let operands = (CpuTensor::new(x.clone()), CpuTensor::new(weight), CpuTensor::new(bias));
    let (Some(x), Some(weight), Some(bias)) = operands else { return Err(residual) };
    let shared = residual.clone();
    let Some(own) = CpuTensor::new(residual) else { return Err(shared) };
    drop(shared);
    let mut values = own.into_values();
    add_to_rows(&mut values, bias.values());
    let rows = values.len() / outer;
    accumulate(rows, inner, outer, x.values(), weight.values(), &mut values);
    Ok(tensor(values, shape))
}

/// The gradient at `x` of [`linear`]: `gradient w^T`. Shape: `[batch, token, out]`.
pub fn linear_pullback(weight: Tensor<2>, gradient: &Tensor<3>) -> Option<Tensor<3>> {
    let [batch, tokens, _] = gradient.dims();
    let [inner, outer] = weight.dims();
    let (weight, gradient) = (CpuTensor::new(weight)?, CpuTensor::new(gradient.clone())?);
    let rows = batch * tokens;
    let transposed = Matrix { values: weight.values(), row_stride: 1, column_stride: outer };
    let values = new_product([rows, outer, inner], row_major(gradient.values(), outer), transposed);
    Some(tensor(values, [batch, tokens, inner]))
}

#[multiversion(targets = "simd")]
fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

fn product(rows: usize, inner: usize, outer: usize, x: &[f32], weight: &[f32]) -> Vec<f32> {
    new_product([rows, inner, outer], row_major(x, inner), row_major(weight, outer))
}

fn accumulate(
    rows: usize,
    inner: usize,
    outer: usize,
    x: &[f32],
    weight: &[f32],
    values: &mut [f32],
) {
    assert_eq!(values.len(), rows * outer, "the sum has the product's shape");
    let (x, weight) = (row_major(x, inner), row_major(weight, outer));
    // SAFETY: `values` holds `rows * outer` values in row-major order.
    unsafe { multiply([rows, inner, outer], x, weight, values.as_mut_ptr(), outer, 1.0, 1.0) }
}

pub(super) fn row_major(values: &[f32], columns: usize) -> Matrix<'_> {
    Matrix { values, row_stride: columns, column_stride: 1 }
}

/// A product `[rows, inner] x [inner, columns]` in new memory.
pub(super) fn new_product(
    [rows, inner, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> Vec<f32> {
    let length = rows * columns;
    let mut values = Vec::with_capacity(length);
    // SAFETY: the memory holds `rows * columns` values in row-major order, and all are written
    // before the vector has their length.
    unsafe {
        multiply([rows, inner, columns], a, b, values.as_mut_ptr(), columns, 0.0, 1.0);
        values.set_len(length);
    }
    values
}

/// `to = keep * to + factor * a b` for `a [rows, inner]` and `b [inner, columns]`.
///
/// # Safety
///
/// `to` must be valid for writing `rows` rows of `columns` values that are `row_stride` apart; and
/// for reading them unless `keep` is 0.
pub(super) unsafe fn multiply(
    [rows, inner, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    to: *mut f32,
    row_stride: usize,
    keep: f32,
    factor: f32,
) {
    a.check(rows, inner);
    b.check(inner, columns);
    // Inside a lane there is one thread; elsewhere large products are shared.
    let is_large = rows * inner * columns > 1 << 23;
    let parallelism = match rayon::current_num_threads() {
        threads if threads > 1 && is_large => Parallelism::Rayon(threads),
        _ => Parallelism::None,
    };
    // SAFETY: the operands were checked, and the caller answers for `to`.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to,
            1,
            row_stride as isize,
            keep != 0.0,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            keep,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

impl Matrix<'_> {
    /// Panics unless the values reach to the last element.
    fn check(&self, rows: usize, columns: usize) {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
            assert!(last < self.values.len(), "a matrix reaches beyond its values");
        }
    }
}
