//! Which test set is which: ids, published figures, folders that look like something else.

mod program;

use std::fs;

use program::{WEIGHTS, failure, folder, mint, small_set, stdout};
use serde_json::Value;

/// The rows of a run with these options.
fn rows(folder: &std::path::Path, options: &[&str]) -> Vec<Value> {
    let more = ["--weights", WEIGHTS, "--method", "clip", "--format", "json"];
    let result = stdout(&mint(folder, &[options, &more].concat()));
    let mut result: Value = serde_json::from_str(&result).expect("JSON");
    std::mem::take(result["rows"].as_array_mut().expect("rows"))
}

#[test]
fn folders_never_share_an_id_with_each_other_or_with_known_sets() {
    let folder = folder();
    let folders = ["one/val", "two/val", "three/VAL", "R", "demo-A", "mean"];
    for (index, name) in folders.iter().enumerate() {
        small_set(&folder.path().join(name), index % 2 + 1);
    }
    let options: Vec<&str> = folders.iter().flat_map(|folder| ["--image-folder", folder]).collect();
    let rows = rows(folder.path(), &options);
    let seen: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| {
            let images = row["images"].as_u64().expect("a number");
            (row["test_set"].as_str().expect("an id"), images)
        })
        .collect();
    let expected = [
        ("val", 3),
        ("val-2", 6),
        ("VAL-3", 3),
        ("folder-R", 6),
        ("folder-demo-A", 3),
        ("folder-mean", 6),
    ];
    assert_eq!(seen, expected);
    for row in &rows {
        assert!(row["published_top1"].is_null(), "{row}");
    }
    let twice = ["--image-folder", "R", "--image-folder", "two/../R/.", "--weights", WEIGHTS];
    let message = failure(&mint(folder.path(), &twice));
    assert!(message.contains("named twice"), "{message}");
}

#[test]
fn a_published_figure_needs_the_published_model() {
    let folder = folder();
    let class = folder.path().join("data/imagenet-r/n01443537");
    small_set(&folder.path().join("set"), 1);
    fs::create_dir_all(class.parent().expect("a parent")).expect("a folder can be made");
    fs::rename(folder.path().join("set/camel"), class).expect("the folder can be moved");
    let rows = rows(folder.path(), &["--test-sets", "R", "--data", "data"]);
    assert_eq!((&rows[0]["test_set"], &rows[0]["images"]), (&"R".into(), &1.into()));
    assert!(rows[0]["published_top1"].is_null(), "the demo's model is not a ViT-B/16");
}

#[test]
fn the_demo_by_its_name_is_the_demo() {
    let folder = folder();
    let demo = mint(folder.path(), &["--limit", "1", "--views", "10", "--format", "json"]);
    let named = ["--test-sets", "demo-A", "--limit", "1", "--views", "10", "--format", "json"];
    let named = mint(folder.path(), &named);
    let rows = |output: &std::process::Output| -> Vec<String> {
        let result: Value = serde_json::from_str(&stdout(output)).expect("JSON");
        let rows = result["rows"].as_array().expect("rows").clone();
        let of_a = rows.into_iter().filter(|row| row["test_set"] == "demo-A");
        let name = |row: Value| format!("{} {} {}", row["method"], row["views"], row["top1"]);
        of_a.map(name).collect()
    };
    assert_eq!(rows(&named).len(), 20);
    assert_eq!(rows(&named)[0], rows(&demo)[0]);
    assert!(!folder.path().join("runs").exists(), "the demo writes nothing");
    // A folder of the user's needs weights like every other.
    small_set(&folder.path().join("demo-pictures"), 1);
    let message = failure(&mint(folder.path(), &["--image-folder", "demo-pictures"]));
    assert!(message.contains("no weights were given"), "{message}");
}

#[test]
fn a_run_of_which_nothing_could_be_read_has_no_accuracy() {
    let folder = folder();
    for class in ["cat", "dog"] {
        fs::create_dir_all(folder.path().join("set").join(class)).expect("a folder can be made");
        fs::write(folder.path().join("set").join(class).join("empty.jpg"), "").expect("a file");
    }
    let options = ["--image-folder", "set", "--weights", WEIGHTS, "--method", "clip"];
    let message = failure(&mint(folder.path(), &options));
    assert!(message.contains("no image of set could be read"), "{message}");
}
