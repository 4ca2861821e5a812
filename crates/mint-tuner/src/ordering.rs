//! Selections with a stated rule for ties, computed on the device without reading anything back.

use burn::tensor::{Int, Tensor};

/// The indices of the `k` smallest values of each row, smallest first; of equal values the lowest
/// index comes first.
///
/// Shapes: `[row, column] -> [row, k]`. Runs one pass over the row for each of the `k`.
pub fn smallest_per_row(values: Tensor<2>, k: usize) -> Tensor<2, Int> {
    let [rows, columns] = values.dims();
    let device = values.device();
    let positions = Tensor::<1, Int>::arange(0..columns as i64, &device).unsqueeze::<2>();
    let positions = positions.expand([rows, columns]);
    let mut remaining = values;
    let mut picks = Vec::with_capacity(k);
    for _ in 0..k {
        let smallest = remaining.clone().min_dim(1).expand([rows, columns]);
        let others = remaining.clone().not_equal(smallest);
        // The last column where nothing equals the smallest, as with NaN: a valid index anyway.
        let pick = positions.clone().mask_fill(others, columns as i64 - 1).min_dim(1);
        let taken = positions.clone().equal(pick.clone().expand([rows, columns]));
        remaining = remaining.mask_fill(taken, f32::INFINITY);
        picks.push(pick);
    }
    Tensor::cat(picks, 1)
}

/// The indices of values that were read back, smallest first; of equal values the lowest index
/// comes first, and NaNs come last.
pub fn ascending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| {
        let nan_last = values[a].is_nan().cmp(&values[b].is_nan());
        nan_last.then(values[a].partial_cmp(&values[b]).unwrap_or(std::cmp::Ordering::Equal))
    });
    order
}

/// The indices of the `k` smallest values, smallest first; of equal values the lowest index comes
/// first. Shapes: `[item] -> [k]`.
pub fn smallest(values: Tensor<1>, k: usize) -> Tensor<1, Int> {
    smallest_per_row(values.unsqueeze(), k).squeeze_dim(0)
}
