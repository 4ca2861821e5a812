//! Two methods on the same images.

use std::collections::HashMap;

use mint_eval::RecordedLine;
use serde::Serialize;

/// How many images two methods classified rightly. Images that one of them could not read are left
/// out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Paired {
    /// Right by both.
    pub both: u64,
    /// Right by the first alone.
    pub first: u64,
    /// Right by the second alone.
    pub second: u64,
    /// Right by neither.
    pub neither: u64,
}

/// Below this, a difference is said to be significant.
pub const SIGNIFICANT: f64 = 0.05;

impl Paired {
    /// Of a method and zero-shot CLIP, which every line has.
    pub fn with_zero_shot(lines: &[RecordedLine]) -> Self {
        let mut paired = Self::default();
        for result in lines.iter().filter_map(RecordedLine::result) {
            paired.add(result.is_right(), result.zero_shot_top1 == result.label);
        }
        paired
    }

    /// Of two methods; `None` if their images are not the same.
    pub fn of(first: &[RecordedLine], second: &[RecordedLine]) -> Option<Self> {
        let by_path: HashMap<&str, &RecordedLine> =
            second.iter().map(|line| (line.path(), line)).collect();
        if first.len() != second.len() || by_path.len() != second.len() {
            return None;
        }
        let mut paired = Self::default();
        for line in first {
            let other = by_path.get(line.path()).filter(|other| other.label() == line.label())?;
            if let (Some(one), Some(other)) = (line.result(), other.result()) {
                paired.add(one.is_right(), other.is_right());
            }
        }
        Some(paired)
    }

    /// Images that only one of them got right.
    pub fn differ(&self) -> u64 {
        self.first + self.second
    }

    fn add(&mut self, first: bool, second: bool) {
        let count = match (first, second) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.first,
            (false, true) => &mut self.second,
            (false, false) => &mut self.neither,
        };
        *count += 1;
    }

    /// The probability of a difference at least as large if both methods were equally good: the
    /// exact two-sided binomial test of the images that only one of them got right.
    ///
    /// Source: McNemar (1947), *Note on the sampling error of the difference between correlated
    /// proportions or percentages*.
    pub fn p_value(&self) -> f64 {
        let n = self.differ();
        let smaller = self.first.min(self.second);
        // Logarithm of the probability of k of n, from 0 upwards.
        let mut log = n as f64 * 0.5f64.ln();
        let mut sum = log.exp();
        for k in 1..=smaller {
            log += ((n - k + 1) as f64).ln() - (k as f64).ln();
            sum += log.exp();
        }
        (2.0 * sum).min(1.0)
    }

    /// Whether the first method is better or worse than the second beyond chance.
    pub fn verdict(&self) -> Verdict {
        match self.first.cmp(&self.second) {
            _ if self.p_value() >= SIGNIFICANT => Verdict::Even,
            std::cmp::Ordering::Greater => Verdict::Better,
            _ => Verdict::Worse,
        }
    }
}

/// What a paired test says of a method beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better, beyond chance.
    Better,
    /// No difference that chance would not give.
    Even,
    /// Worse, beyond chance.
    Worse,
}

impl Verdict {
    /// A mark that stands behind a number.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Better => "▲",
            Self::Even => "",
            Self::Worse => "▼",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_binomial_distribution() {
        for (first, second, p) in [
            (0, 0, 1.0),
            (1, 1, 1.0),
            (5, 0, 0.0625),
            (6, 0, 0.03125),
            (10, 2, 0.038_574_218_75),
            (2, 10, 0.038_574_218_75),
            (59, 6, 4.964_650_327e-12),
            (121, 59, 4.434_449_264e-6),
        ] {
            let paired = Paired { first, second, ..Paired::default() };
            let found = paired.p_value();
            assert!((found / p - 1.0).abs() < 1e-6, "{first} {second}: {found}");
        }
        let many = Paired { first: 30_000, second: 30_001, ..Paired::default() };
        assert!(many.p_value() > 0.99);
        let sure = Paired { first: 30_000, second: 20_000, ..Paired::default() };
        assert!(sure.p_value() < 1e-300 && sure.verdict() == Verdict::Better);
    }
}
