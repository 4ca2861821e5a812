//! Products of matrices that lie in slices.

use gemm::Parallelism;

/// A matrix in memory.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix to write into, whose rows lie one after the other.
pub struct MatrixMut<'a> {
    values: &'a mut [f32],
    row_stride: usize,
}

/// What becomes of the values that are there.
#[derive(Clone, Copy)]
pub enum Update {
    /// They are replaced by the product, times a factor.
    Replace {
        /// The factor.
        factor: f32,
    },
    /// The product is added to them.
    Add,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after the other.
    pub fn new(values: &'a [f32], shape: [usize; 2]) -> Self {
        Self::strided(values, shape, shape[1])
    }

    /// A matrix whose rows begin `row_stride` values apart.
    ///
    /// # Panics
    ///
    /// Unless the values reach to the last element.
    pub fn strided(values: &'a [f32], [rows, columns]: [usize; 2], row_stride: usize) -> Self {
        assert!(reach(rows, columns, row_stride) <= values.len(), "a matrix beyond its values");
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transpose, in the same memory.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// A matrix whose rows begin `row_stride` values apart.
    pub fn strided(values: &'a mut [f32], row_stride: usize) -> Self {
        Self { values, row_stride }
    }
}

/// Number of values from the first to the last element.
fn reach(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + columns }
}

/// The product `a b` in new memory, row after row.
///
/// # Panics
///
/// Those of [`multiply`].
pub fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut values = vec![0.0; a.rows * b.columns];
    let to = MatrixMut::strided(&mut values, b.columns);
    multiply(to, Update::Replace { factor: 1.0 }, a, b);
    values
}

/// Writes the product `a b`.
///
/// # Panics
///
/// If the shapes do not fit, or the target is too small.
pub fn multiply(to: MatrixMut<'_>, update: Update, a: Matrix<'_>, b: Matrix<'_>) {
    let (rows, inner, columns) = (a.rows, a.columns, b.columns);
    assert_eq!(inner, b.rows, "as many columns as rows");
    assert!(columns <= to.row_stride || rows <= 1, "rows of the target overlap");
    assert!(reach(rows, columns, to.row_stride) <= to.values.len(), "a target beyond its values");
    let (keep, factor) = match update {
        Update::Replace { factor } => (0.0, factor),
        Update::Add => (1.0, 1.0),
    };
    // Inside a lane there is one thread; elsewhere large products are shared.
    let is_large = rows * inner * columns > 1 << 23;
    let parallelism = match rayon::current_num_threads() {
        threads if threads > 1 && is_large => Parallelism::Rayon(threads),
        _ => Parallelism::None,
    };
    // SAFETY: all three matrices lie within their slices: the operands by their construction, the
    // target as asserted.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.values.as_mut_ptr(),
            1,
            to.row_stride as isize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_replace_or_add_within_their_rows() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let a = Matrix::new(&a, [2, 3]);
        assert_eq!(product(a, a.transposed()), [14.0, 32.0, 32.0, 77.0]);
        let mut wide = [1.0; 6];
        multiply(MatrixMut::strided(&mut wide[1..], 3), Update::Add, a, a.transposed());
        assert_eq!(wide, [1.0, 15.0, 33.0, 1.0, 33.0, 78.0]);
        let twice = Update::Replace { factor: 2.0 };
        multiply(MatrixMut::strided(&mut wide, 2), twice, a, a.transposed());
        assert_eq!(wide[..4], [28.0, 64.0, 64.0, 154.0]);
    }

    #[test]
    #[should_panic(expected = "a matrix beyond its values")]
    fn an_operand_that_is_too_short_is_refused() {
        Matrix::strided(&[0.0; 7], [2, 3], 5);
    }

    #[test]
    #[should_panic(expected = "a target beyond its values")]
    fn a_target_that_is_too_short_is_refused() {
        let a = Matrix::new(&[0.0; 4], [2, 2]);
        multiply(MatrixMut::strided(&mut [0.0; 3], 2), Update::Add, a, a);
    }
}
