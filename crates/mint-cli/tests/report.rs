//! Records put together and shown.

mod program;

use std::fs;
use std::path::Path;
use std::process::Output;

use program::{failure, folder, lines_without_seconds, mint, stdout};
use serde_json::Value;

/// Runs over a set of the demo: 16 images, 10 views.
fn run(folder: &Path, output: &str, more: &[&str]) {
    let options = ["--test-sets", "demo-V", "--views", "10", "--limit", "16", "--output", output];
    stdout(&mint(folder, &[&options[..], more].concat()));
}

fn report(folder: &Path, arguments: &[&str]) -> Output {
    mint(folder, &[&["report"], arguments].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("JSON")
}

#[test]
fn parts_make_the_run_that_was_never_divided() {
    let folder = folder();
    let folder = folder.path();
    let methods = ["--method", "clip,zero,mta"];
    run(folder, "whole", &methods);
    for part in ["0/3", "1/3", "2/3"] {
        let output = format!("parts/{}", &part[..1]);
        run(folder, &output, &[&methods[..], &["--shard", part]].concat());
    }
    let whole = json(&report(folder, &["whole", "--format", "json"]));
    let merged = json(&report(folder, &["parts", "--format", "json", "--merge", "merged"]));
    let counts = |value: &Value| -> Vec<Value> {
        let mut rows = value["rows"].as_array().expect("rows").clone();
        for row in &mut rows {
            row.as_object_mut().expect("a row").remove("seconds_per_image");
        }
        rows
    };
    assert_eq!(counts(&whole), counts(&merged));
    for method in ["clip", "zero", "mta"] {
        let lines = |run: &str| {
            lines_without_seconds(&folder.join(run).join(format!("demo-V-{method}.jsonl")))
        };
        assert_eq!(lines("whole"), lines("merged"), "{method}");
    }
    // It is a record like any other.
    stdout(&mint(folder, &["--resume", "--output", "merged"]));
    let message = failure(&report(folder, &["parts", "--merge", "merged"]));
    assert!(message.contains("`merged`"), "{message}");

    let gap = failure(&report(folder, &["parts/0", "parts/2"]));
    assert!(gap.contains("part 0 of 3") && gap.contains("1 is missing"), "{gap}");
    run(folder, "again", &[&methods[..], &["--shard", "1/3"]].concat());
    let overlap = failure(&report(folder, &["parts", "again"]));
    assert!(overlap.contains("are the same part of a run"), "{overlap}");
    run(folder, "other", &[&methods[..], &["--shard", "1/3", "--seed", "1"]].concat());
    let mixture = failure(&report(folder, &["parts/0", "parts/2", "other"]));
    assert!(mixture.contains("0, 2 are missing"), "{mixture}");
    assert!(mixture.contains("`parts/0` is of another run: `seed` is 0"), "{mixture}");

    // A line that was lost or changed is noticed.
    let file = folder.join("parts/1/demo-V-zero.jsonl");
    let text = fs::read_to_string(&file).expect("lines");
    fs::write(&file, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>())
        .expect("a file");
    let message = failure(&report(folder, &["parts"]));
    assert!(message.contains("do not give the row"), "{message}");
}

#[test]
fn a_part_with_a_memory_of_its_own_is_said_to_have_one() {
    let folder = folder();
    let folder = folder.path();
    for part in ["0/2", "1/2"] {
        run(folder, &format!("parts/{}", &part[..1]), &["--method", "mint", "--shard", part]);
    }
    let output = report(folder, &["parts"]);
    stdout(&output);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("had a memory of its own: mint"), "{message}");
}

#[test]
fn every_form_has_every_row_and_seeds_are_put_together() {
    let folder = folder();
    let folder = folder.path();
    run(folder, "runs/a", &["--method", "clip,zero"]);
    run(folder, "runs/b", &["--method", "clip,zero", "--seed", "1"]);
    let text = stdout(&report(folder, &["runs"]));
    assert!(text.lines().any(|line| line.starts_with("zero") && line.contains('±')), "{text}");
    let csv = stdout(&report(folder, &["runs", "--format", "csv"]));
    assert_eq!(csv.lines().count(), 5, "{csv}");
    assert!(csv.starts_with("test_set,method,start,"), "{csv}");
    let latex = stdout(&report(folder, &["runs", "--format", "latex"]));
    assert!(latex.contains("\\begin{tabular}{llrr}") && latex.contains("$\\pm$"), "{latex}");
    let markdown = stdout(&report(folder, &["runs", "--format", "markdown"]));
    let of_zero = ["| zero   | template     | ", "|        | lowest tenth | "];
    assert!(of_zero.iter().all(|line| markdown.contains(line)), "{markdown}");
    let long = stdout(&report(folder, &["runs", "--format", "long"]));
    assert_eq!(long.lines().filter(|line| line.starts_with("demo-V zero")).count(), 2, "{long}");
    let found = json(&report(folder, &["runs", "--format", "json"]));
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(4));
    let process = &found["runs"][0]["processes"][0];
    assert_eq!(process["images"], 16);
    assert!(process["seconds"].as_f64() > Some(0.0) && process["stages"]["methods"].is_f64());
    assert!(failure(&report(folder, &["nowhere"])).contains("cannot read `nowhere`"));
    fs::create_dir(folder.join("empty")).expect("a folder");
    assert!(failure(&report(folder, &["runs", "empty"])).contains("holds no record"));
}

#[test]
fn the_page_needs_nothing_else() {
    let folder = folder();
    let folder = folder.path();
    run(folder, "run", &["--method", "clip,zero,mint"]);
    let page = stdout(&report(folder, &["run", "--format", "html"]));
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["<script", "http://", "https://", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for part in ["Top-1 in percent", "Calibration of clip", "along 16 images", "Peak MB"] {
        assert!(page.contains(part), "{part}");
    }
    let changed = page.matches("<summary>").count();
    assert!(changed >= 2, "methods beside each other, settings");
    assert!(page.contains("data:image/jpeg;base64,"), "pictures that a method changed");
}

#[test]
fn what_tells_two_runs_apart_is_said_and_nothing_is_counted_twice() {
    let folder = folder();
    let folder = folder.path();
    run(folder, "runs/a", &["--method", "clip,zero,mta"]);
    fs::write(folder.join("warm.toml"), "methods = [\"mta\", \"zero\"]\n[mta]\nlambda-y = 0.5\n")
        .expect("a file");
    let config = ["--config", "warm.toml"];
    run(folder, "runs/b", &config);
    let text = stdout(&report(folder, &["runs"]));
    let of = |method: &str| text.matches(&format!("demo-V {method} ")).count();
    assert!(text.contains("80 templates, mta.lambda-y 0.5"), "{text}");
    assert_eq!((of("mta"), of("zero")), (2, 1), "zero is the same in both: {text}");

    // The same settings and other results are a fault.
    let lines = folder.join("runs/b/demo-V-zero.jsonl");
    let text = fs::read_to_string(&lines).expect("lines");
    let path = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["path"].as_str().expect("a path").to_owned()
    };
    let [one, other] = [0, 1].map(|index| path(text.lines().nth(index).expect("a line")));
    let exchanged = text.replace(&one, "?").replace(&other, &one).replace('?', &other);
    fs::write(&lines, exchanged).expect("a file");
    let message = failure(&report(folder, &["runs"]));
    assert!(message.contains("both have zero on demo-V with the same settings"), "{message}");
}
