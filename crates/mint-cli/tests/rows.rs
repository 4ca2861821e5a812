//! What a row says about itself, what it needs, and that rows do not disturb each other.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{failure, folder, lines_without_seconds, mint, stdout};
use serde_json::Value;

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// Lines of a record's file.
fn lines(file: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Leaves a record as if the program had been killed in its only set, after some images.
fn break_off(record: &Path, images: usize) {
    let run_file = record.join("run.json");
    let mut run: Value =
        serde_json::from_slice(&fs::read(&run_file).expect("a run file")).expect("JSON");
    run["finished"] = false.into();
    run["rows"] = Value::Array(Vec::new());
    fs::write(run_file, run.to_string()).expect("it can be written");
    for method in ["clip", "tpt", "zero"] {
        let file = record.join(format!("demo-R-{method}.jsonl"));
        let text = fs::read_to_string(&file).expect("lines");
        let kept: String = text.split_inclusive('\n').take(images).collect();
        fs::write(file, kept).expect("it can be written");
    }
}

#[test]
fn a_row_is_the_same_alone_and_beside_the_others() {
    let folder = folder();
    let run = |method: &str, output: &str| {
        let options = ["--test-sets", "demo-V", "--limit", "3", "--views", "12"];
        stdout(&mint(
            folder.path(),
            &[&options[..], &["--method", method, "--output", output]].concat(),
        ));
    };
    let without_seconds = |output: &str, method: &str| -> Vec<Value> {
        let mut lines = lines(&folder.path().join(output).join(format!("demo-V-{method}.jsonl")));
        for line in &mut lines {
            line.as_object_mut().expect("an object").remove("seconds");
        }
        lines
    };
    run("all", "all");
    for method in [
        "clip",
        "ensemble",
        "cocoop",
        "maple",
        "tpt",
        "sar",
        "mta",
        "zero",
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
    ] {
        run(method, method);
        assert_eq!(without_seconds("all", method), without_seconds(method, method), "{method}");
    }
}

#[test]
fn probabilities_and_calibration_are_in_the_record_and_votes_are_marked() {
    let folder = folder();
    let options =
        ["--test-sets", "demo-R", "--method", "clip,zero", "--limit", "30", "--views", "10"];
    let result = stdout(&mint(
        folder.path(),
        &[&options[..], &["--output", "record", "--temperature", "2", "--format", "json"]].concat(),
    ));
    let result: Value = serde_json::from_str(&result).expect("one JSON object");
    let (clip, zero) = (&result["rows"][0], &result["rows"][1]);
    assert!(zero["calibration_error"].is_null() && zero["brier"].is_null(), "{zero}");
    assert_eq!((&zero["share"], &zero["start"]), (&0.3.into(), &"template".into()));

    // The error by its definition, from the lines.
    let lines_of =
        |method: &str| lines(&folder.path().join(format!("record/demo-R-{method}.jsonl")));
    let mut bins = vec![(0.0, 0.0); 15];
    let mut brier = 0.0;
    for line in lines_of("clip") {
        assert_eq!(line["scores"], "logits");
        let best = &line["top5"][0];
        let confidence = best["probability"].as_f64().expect("a probability");
        let bin = &mut bins[((confidence * 15.0).ceil() as usize).max(1) - 1];
        bin.0 += confidence;
        bin.1 += if best["class"] == line["label"] { 1.0 } else { 0.0 };
        brier += line["brier"].as_f64().expect("a score");
    }
    let error: f64 =
        bins.iter().map(|(confidence, right): &(f64, f64)| (confidence - right).abs()).sum();
    let recorded = clip["calibration_error"].as_f64().expect("a percentage");
    assert!((recorded - 100.0 * error / 30.0).abs() < 1e-4, "{recorded} and {error}");
    let recorded = clip["brier"].as_f64().expect("a score");
    assert!((recorded - brier / 30.0).abs() < 1e-6, "{recorded} and {brier}");

    for line in lines_of("zero") {
        assert_eq!(line["scores"], "votes");
        assert!(line["top5"][0]["probability"].is_null() && line["brier"].is_null(), "{line}");
        let votes: f64 = line["top5"]
            .as_array()
            .expect("classes")
            .iter()
            .filter_map(|class| class["score"].as_f64())
            .sum();
        assert!((1.0..=4.0).contains(&votes), "3 voters, and one more where they are tied: {line}");
    }
    let message = failure(&mint(folder.path(), &["--temperature", "0"]));
    assert!(message.contains("above 0"), "{message}");
}

#[test]
fn a_temperature_is_fitted_on_images_that_calibration_does_not_count() {
    let folder = folder();
    let run = |output: &str, more: &[&str]| {
        let options = ["--method", "clip,tpt,zero", "--limit", "12", "--views", "10"];
        let record = ["--test-sets", "demo-R", "--output", output, "--format", "json"];
        let result = stdout(&mint(folder.path(), &[&options[..], &record, more].concat()));
        serde_json::from_str::<Value>(&result).expect("one JSON object")
    };
    let fitted = run("fitted", &["--fit-temperature", "0.5"]);
    let lines_of = |record: &str, method: &str| {
        lines(&folder.path().join(format!("{record}/demo-R-{method}.jsonl")))
    };
    for (row, method) in [(0, "clip"), (1, "tpt")] {
        let lines = lines_of("fitted", method);
        let is_held_out: Vec<bool> = lines.iter().map(|line| line["held_out"].is_array()).collect();
        assert_eq!(is_held_out, [[true; 6], [false; 6]].concat(), "{method}");
        // At the minimum the labels' logits are, on average, what a draw would have.
        let temperature = fitted["rows"][row]["temperature"].as_f64().expect("a number");
        let mut slope = 0.0;
        for line in &lines[..6] {
            let scores = line["held_out"].as_array().expect("scores").iter();
            let scores: Vec<f64> = scores.map(|score| score.as_f64().expect("a score")).collect();
            let label = line["label"].as_u64().expect("an index") as usize;
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights = scores.iter().map(|score| ((score - largest) / temperature).exp());
            let total: f64 = weights.clone().sum();
            let mean: f64 = weights.zip(&scores).map(|(weight, score)| weight * score).sum();
            slope += mean / total - scores[label];
        }
        assert!(slope.abs() < 1e-3, "{method} at {temperature}: {slope}");
        // The other lines are those of a run with that temperature.
        let text = temperature.to_string();
        run(method, &["--temperature", &text]);
        for (one, other) in lines[6..].iter().zip(&lines_of(method, method)[6..]) {
            let probability = |line: &Value| line["top5"][0]["probability"].as_f64();
            let pair = probability(one).zip(probability(other)).expect("probabilities");
            assert!((pair.0 - pair.1).abs() < 1e-6, "{method}: {pair:?}");
        }
    }
    assert!(lines_of("fitted", "zero").iter().all(|line| line["held_out"].is_null()), "votes");

    // Broken off while images are held out, and after.
    for kept in [4, 9] {
        let name = format!("broken{kept}");
        run(&name, &["--fit-temperature", "0.5"]);
        break_off(&folder.path().join(&name), kept);
        stdout(&mint(folder.path(), &["--resume", "--output", &name]));
        for method in ["clip", "tpt"] {
            let file = |record: &str| folder.path().join(format!("{record}/demo-R-{method}.jsonl"));
            let pair = ["fitted", &name].map(|record| lines_without_seconds(&file(record)));
            assert_eq!(pair[0], pair[1], "{method} after {kept} images");
        }
    }
    for share in ["0", "1", "nan"] {
        let options = ["--test-sets", "demo-R", "--fit-temperature", share];
        let message = failure(&mint(folder.path(), &options));
        assert!(message.contains("above 0 and below 1"), "{message}");
    }
}

#[test]
fn all_leaves_out_what_lacks_its_prompts_and_says_so() {
    let folder = folder();
    let weights = asset("clip.safetensors");
    let options =
        ["--test-sets", "demo-A", "--limit", "1", "--views", "10", "--weights", text(&weights)];
    let run = |more: &[&str]| mint(folder.path(), &[&options[..], more].concat());
    let output = run(&["--method", "all", "--format", "json"]);
    let result: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    let methods: Vec<&str> = result["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["method"].as_str())
        .collect();
    assert_eq!(
        methods,
        [
            "clip",
            "ensemble",
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
            "dpe"
        ]
    );
    assert_eq!(result["rows"][6]["start"], "words", "MINT without a trained context");
    let message = String::from_utf8_lossy(&output.stderr);
    for (title, option) in [("CoOp", "--context"), ("CoCoOp", "--cocoop"), ("MaPLe", "--maple")] {
        let note = format!("note: {title} is left out");
        let line = message.lines().find(|line| line.starts_with(&note));
        assert!(line.is_some_and(|line| line.contains(option)), "{message}");
    }

    let [coop, cocoop, maple] = ["coop.pth", "cocoop.safetensors", "maple.safetensors"].map(asset);
    let prompts = ["--context", text(&coop), "--cocoop", text(&cocoop), "--maple", text(&maple)];
    let output = run(&[&prompts[..], &["--method", "all", "--format", "json"]].concat());
    let result: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!(result["rows"].as_array().map(Vec::len), Some(20));
    assert_eq!(result["rows"][9]["start"], "context");

    for (method, option) in [("coop", "--context"), ("cocoop", "--cocoop"), ("maple", "--maple")] {
        let message = failure(&run(&["--method", method]));
        assert!(message.contains(option), "{message}");
    }
    for (option, method, file, wanted) in [
        ("--context", "coop", &cocoop, "CoOp"),
        ("--cocoop", "cocoop", &maple, "CoCoOp"),
        ("--maple", "maple", &coop, "MaPLe"),
    ] {
        let message = failure(&run(&["--method", method, option, text(file)]));
        assert!(message.contains(text(file)) && message.contains(wanted), "{message}");
    }
}

#[test]
fn steps_are_those_of_every_method_that_learns() {
    let folder = folder();
    let options = ["--test-sets", "demo-A", "--limit", "1", "--views", "10", "--steps", "2"];
    let more = ["--method", "clip,tpt,sar,mint", "--format", "json"];
    let result = stdout(&mint(folder.path(), &[&options[..], &more].concat()));
    let result: Value = serde_json::from_str(&result).expect("one JSON object");
    let steps: Vec<_> = (0..4).map(|row| result["rows"][row]["steps"].as_u64()).collect();
    assert_eq!(steps, [Some(0), Some(2), Some(2), Some(2)]);
    let message = failure(&mint(folder.path(), &["--method", "clip,mint,clip"]));
    assert!(message.contains("`clip`") && message.contains("twice"), "{message}");
}

#[test]
fn precision_is_a_setting_of_the_run() {
    let folder = folder();
    let run = |precision: &str| {
        let options =
            ["--test-sets", "demo-V", "--method", "clip", "--limit", "3", "--format", "json"];
        let output = mint(
            folder.path(),
            &[&options[..], &["--precision", precision, "--output", precision]].concat(),
        );
        let result: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
        assert_eq!(result["config"]["precision"], precision);
        let score =
            lines(&folder.path().join(precision).join("demo-V-clip.jsonl"))[0]["top5"][0]["score"]
                .as_f64();
        (score.expect("a score"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (single, half) = (run("f32"), run("bf16"));
    assert_ne!(single.0, half.0, "something is rounded");
    assert!((single.0 - half.0).abs() < 0.1 * single.0.abs(), "{} and {}", single.0, half.0);
    assert!(!single.1.contains("slower") && half.1.contains("slower with bf16"), "{}", half.1);
    let message = failure(&mint(
        folder.path(),
        &[
            "--output",
            "f32",
            "--resume",
            "--test-sets",
            "demo-V",
            "--method",
            "clip",
            "--limit",
            "3",
            "--precision",
            "f16",
        ],
    ));
    assert!(message.contains("`precision` is `f16`, the record has `f32`"), "{message}");
}
