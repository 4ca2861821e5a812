//! Whole tables, kept in `snapshots`. After a wanted change,
//! `INSTA_UPDATE=always cargo test -p mint-report --test tables` rewrites them.

use insta::assert_snapshot;
use mint_eval::Row;
use mint_report::{TableStyle, table};

/// A row of which only a few values matter.
fn row(test_set: &str, method: &str, top1: f64) -> Row {
    Row {
        test_set: test_set.to_owned(),
        method: method.to_owned(),
        start: if method == "mint" { "context" } else { "template" }.to_owned(),
        views: if method == "clip" { 1 } else { 64 },
        share: (method != "clip").then_some(0.1),
        steps: if method == "mint" { 3 } else { 0 },
        seed: 0,
        images: 1000,
        unreadable: 0,
        top1,
        top1_low: top1 - 3.0,
        top1_high: top1 + 3.0,
        top5: top1 + 20.0,
        mean_per_class: top1 - 1.0,
        calibration_error: (method != "zero").then_some(4.25),
        calibration_error_20: (method != "zero").then_some(4.5),
        temperature: Some(1.0),
        brier: (method != "zero").then_some(0.5),
        published_top1: (method == "clip" && test_set != "I").then_some(top1 + 0.25),
        seconds_per_image: 0.125,
    }
}

fn rows(sets: &[&str]) -> Vec<Row> {
    let of_set = |set: &&str| {
        let set = (*set).to_owned();
        let top1 = 40.0 + f64::from(set.as_bytes()[0] % 32);
        [("clip", 0.0), ("zero", 1.5), ("mint", 2.0)]
            .map(|(method, more)| row(&set, method, top1 + more))
    };
    sets.iter().flat_map(of_set).collect()
}

#[test]
fn one_set_has_a_line_per_method() {
    assert_snapshot!("one-set", table(&rows(&["R"]), TableStyle::Text));
}

#[test]
fn several_sets_are_columns_with_the_mean_last() {
    let rows = rows(&["I", "A", "V", "R", "K"]);
    assert_snapshot!("by-set", table(&rows, TableStyle::Text));
    assert_snapshot!("long", table(&rows, TableStyle::Long));
    assert_snapshot!("markdown", table(&rows, TableStyle::Markdown));
}

#[test]
fn columns_that_do_not_fit_go_below() {
    let sets = ["caltech101", "pets", "cars", "flower102", "food101", "aircraft", "sun397", "dtd"];
    assert_snapshot!("wide", table(&rows(&sets), TableStyle::Text));
}

#[test]
fn what_tells_two_lines_apart_is_said_and_what_was_not_run_is_a_dash() {
    let mut rows = rows(&["A", "R"]);
    rows.push(Row { share: Some(0.3), seed: 1, ..row("A", "zero", 50.0) });
    assert_snapshot!("settings", table(&rows, TableStyle::Text));
}
