//! The published results, for tables that compare ours with them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mint_clip::ClipConfig;
use mint_datasets::TestSet;
use serde::Deserialize;

use crate::row::Row;

/// A published row, of ViT-B/16.
#[derive(Debug, Deserialize)]
struct PublishedRow {
    method: String,
    /// What a row of ours may start from to be the like of it.
    starts: Vec<String>,
    views: usize,
    /// Shares of the views that a row of ours may choose: ZERO's paper and its code differ. None
    /// for methods that choose no views.
    #[serde(default)]
    shares: Vec<f64>,
    steps: usize,
    /// Whether the random views were mixed by AugMix; `None` if as TPT's.
    mixed: Option<bool>,
    /// Top-1 in percent by the name of the test set; `mean` is over R, A, V and K.
    top1: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Published {
    rows: Vec<PublishedRow>,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/published.json")).expect("the data is valid")
});

/// The published top-1 percentage on a test set (by its name, or `mean` of R, A, V and K) that is
/// the like of `row`: of the same method, start, views, share and steps.
///
/// Whether the images and the model are those of the published row, the caller must know.
pub fn published_top1(row: &Row, test_set: &str) -> Option<f64> {
    like(row, test_set).map(|(_, top1)| top1)
}

/// Whether the random views of the published figure were mixed by AugMix; the set's usual rule where
/// it is not the row's own, or nothing was published.
pub(crate) fn is_mixed(row: &Row, test_set: TestSet) -> bool {
    let mixed = like(row, test_set.id()).and_then(|(published, _)| published.mixed);
    mixed.unwrap_or(test_set.mixes_views())
}

fn like(row: &Row, test_set: &str) -> Option<(&'static PublishedRow, f64)> {
    let is_like = |published: &&PublishedRow| {
        published.method == row.method
            && published.starts.contains(&row.start)
            && published.views == row.views
            && published.steps == row.steps
            && row
                .share
                .map_or(published.shares.is_empty(), |share| published.shares.contains(&share))
    };
    let with_top1 = |row: &'static PublishedRow| Some((row, row.top1.get(test_set).copied()?));
    PUBLISHED.rows.iter().filter(is_like).find_map(with_top1)
}

/// Whether a model has the size of the published rows' model, ViT-B/16.
pub fn is_published_size(ClipConfig { vision, text, embed_dim, .. }: &ClipConfig) -> bool {
    let image = (vision.image_size, vision.patch_size, vision.width, vision.layers);
    image == (224, 16, 768, 12) && (text.width, text.layers, *embed_dim) == (512, 12, 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row with MINT's published settings.
    fn row(method: &str, start: &str) -> Row {
        Row {
            test_set: "R".to_owned(),
            method: method.to_owned(),
            start: start.to_owned(),
            views: 64,
            share: Some(0.1),
            steps: 3,
            seed: 0,
            images: 30_000,
            ..Row::default()
        }
    }

    #[test]
    fn every_published_mean_is_that_of_its_sets() {
        for row in PUBLISHED.rows.iter().filter(|row| row.top1.contains_key("mean")) {
            let sets = ["R", "A", "V", "K"].map(|set| row.top1[set]);
            let mean = sets.iter().sum::<f64>() / 4.0;
            assert!((mean - row.top1["mean"]).abs() < 0.0151, "{}: {mean}", row.method);
        }
    }

    #[test]
    fn a_figure_stands_beside_a_row_of_the_same_settings_only() {
        let mint = row("mint", "context");
        assert_eq!(published_top1(&mint, "R"), Some(78.68));
        assert_eq!(published_top1(&row("mint", "words"), "R"), None, "that is another row");
        assert_eq!(published_top1(&mint, "demo-R"), None);
        assert_eq!(published_top1(&Row { views: 32, ..mint.clone() }, "R"), None);
        assert_eq!(published_top1(&Row { steps: 1, ..mint.clone() }, "R"), None);
        assert_eq!(published_top1(&Row { share: Some(0.2), ..mint }, "R"), None);
        let zero = Row { steps: 0, ..row("zero", "context") };
        assert_eq!(published_top1(&zero, "V"), Some(66.82));
        assert_eq!(published_top1(&Row { share: Some(0.3), ..zero.clone() }, "V"), Some(66.82));
        assert_eq!(published_top1(&Row { share: None, ..zero }, "V"), None);
        let clip = Row { views: 1, steps: 0, share: None, ..row("clip", "template") };
        assert_eq!(published_top1(&clip, "A"), Some(47.87));
        assert_eq!(published_top1(&clip, "pets"), Some(88.25));
    }

    #[test]
    fn some_rows_have_views_that_tpts_have_not() {
        let is_mixed = |row: &Row, set: &str| {
            let set = set.parse().unwrap_or_else(|error| panic!("{set}: {error}"));
            super::is_mixed(row, set)
        };
        let ctpt = Row { steps: 1, ..row("ctpt", "words") };
        assert!(is_mixed(&ctpt, "A") && !is_mixed(&ctpt, "I"));
        let boostadapter = Row { steps: 0, ..row("boostadapter", "set ensemble") };
        assert!(!is_mixed(&boostadapter, "pets") && !is_mixed(&boostadapter, "A"));
        let tpt = Row { steps: 1, ..row("tpt", "words") };
        assert!(is_mixed(&tpt, "pets") && !is_mixed(&tpt, "A"));
        let dota = Row { steps: 0, ..row("dota", "set ensemble") };
        assert_eq!(published_top1(&dota, "A"), Some(61.5));
        assert_eq!(published_top1(&dota, "pets"), None, "that was the clean view");
        let clean = Row { views: 1, share: None, ..dota };
        assert_eq!(published_top1(&clean, "pets"), Some(92.01));
    }

    #[test]
    fn food101_has_two_figures_by_its_names() {
        let clip = Row { views: 1, steps: 0, share: None, ..row("clip", "template") };
        assert_eq!(published_top1(&clip, "food101"), Some(85.27));
        assert_eq!(published_top1(&clip, "food101-official"), Some(83.65));
        let tpt = Row { steps: 1, ..row("tpt", "words") };
        assert_eq!(published_top1(&tpt, "food101"), None, "it was run with exchanged names");
        assert_eq!(published_top1(&tpt, "food101-official"), Some(84.67));
    }

    #[test]
    fn every_figure_is_of_a_set_and_a_percentage() {
        for row in &PUBLISHED.rows {
            for (set, top1) in &row.top1 {
                let is_known = set == "mean"
                    || set == "food101-official"
                    || set.parse::<TestSet>().is_ok_and(|known| known.id() == set);
                assert!(is_known && (0.0..100.0).contains(top1), "{} {set}", row.method);
            }
        }
    }
}
