//! Loops that the compiler turns into vector instructions.
//!
//! They are inlined into functions that `multiversion` compiles once for each vector extension and
//! chooses between at run time.

/// Partial results that reductions keep side by side.
const LANES: usize = 16;

/// `e^x` to 2 units in the last place; below -87.3 the smallest normal number.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`: `e^r` by its Taylor series up to `r^7`, which is exact
/// to 1e-8 there, and `2^n` by its exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SMALLEST: f32 = -87.3;
    const LARGEST: f32 = 88.7;
    // Adding and taking off 1.5 * 2^23 rounds to an integer, which the low bits of the sum hold.
    const ROUND: f32 = 12_582_912.0;
    const ONE: u32 = 0x3f80_0000;
    // ln 2 in two parts, the first with so few digits that its product with n is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < SMALLEST { SMALLEST } else { x };
    let x = if x > LARGEST { LARGEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * r + coefficient;
    }
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(ONE))
}

/// The largest value; minus infinity if there are none.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    rest.iter().copied().chain(lanes).fold(f32::NEG_INFINITY, larger)
}

/// The sum.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The sum of products.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `to += factor * from`
#[inline(always)]
pub fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// Softmax of one row in place, after multiplying with `scale`.
#[inline(always)]
pub fn softmax(row: &mut [f32], scale: f32) {
    let largest = largest(row);
    for value in row.iter_mut() {
        *value = exp((*value - largest) * scale);
    }
    let inverse = 1.0 / sum(row);
    for value in row {
        *value *= inverse;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        let mut x = -87.0_f32;
        while x < 88.0 {
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
            x += 0.000_37;
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(1000.0) > 3e38);
    }

    #[test]
    fn reductions_reach_every_value() {
        for length in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..length).map(|value| value as f32 - 7.0).collect();
            let total: f32 = values.iter().sum();
            let squares: f32 = values.iter().map(|value| value * value).sum();
            assert_eq!(sum(&values), total);
            assert_eq!(dot(&values, &values), squares);
            let last = values.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(largest(&values), last);
        }
    }
}
