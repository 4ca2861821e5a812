//! The program as users run it.

mod program;

use std::fs;

use program::{
    WEIGHTS, failure, folder, lines_without_seconds, mint, partial_failure, small_set, stdout,
};
use serde_json::Value;

/// All methods in the order of their rows.
const METHODS: [&str; 20] = [
    "clip",
    "ensemble",
    "coop",
    "cocoop",
    "maple",
    "tpt",
    "sar",
    "mta",
    "zero",
    "mint",
    "tda",
    "vte",
    "onzeta",
    "ctpt",
    "atpt",
    "tps",
    "boostadapter",
    "dota",
    "oga",
    "dpe",
];

#[test]
fn the_demo_prints_a_row_for_each_set_and_method() {
    let folder = folder();
    let output = mint(folder.path(), &["--limit", "2", "--views", "10", "--format", "json"]);
    let result: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5 * 20);
    for row in rows {
        let keys = [
            "test_set",
            "method",
            "images",
            "start",
            "views",
            "steps",
            "seed",
            "top1",
            "top1_low",
            "top1_high",
            "top5",
            "seconds_per_image",
        ];
        for key in keys {
            assert!(!row[key].is_null(), "`{key}` in {row}");
        }
        assert_eq!(row["images"], 2);
        let numbers =
            ["top1_low", "top1", "top1_high"].map(|key| row[key].as_f64().expect("a number"));
        assert!(numbers[0] <= numbers[1] && numbers[1] <= numbers[2], "{row}");
    }
    assert!(
        fs::read_dir(folder.path()).expect("a folder").next().is_none(),
        "the demo writes nothing"
    );
}

#[test]
fn the_same_seed_gives_the_same_lines_with_any_number_of_threads() {
    let folder = folder();
    let run = |name: &str, loader_threads: &str, threads: &str| {
        let output = mint(
            folder.path(),
            &[
                "--test-sets",
                "demo-R",
                "--method",
                "all",
                "--limit",
                "4",
                "--views",
                "12",
                "--loader-threads",
                loader_threads,
                "--threads",
                threads,
                "--output",
                name,
            ],
        );
        stdout(&output);
        let record = folder.path().join(name);
        METHODS.map(|method| {
            let lines = lines_without_seconds(&record.join(format!("demo-R-{method}.jsonl")));
            assert_eq!(lines.len(), 4);
            lines.iter().map(Value::to_string).collect::<Vec<_>>()
        })
    };
    let reference = run("one", "1", "2");
    assert_eq!(reference, run("again", "1", "2"));
    assert_eq!(reference, run("two", "2", "1"));
    assert_eq!(reference, run("four", "4", "3"));
    let line: Value = serde_json::from_str(&reference[9][0]).expect("a line of MINT's");
    assert_eq!(line["top5"].as_array().expect("five classes").len(), 5);
    assert_eq!(line["losses"].as_array().expect("three steps").len(), 3);
    assert!(line["path"].is_string() && line["zero_shot_top1"].is_u64());

    let run_file = fs::read_to_string(folder.path().join("one/run.json")).expect("a run file");
    let run_file: Value = serde_json::from_str(&run_file).expect("JSON");
    assert_eq!(run_file["finished"], true);
    for key in ["arguments", "config", "test_sets", "versions", "host", "device", "rows"] {
        assert!(!run_file[key].is_null(), "`{key}`");
    }
    assert_eq!(run_file["weights"]["files"][0]["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn a_record_is_never_overwritten() {
    let folder = folder();
    let arguments =
        ["--test-sets", "demo-A", "--method", "clip", "--limit", "1", "--output", "record"];
    stdout(&mint(folder.path(), &arguments));
    let before = fs::read(folder.path().join("record/run.json")).expect("a run file");
    let message = failure(&mint(folder.path(), &arguments));
    assert!(message.contains("record") && message.contains("--output"), "{message}");
    assert_eq!(fs::read(folder.path().join("record/run.json")).expect("a run file"), before);

    let report = stdout(&mint(folder.path(), &["report", "record"]));
    assert!(report.contains("demo-A") && report.contains("clip"), "{report}");
    let report = stdout(&mint(folder.path(), &["report", ".", "--format", "markdown"]));
    assert!(report.contains("\n| clip   | template |"), "{report}");
}

#[test]
fn a_test_set_without_data_explains_itself_in_three_lines() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--test-sets", "R"]));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[0].contains("ImageNet-R"), "{message}");
    assert!(lines[1].contains("imagenet-r"), "{message}");
    assert!(lines[2].contains("--data"), "{message}");
}

#[test]
fn unknown_sets_and_methods_list_the_known_ones() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--test-sets", "A,Q"]));
    assert!(message.contains("`Q`") && message.contains("ImageNet-Sketch"), "{message}");
    let message = failure(&mint(folder.path(), &["--method", "magic"]));
    assert!(message.contains("`magic`") && message.contains("mint"), "{message}");
}

