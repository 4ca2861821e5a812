//! The program as users run it.

mod program;

use std::fs;
use std::path::Path;

use program::{
    WEIGHTS, failure, folder, lines_without_seconds, mint, partial_failure, small_set, stdout,
};
use serde_json::Value;

/// All methods in the order of their rows.
const METHODS: [&str; 13] = [
    "clip", "ensemble", "coop", "cocoop", "maple", "tpt", "sar", "mta", "zero", "mint", "tda",
    "vte", "onzeta",
];

#[test]
fn the_demo_prints_a_row_for_each_set_and_method() {
    let folder = folder();
    let output = mint(folder.path(), &["--limit", "2", "--views", "10", "--format", "json"]);
    let result: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5 * 13);
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
fn predict_names_the_best_of_the_given_classes() {
    let folder = folder();
    let image = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets/demo/images/I/banana")
        .read_dir()
        .expect("the demo has bananas")
        .next()
        .expect("at least one")
        .expect("a file")
        .path();
    let image = image.to_str().expect("a path");
    let arguments = [
        "predict",
        image,
        "--classes",
        "dog,banana,castle",
        "--method",
        "clip",
        "--format",
        "json",
    ];
    let result: Value =
        serde_json::from_str(&stdout(&mint(folder.path(), &arguments))).expect("JSON");
    let best = result["predictions"][0]["best"].as_array().expect("classes");
    assert_eq!(best.len(), 3);
    assert_eq!(best[0]["class"], "banana");
    let total: f64 = best.iter().filter_map(|class| class["probability"].as_f64()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
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
fn class_names_that_are_not_meant_are_refused() {
    let folder = folder();
    small_set(folder.path(), 1);
    let image = fs::read_dir(folder.path().join("camel")).expect("a folder").next();
    let image = image.expect("a picture").expect("an entry").path();
    let image = image.to_str().expect("a plain name");
    fs::write(folder.path().join("one.txt"), "camel\n").expect("a file");
    fs::write(folder.path().join("names.csv"), "index,name\n1,horse\n0,camel\n").expect("a file");
    let predict = |classes: &str| {
        let options = ["--method", "clip", "--format", "json"];
        mint(folder.path(), &[&["predict", image, "--classes", classes], &options[..]].concat())
    };
    for (classes, expected) in [
        ("labels", "no file `labels`"),
        ("labels.csv", "no file `labels.csv`"),
        ("camel", "is a folder"),
        ("one.txt", "one class only"),
        ("snail,", "one class only"),
        ("snail,horse,snail", "`snail` is name 1 and name 3 of 3"),
        ("Snail,snail", "`snail` is name 1 and name 2 of 2"),
        ("", "at least two names"),
    ] {
        let message = failure(&predict(classes));
        assert!(
            message.contains("--classes") && message.contains(expected),
            "{classes}: {message}"
        );
    }
    let long = failure(&predict(&"x".repeat(100_000)));
    assert!(long.len() < 500, "{} characters", long.len());
    let result: Value = serde_json::from_str(&stdout(&predict("names.csv"))).expect("JSON");
    let best = result["predictions"][0]["best"].as_array().expect("classes");
    let mut names: Vec<&str> = best.iter().filter_map(|class| class["class"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["camel", "horse"]);
}

#[test]
fn a_picture_that_cannot_be_read_costs_no_other_picture_its_result() {
    let folder = folder();
    small_set(folder.path(), 2);
    let mut images: Vec<String> = fs::read_dir(folder.path().join("camel"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    images.sort();
    fs::write(folder.path().join("empty.jpg"), "").expect("a file");
    let predict = |names: &[&str]| {
        let options = ["--classes", "camel,horse", "--method", "clip", "--format", "json"];
        mint(folder.path(), &[&["predict"], names, &options[..]].concat())
    };
    let output = predict(&[&images[0], "empty.jpg", &images[1]]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("empty.jpg") && message.contains("1 of 3 pictures"), "{message}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let predictions = result["predictions"].as_array().expect("a list");
    let paths: Vec<&str> = predictions.iter().filter_map(|entry| entry["path"].as_str()).collect();
    assert_eq!(paths, [&images[0], &images[1]]);
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

#[test]
fn the_demos_model_is_not_asked_about_photographs() {
    let folder = folder();
    let photograph = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([x as u8, y as u8, 9]));
    photograph.save(folder.path().join("photograph.png")).expect("it can be written");
    let options = ["predict", "photograph.png", "--classes", "cat,dog"];
    let message = failure(&mint(folder.path(), &options));
    assert!(message.contains("300x200") && message.contains("--weights"), "{message}");
    let with_weights = mint(folder.path(), &[&options[..], &["--weights", WEIGHTS]].concat());
    assert!(stdout(&with_weights).contains("CLIP zero-shot"), "the default looks at one picture");
}
