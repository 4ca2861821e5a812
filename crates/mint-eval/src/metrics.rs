//! Accuracy and how sure it is.

/// Counts of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accuracy {
    /// Images classified.
    pub images: u64,
    /// Images whose class has the best score.
    pub top1: u64,
    /// Images whose class is among the five best scores.
    pub top5: u64,
}

impl Accuracy {
    /// Counts one image by its ranked classes, the best first.
    pub fn add(&mut self, ranking: &[usize], label: usize) {
        self.images += 1;
        self.top1 += u64::from(ranking.first() == Some(&label));
        self.top5 += u64::from(ranking.iter().take(5).any(|&class| class == label));
    }

    /// Percentage of images whose class has the best score.
    pub fn top1_percent(&self) -> f64 {
        percent(self.top1, self.images)
    }

    /// Percentage of images whose class is among the five best.
    pub fn top5_percent(&self) -> f64 {
        percent(self.top5, self.images)
    }

    /// Wilson's 95 % interval of the top-1 percentage.
    pub fn top1_interval(&self) -> (f64, f64) {
        let (low, high) = wilson(self.top1, self.images);
        (100.0 * low, 100.0 * high)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Wilson's score interval of a proportion at 95 %.
///
/// Source: Wilson (1927), *Probable inference, the law of succession, and statistical inference*.
pub fn wilson(successes: u64, trials: u64) -> (f64, f64) {
    /// The normal distribution's 97.5 % quantile.
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let share = successes as f64 / n;
    let denominator = 1.0 + Z * Z / n;
    let center = (share + Z * Z / (2.0 * n)) / denominator;
    let spread = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((center - spread).max(0.0), (center + spread).min(1.0))
}

/// So few of the highest scores are found without sorting all.
const FEW: usize = 32;

/// Indices of the `k` highest scores, the best first; of equal scores the lower index comes first.
pub fn ranking(scores: &[f32], k: usize) -> Vec<usize> {
    if k > FEW {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        order.truncate(k);
        return order;
    }
    // Most scores are compared with the last of the best alone.
    let mut best: Vec<usize> = Vec::with_capacity(k + 1);
    for (index, score) in scores.iter().enumerate() {
        if best.len() == k && best.last().is_none_or(|&last| scores[last].total_cmp(score).is_ge())
        {
            continue;
        }
        best.truncate(k.saturating_sub(1));
        let place = best.partition_point(|&other| scores[other].total_cmp(score).is_ge());
        best.insert(place, index);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_intervals_match_published_values() {
        // Newcombe (1998), table I, method 3.
        for (successes, trials, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson(successes, trials);
            assert!((interval.0 - low).abs() < 5e-5, "{successes}/{trials}: {interval:?}");
            assert!((interval.1 - high).abs() < 5e-5, "{successes}/{trials}: {interval:?}");
        }
    }

    #[test]
    fn equal_scores_rank_the_lower_class_first() {
        assert_eq!(ranking(&[1.0, 3.0, 3.0, -2.0, 3.0], 4), [1, 2, 4, 0]);
        assert_eq!(ranking(&[1.0, 3.0, 3.0, -2.0, 3.0], 9), [1, 2, 4, 0, 3]);
        assert_eq!(ranking(&[1.0], 0), [0usize; 0]);
        // Numbers that repeat and come in no order.
        let scores: Vec<f32> = (0..500u32).map(|it| (it * 7919 % 211) as f32).collect();
        let all = ranking(&scores, 500);
        for k in [1, 2, 5, FEW, FEW + 1] {
            assert_eq!(ranking(&scores, k), all[..k]);
        }
    }

    #[test]
    fn accuracy_counts_the_first_and_the_first_five() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&[4, 1, 2, 3, 0], 4);
        accuracy.add(&[4, 1, 2, 3, 0], 0);
        accuracy.add(&[4, 1, 2, 3, 0], 9);
        assert_eq!(accuracy, Accuracy { images: 3, top1: 1, top5: 2 });
    }
}
