//! How far rounding may carry two computations of the same numbers apart.
//!
//! Two correct programs add the same products in different orders, with vectors of different
//! lengths, with or without fused multiply-adds: the processor decides. Each operation in single
//! precision is off by at most `u = 2^-24` of its result, and the errors of `n` operations of like
//! size and random sign grow as `sqrt(n)` (Higham and Mary, *A New Approach to Probabilistic
//! Rounding Error Analysis*, 2019). They grow from the size of the terms, not of the sum, which may
//! nearly cancel; so a bound is relative to the largest value of the whole tensor. Where even that
//! says nothing, because the tensor itself is a difference of larger numbers, it has an absolute
//! part. No bound is what some machine happened to print.

/// Half the distance between 1 and the next number: what one operation can be off by.
const UNIT: f32 = f32::EPSILON / 2.0;

/// CLIP's largest logit scale, which published models reach: cosines become logits by it.
const LOGIT_SCALE: f32 = 100.0;

/// The largest difference that rounding explains: a part of the largest expected value, and an
/// absolute part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    relative: f32,
    absolute: f32,
}

impl Bound {
    /// Equal to the last bit.
    pub const EXACT: Self = Self { relative: 0.0, absolute: 0.0 };

    /// One operation, or a few: sums of up to a thousand products (`sqrt(1000)` is 32) on both
    /// sides.
    pub const OPERATION: Self = Self::relative(64.0);

    /// Entropies of given logits, and their gradients: `ln p` is a difference of logits of tens, so
    /// it has an absolute error, also where `p ln p` is next to nothing.
    pub const ENTROPY: Self = Self { relative: 64.0 * UNIT, absolute: 64.0 * UNIT };

    /// A pass through a tower: twelve blocks of about six sums of up to 3,072 products each,
    /// `sqrt(12 * 6 * 3072)` is 470.
    pub const TOWER: Self = Self::relative(512.0);

    /// A pass through a tower and back again.
    pub const ROUND_TRIP: Self = Self::relative(1024.0);

    /// Cosines, and distances made of them. An embedding's error has no preferred direction, so a
    /// fixed direction sees `1 / sqrt(64)` of it in the narrowest embedding.
    pub const COSINE: Self = Self::absolute(64.0 * UNIT);

    /// Logits, which are cosines times [`LOGIT_SCALE`], and their entropy: its derivatives by
    /// the logits, `-p (ln p + H)`, hardly ever add up to more than one.
    pub const LOGITS: Self = Self::absolute(64.0 * UNIT * LOGIT_SCALE);

    /// Probabilities, and what is proportional to them: gradients of losses above all. A
    /// probability is relatively as uncertain as its logit is absolutely; where the distribution
    /// is nearly even, a gradient is the small difference of such numbers, hence the second part.
    pub const PROBABILITY: Self =
        Self { relative: 64.0 * UNIT * LOGIT_SCALE, absolute: 16.0 * UNIT };

    /// `roundings` of the largest value.
    pub const fn relative(roundings: f32) -> Self {
        Self { relative: roundings * UNIT, absolute: 0.0 }
    }

    /// The same for tensors of any size.
    pub const fn absolute(absolute: f32) -> Self {
        Self { relative: 0.0, absolute }
    }

    /// A bound that allows `absolute` more.
    pub const fn plus(self, absolute: f32) -> Self {
        Self { relative: self.relative, absolute: self.absolute + absolute }
    }

    /// What the bound allows for these values.
    pub fn limit(&self, expected: &[f32]) -> f32 {
        let finite = expected.iter().filter(|value| value.is_finite());
        let largest = finite.fold(0.0f32, |largest, value| largest.max(value.abs()));
        self.relative * largest + self.absolute
    }
}

/// Panics if values differ by more than `bound` allows; returns the largest difference.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], bound: Bound) -> f32 {
    let limit = bound.limit(expected);
    let limits = vec![limit; expected.len()];
    assert_within(what, actual, expected, &limits)
}

/// Panics if a value differs by more than its own limit; returns the largest difference.
#[track_caller]
pub fn assert_within(what: &str, actual: &[f32], expected: &[f32], limits: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    assert_eq!(actual.len(), limits.len(), "{what}: number of limits");
    let mut largest = 0.0f32;
    let mut wrong = Vec::new();
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let same = actual == expected || (actual.is_nan() && expected.is_nan());
        let difference = if same { 0.0 } else { (actual - expected).abs() };
        largest = largest.max(difference);
        if difference.is_nan() || difference > limits[index] {
            wrong.push(format!("[{index}] {actual} instead of {expected} +- {:e}", limits[index]));
        }
    }
    let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    assert!(
        wrong.is_empty(),
        "{what}: {} of {} values differ by more than rounding (largest {largest:e}): {shown}",
        wrong.len(),
        actual.len(),
    );
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_size_of_the_tensor() {
        let largest = 8.0;
        assert_eq!(Bound::relative(2.0).limit(&[-largest, 1.0]), largest * f32::EPSILON);
        assert_eq!(Bound::EXACT.limit(&[1.0]), 0.0);
        assert_eq!(Bound::LOGITS.limit(&[0.0]), Bound::LOGITS.limit(&[1e6]));
        let near = 1.0 + 60.0 * UNIT;
        assert!(assert_close("near", &[near, f32::NAN], &[1.0, f32::NAN], Bound::OPERATION) > 0.0);
    }

    #[test]
    #[should_panic(expected = "1 of 2 values differ")]
    fn a_value_beyond_the_bound_is_named() {
        assert_close("far", &[1.0 + 80.0 * UNIT, 0.5], &[1.0, 0.5], Bound::OPERATION);
    }

    #[test]
    #[should_panic(expected = "values differ")]
    fn nan_is_never_within_a_bound() {
        assert_close("NaN", &[f32::NAN], &[1.0], Bound::absolute(1e9));
    }
}