#[test]
fn test_sets_are_separated_by_slashes_or_commas() {
    let folder = folder();
    for sets in ["demo-A/demo-K", "demo-A,demo-K"] {
        let arguments =
            ["--test-sets", sets, "--method", "clip", "--limit", "1", "--format", "json"];
        let result: Value =
            serde_json::from_str(&stdout(&mint(folder.path(), &arguments))).expect("JSON");
        let names: Vec<&str> = result["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .filter_map(|row| row["test_set"].as_str())
            .collect();
        assert_eq!(names, ["demo-A", "demo-K"]);
    }
    let message = failure(&mint(folder.path(), &["--test-sets", " / "]));
    assert!(message.contains("names no test set"), "{message}");
    let message = failure(&mint(folder.path(), &["--test-sets", "demo-A/demo-a"]));
    assert!(message.contains("`demo-A` is named twice"), "{message}");
}

#[test]
fn a_damaged_image_is_named_counted_and_skipped_unless_strict() {
    let folder = folder();
    let root = folder.path().join("pictures");
    small_set(&root, 2);
    fs::write(root.join("camel/broken.jpg"), b"\xff\xd8\xff\xe0 this is no photograph")
        .expect("the file can be written");
    let arguments = [
        "--image-folder",
        "pictures",
        "--weights",
        WEIGHTS,
        "--method",
        "clip",
        "--output",
        "record",
    ];
    let output = mint(folder.path(), &arguments);
    let message = partial_failure(&output);
    assert!(message.contains("broken.jpg"), "{message}");
    assert!(message.contains("1 image could not be read"), "{message}");
    let record =
        fs::read_to_string(folder.path().join("record/pictures-clip.jsonl")).expect("lines");
    assert_eq!(record.lines().count(), 7);
    let errors: Vec<&str> = record.lines().filter(|line| line.contains("\"error\"")).collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("broken.jpg"), "{errors:?}");
    let run: Value = serde_json::from_str(
        &fs::read_to_string(folder.path().join("record/run.json")).expect("a run file"),
    )
    .expect("JSON");
    assert_eq!((&run["rows"][0]["images"], &run["rows"][0]["unreadable"]), (&6.into(), &1.into()));

    let strict =
        ["--image-folder", "pictures", "--weights", WEIGHTS, "--method", "clip", "--strict"];
    let message = failure(&mint(folder.path(), &strict));
    assert!(message.contains("broken.jpg") && message.contains("--strict"), "{message}");
}

#[test]
fn impossible_settings_say_what_to_change() {
    let folder = folder();
    fs::write(folder.path().join("rate.toml"), "mint.optimizer.learning-rate = -1.0\n")
        .expect("the file can be written");
    fs::write(folder.path().join("share.toml"), "methods = [\"zero\"]\nzero.confident-share = 7\n")
        .expect("the file can be written");
    small_set(&folder.path().join("set"), 1);
    for (options, expected) in [
        (&["--views", "5"][..], "at least 10 views"),
        (&["--views", "0"], "`views` is 0"),
        (&["--views", "18446744073709551615"], "from 1 to 4096"),
        (&["--views", "1000000000"], "from 1 to 4096"),
        (&["--steps", "1000000000"], "`steps` is 1000000000"),
        (&["--threads", "0"], "from 1 to"),
        (&["--threads", "100000"], "from 1 to"),
        (&["--loader-threads", "100000"], "from 1 to"),
        (&["--limit", "0"], "--limit"),
        (&["--shard", "5/9", "--limit", "2"], "--shard"),
        (&["--config", "rate.toml"], "`learning-rate` is -1"),
        (&["--config", "share.toml"], "`confident-share` is 7"),
        (&["--context", "nothere.pth"], "the trained context `"),
        (&["--context", "words"], "words:a photo of a"),
        (&["--weights", "ViT-B/16"], "name of a model"),
    ] {
        let set = ["--image-folder", "set", "--weights", WEIGHTS];
        let arguments = if options[0] == "--weights" { &set[..2] } else { &set };
        let message = failure(&mint(folder.path(), &[arguments, options].concat()));
        assert!(message.contains(expected), "{options:?}: {message}");
        assert!(!folder.path().join("runs").exists(), "{options:?} made a folder");
    }
    let methods = ["--method", "ZERO, Clip", "--limit", "1", "--views", "10", "--format", "json"];
    let result: Value =
        serde_json::from_str(&stdout(&mint(folder.path(), &methods))).expect("JSON");
    assert_eq!(result["rows"][0]["method"], "zero", "names in any case, with blanks");

    fs::write(folder.path().join("run.toml"), "sede = 3\n").expect("the file can be written");
    let message = failure(&mint(folder.path(), &["--config", "run.toml"]));
    assert!(message.contains("run.toml") && message.contains("sede"), "{message}");

    fs::write(folder.path().join("weights.safetensors"), b"nothing").expect("a file");
    let arguments = ["--test-sets", "demo-A", "--weights", "weights.safetensors"];
    let message = failure(&mint(folder.path(), &arguments));
    assert!(message.contains("weights.safetensors"), "{message}");
}

#[test]
fn adaptation_that_diverges_ends_the_run_with_image_and_step() {
    let folder = folder();
    fs::write(folder.path().join("wild.toml"), "mint.optimizer.learning-rate = 1e30\n")
        .expect("the file can be written");
    let options = ["--test-sets", "demo-A", "--method", "mint", "--views", "10", "--limit", "3"];
    let message =
        failure(&mint(folder.path(), &[&options[..], &["--config", "wild.toml"]].concat()));
    assert!(message.contains("images/A/") && message.contains("diverged at step"), "{message}");
    assert!(message.contains("lower `learning-rate`"), "{message}");
}
