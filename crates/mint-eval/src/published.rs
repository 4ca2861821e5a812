//! The published results, for tables that set ours beside them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// A published row.
#[derive(Debug, Deserialize)]
struct PublishedRow {
    method: String,
    /// What a row of ours may start from to be the like of it.
    starts: Vec<String>,
    /// Top-1 in percent by the letter of the test set; `mean` is over all of them.
    top1: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Published {
    rows: Vec<PublishedRow>,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/published.json")).expect("the data is valid")
});

/// The published top-1 percentage of a method on a test set (`A`, `R`, `V`, `K`, or `mean` of the
/// four), if there is a row that starts from the same.
pub fn published_top1(method: &str, start: &str, test_set: &str) -> Option<f64> {
    let is_like =
        |row: &&PublishedRow| row.method == method && row.starts.iter().any(|known| known == start);
    PUBLISHED.rows.iter().find(is_like)?.top1.get(test_set).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_mean_is_that_of_its_sets() {
        for row in &PUBLISHED.rows {
            let sets = ["R", "A", "V", "K"].map(|set| row.top1[set]);
            let mean = sets.iter().sum::<f64>() / 4.0;
            assert!((mean - row.top1["mean"]).abs() < 0.0151, "{}: {mean}", row.method);
        }
        assert_eq!(published_top1("mint", "context", "R"), Some(78.68));
        assert_eq!(published_top1("mint", "words", "R"), None, "that is another row");
        assert_eq!(published_top1("zero", "context", "V"), Some(66.82));
        assert_eq!(published_top1("mint", "context", "demo-R"), None);
    }
}
