//! What a row says about itself, what it needs, and that rows do not disturb each other.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{failure, folder, mint, stdout};
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
    for method in
        ["clip", "ensemble", "cocoop", "maple", "tpt", "sar", "mta", "zero", "tda", "vte", "onzeta"]
    {
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
        ["clip", "ensemble", "tpt", "sar", "mta", "zero", "mint", "tda", "vte", "onzeta"]
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
    assert_eq!(result["rows"].as_array().map(Vec::len), Some(13));
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
