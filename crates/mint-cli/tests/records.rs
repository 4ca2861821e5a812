//! Records of runs: what is in them, who may write to them, and how a run is resumed.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use program::{WEIGHTS, failure, folder, lines_without_seconds, mint, program, small_set, stdout};
use serde_json::Value;

const METHODS: [&str; 4] = ["clip", "sar", "mint", "tda"];

/// A run over two sets with methods that remember within a set, and from set to set.
fn run(folder: &Path, output: &str, limit: &str) -> std::process::Output {
    let arguments = ["--test-sets", "demo-A/demo-V", "--method", "clip,sar,mint,tda"];
    let options = ["--limit", limit, "--views", "10", "--output", output];
    mint(folder, &[&arguments[..], &options].concat())
}

fn run_file(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("run.json")).expect("a run file");
    serde_json::from_str(&text).expect("JSON")
}

/// Changes the file about a run as if it had been interrupted after these rows.
fn break_off(record: &Path, rows: usize) {
    let mut file = run_file(record);
    file["finished"] = false.into();
    file["rows"].as_array_mut().expect("rows").truncate(rows);
    fs::write(record.join("run.json"), file.to_string()).expect("the file can be written");
}

/// Keeps the first lines of a file.
fn cut(file: PathBuf, lines: usize) {
    let text = fs::read_to_string(&file).expect("lines");
    let kept: String = text.split_inclusive('\n').take(lines).collect();
    fs::write(file, kept).expect("the file can be written");
}

#[track_caller]
fn assert_same_lines(one: &Path, other: &Path, sets: &[&str]) {
    for set in sets {
        for name in METHODS.map(|method| format!("{set}-{method}.jsonl")) {
            let lines = [one, other].map(|folder| lines_without_seconds(&folder.join(&name)));
            assert_eq!(lines[0], lines[1], "{name}");
        }
    }
}

#[test]
fn a_run_that_was_broken_off_goes_on_exactly_from_its_folder_alone() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    stdout(&run(folder.path(), "whole", "4"));
    stdout(&run(folder.path(), "broken", "4"));
    // As if the program had been killed in the first set: the memory is of its third image, the
    // lines of one method go further, the last line of the other is cut.
    stdout(&run(folder.path(), "first", "3"));
    let broken = at("broken");
    break_off(&broken, 0);
    for method in METHODS {
        fs::remove_file(broken.join(format!("demo-V-{method}.jsonl"))).expect("the file is there");
    }
    fs::remove_file(broken.join("demo-V-memory.safetensors")).expect("the file is there");
    let memory = "demo-A-memory.safetensors";
    fs::copy(at("first").join(memory), broken.join(memory)).expect("the memory can be copied");
    let lines = fs::read_to_string(broken.join("demo-A-mint.jsonl")).expect("lines");
    fs::write(broken.join("demo-A-mint.jsonl"), &lines[..lines.len() - 20])
        .expect("the file can be written");

    let elsewhere = at("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder can be made");
    stdout(&mint(&elsewhere, &["--resume", "--output", "../broken"]));
    assert_same_lines(&at("whole"), &broken, &["demo-A", "demo-V"]);
    let rows = |folder: PathBuf| -> Vec<Value> {
        let mut file = run_file(&folder);
        let rows = file["rows"].as_array_mut().expect("rows");
        for row in rows.iter_mut() {
            row.as_object_mut().expect("an object").remove("seconds_per_image");
        }
        std::mem::take(rows)
    };
    assert_eq!(rows(at("whole")), rows(broken), "calibration too");
}

#[test]
fn a_memory_that_is_ahead_of_the_lines_is_not_used() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    stdout(&run(folder.path(), "whole", "4"));
    // Lines of the first set, or of the second, whose start is the end of the first.
    for (set, rows) in [("demo-A", 0), ("demo-V", METHODS.len())] {
        let broken = at(&format!("broken-{set}"));
        stdout(&run(folder.path(), broken.to_str().expect("a plain name"), "4"));
        break_off(&broken, rows);
        for method in METHODS {
            cut(broken.join(format!("{set}-{method}.jsonl")), 2);
        }
        if set == "demo-A" {
            for method in METHODS {
                let lines = broken.join(format!("demo-V-{method}.jsonl"));
                fs::remove_file(lines).expect("the file is there");
            }
        }
        stdout(&mint(&broken, &["--resume", "--output", "."]));
        assert_same_lines(&at("whole"), &broken, &["demo-A", "demo-V"]);
    }
    // Without the memory at the end of the first set nothing can be said of the second.
    let lost = at("lost");
    stdout(&run(folder.path(), "lost", "4"));
    break_off(&lost, METHODS.len());
    for set in ["demo-A", "demo-V"] {
        fs::remove_file(lost.join(format!("{set}-memory.safetensors"))).expect("it is there");
    }
    let message = failure(&mint(&lost, &["--resume", "--output", "."]));
    assert!(message.contains("demo-A-memory.safetensors"), "{message}");
    assert!(message.contains("start a new run"), "{message}");
}

#[test]
fn another_run_is_refused_and_every_difference_is_named() {
    let folder = folder();
    let set = folder.path().join("set");
    small_set(&set, 2);
    let other = folder.path().join("other");
    small_set(&other, 2);
    for (name, names) in [("one.txt", "a\nb\nc\n"), ("two.txt", "x\ny\nz\n")] {
        fs::write(folder.path().join(name), names).expect("a file can be written");
    }
    let arguments = |set: &'static str, names: &'static str| {
        ["--image-folder", set, "--class-names", names, "--weights", WEIGHTS, "--method", "zero"]
    };
    let run = |arguments: &[&str], more: &[&str]| {
        mint(folder.path(), &[arguments, &["--output", "record"], more].concat())
    };
    stdout(&run(&arguments("set", "one.txt"), &["--views", "10"]));
    let before = fs::read(folder.path().join("record/run.json")).expect("a run file");
    let same = ["--resume", "--views", "10"];
    stdout(&run(&arguments("set", "one.txt"), &same));
    stdout(&run(&[], &["--resume"]));
    for (changed, expected) in [
        (
            run(&[], &["--resume", "--views", "12", "--seed", "3"]),
            "`views` is 12, the record has 10",
        ),
        (run(&[], &["--resume", "--views", "12", "--seed", "3"]), "`seed` is 3, the record has 0"),
        (run(&[], &["--resume", "--limit", "4"]), "`limit` is 4, the record has none"),
        (run(&[], &["--resume", "--method", "clip"]), "`methods` is [`clip`]"),
        (run(&[], &["--resume", "--logit-scale", "9"]), ""),
        (run(&arguments("set", "two.txt"), &same), "`test set set.class_names_sha256`"),
        (run(&arguments("other", "one.txt"), &same), "`test-sets` is [`other`]"),
        (run(&["--test-sets", "demo-A"], &["--resume"]), "`test-sets` is [`demo-A`]"),
    ] {
        if expected.is_empty() {
            continue; // the record's own weights come with the record's own scale
        }
        let message = failure(&changed);
        assert!(message.contains(expected) && message.contains("record"), "{message}");
    }
    // A file more is another list of images.
    fs::copy(WEIGHTS, set.join("camel/later.png")).expect("the file can be copied");
    let message = failure(&run(&[], &["--resume"]));
    assert!(message.contains("`test set set.images` is 7, the record has 6"), "{message}");
    let after = fs::read(folder.path().join("record/run.json")).expect("a run file");
    assert!(before == after, "nothing was changed");
    let mut file = run_file(&folder.path().join("record"));
    file["versions"]["mint"] = "0.0.1".into();
    fs::write(folder.path().join("record/run.json"), file.to_string()).expect("it can be written");
    let message = failure(&run(&[], &["--resume"]));
    assert!(message.contains("version 0.0.1"), "{message}");
}

#[test]
fn there_must_be_a_record_to_go_on_with() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("a folder can be made");
    for output in ["empty", "nowhere"] {
        let message = failure(&mint(folder.path(), &["--resume", "--output", output]));
        assert!(message.contains(output) && message.contains("no record"), "{message}");
    }
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn one_process_writes_to_a_record_at_a_time() {
    let folder = folder();
    stdout(&run(folder.path(), "record", "1"));
    let record = folder.path().join("record");
    let lock = fs::File::open(record.join(".lock")).expect("the lock stays behind");
    lock.lock().expect("nobody holds it");
    let message = failure(&mint(folder.path(), &["--resume", "--output", "record"]));
    assert!(message.contains("another process"), "{message}");
    drop(lock);
    stdout(&mint(folder.path(), &["--resume", "--output", "record"]));
}

#[test]
fn runs_that_start_together_get_a_folder_each() {
    let folder = folder();
    small_set(&folder.path().join("set"), 1);
    let start = |seed: u32| {
        let mut command = program();
        command.current_dir(folder.path()).args(["--image-folder", "set", "--weights", WEIGHTS]);
        command.args(["--method", "clip", "--seed", &seed.to_string()]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.spawn().expect("the program starts")
    };
    for process in (0..6).map(start).collect::<Vec<_>>() {
        stdout(&process.wait_with_output().expect("the program ends"));
    }
    let folders = fs::read_dir(folder.path().join("runs")).expect("the folder of runs");
    assert_eq!(folders.count(), 6);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_after_the_image_at_hand_and_says_how_to_go_on() {
    let folder = folder();
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let name = format!("stopped{signal}");
        let mut command = program();
        command.current_dir(folder.path());
        command.args([
            "--test-sets",
            "demo-A",
            "--method",
            "clip,sar,mint,tda,onzeta,boostadapter,dota,oga,dpe",
            "--views",
            "10",
        ]);
        command.args(["--limit", "16", "--output", &name]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let process = command.spawn().expect("the program starts");
        let lines = folder.path().join(&name).join("demo-A-mint.jsonl");
        let started = Instant::now();
        while fs::metadata(&lines).map_or(0, |file| file.len()) == 0 {
            assert!(started.elapsed() < Duration::from_secs(120), "no line was written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = process.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("the shell's tools are there").success());
        let output = process.wait_with_output().expect("the program ends");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains("stopped after"), "{message}");
        assert!(message.contains(&format!("mint-cli --resume --output {name}")), "{message}");
        assert!(lines_without_seconds(&lines).len() < 16, "it ended early");
        stdout(&mint(folder.path(), &["--resume", "--output", &name]));
        assert_eq!(lines_without_seconds(&lines).len(), 16);
    }
    let stopped = ["stopped-TERM", "stopped-INT"].map(|name| folder.path().join(name));
    let whole = [
        "--test-sets",
        "demo-A",
        "--method",
        "clip,sar,mint,tda,onzeta,boostadapter,dota,oga,dpe",
        "--views",
        "10",
    ];
    let options = ["--limit", "16", "--output", "whole"];
    stdout(&mint(folder.path(), &[&whole[..], &options].concat()));
    for record in stopped {
        let whole = folder.path().join("whole");
        assert_same_lines(&whole, &record, &["demo-A"]);
        for method in ["onzeta", "boostadapter", "dota", "oga", "dpe"] {
            let file = format!("demo-A-{method}.jsonl");
            let lines = [&whole, &record].map(|it| lines_without_seconds(&it.join(&file)));
            assert_eq!(lines[0], lines[1], "{method}");
        }
    }
}
