//! What methods remember of an album from run to run.

mod program;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::{WEIGHTS, failure, folder, mint, program, small_set, stdout};
use serde_json::Value;

/// Every method that remembers.
const REMEMBERING: &str = "mint,sar,tda,onzeta,boostadapter,dota,oga,dpe";

const CLASSES: [&str; 2] = ["--classes", "camel,horse,snail"];

fn predict(folder: &Path, pictures: &[&str], options: &[&str]) -> Output {
    mint(folder, &[&["predict"], pictures, &CLASSES, &["--format", "jsonl"], options].concat())
}

/// Six pictures below `album`, in an order of their own, and a configuration for OnZeta.
fn album(folder: &Path) -> Vec<String> {
    small_set(&folder.join("album"), 2);
    fs::write(folder.join("onzeta.toml"), "[onzeta]\nimages = 20\n").expect("it can be written");
    let mut pictures = Vec::new();
    for class in ["snail", "camel", "horse"] {
        for file in fs::read_dir(folder.join("album").join(class)).expect("it is there") {
            let name = file.expect("a file").file_name().to_string_lossy().into_owned();
            pictures.push(format!("album/{class}/{name}"));
        }
    }
    pictures.sort_by_key(|path| path.rsplit('/').next().map(str::to_owned));
    assert_eq!(pictures.len(), 6);
    pictures
}

fn inspect(folder: &Path, file: &str) -> Value {
    let text = stdout(&mint(folder, &["memory", "inspect", file, "--format", "json"]));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn several_runs_are_one_run_to_the_last_bit() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let settings = ["--method", REMEMBERING, "--views", "10", "--config", "onzeta.toml"];
    let run = |pictures: &[&str], file: &str| {
        stdout(&predict(folder, pictures, &[&settings[..], &["--memory", file]].concat()))
    };
    let one = run(&pictures, "one.memory");
    assert_eq!(one.lines().count(), 6 * 8);
    let several: String = pictures.chunks(2).map(|part| run(part, "several.memory")).collect();
    assert_eq!(one, several);
    let [inspected, other] = ["one.memory", "several.memory"].map(|file| inspect(folder, file));
    assert_eq!(inspected, other);
    // It does remember: the first pictures look otherwise the second time, to each of them.
    let again = run(&pictures[..2], "one.memory");
    for (first, second) in one.lines().zip(again.lines()) {
        let [first, second]: [Value; 2] =
            [first, second].map(|line| serde_json::from_str(line).expect("JSON"));
        assert_eq!(first["path"], second["path"]);
        if first["path"] == pictures[1] {
            assert_ne!(first["best"], second["best"], "{}", first["method"]);
        }
    }

    assert_eq!((&inspected["pictures"], &inspected["seed"]), (&6.into(), &0.into()));
    let classes: Value = serde_json::from_str(r#"["camel", "horse", "snail"]"#).expect("JSON");
    assert_eq!(inspected["classes"], classes);
    let of = |method: &str| {
        let memories = inspected["memories"].as_array().expect("a list");
        memories.iter().find(|memory| memory["method"] == method).expect("it is there").clone()
    };
    let mint = of("mint");
    // 3 steps of 10 views that recall 2 slots at 3 blocks.
    assert_eq!(mint["recalls"], 6 * 3 * 10 * 6);
    let slots = mint["histogram"].as_array().expect("a list").iter();
    assert_eq!(slots.filter_map(|bin| bin["slots"].as_u64()).sum::<u64>(), 512);
    assert!(mint["used"].as_u64().is_some_and(|used| used > 0 && used < 512), "{mint}");
    for part in ["keys", "prompts"] {
        let (mean, largest) = (mint[part]["mean"].as_f64(), mint[part]["largest"].as_f64());
        assert!(mean > Some(0.0) && largest > mean && largest < Some(5.0), "{mint}");
    }
    for (method, part) in [("oga", "stored"), ("dpe", "cached"), ("tda", "positive")] {
        assert_eq!(of(method)[part]["entries"], 6, "{method}");
    }
    assert_eq!(of("onzeta")["images"], 6);
    assert_eq!(of("onzeta")["of"], 20);
    let views: f64 = of("dota")["views"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|of_class| of_class["value"].as_f64())
        .sum();
    assert!((views - 9.0).abs() < 1e-3, "6 views and one for each class: {views}");
    assert!(of("sar")["gains"]["largest"].as_f64() > Some(0.0), "{}", of("sar"));

    let text = stdout(&mint_inspect(folder, "several.memory"));
    for expected in [
        "memory of 6 pictures",
        "classes  3: camel, horse, snail",
        "of 512 slots were recalled, 1080 times in all",
        "keys moved by",
        "6 pictures of 20 have taught the classifier",
        "moving average of the entropy",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

fn mint_inspect(folder: &Path, file: &str) -> Output {
    mint(folder, &["memory", "inspect", file])
}

#[test]
fn whatever_differs_is_refused_by_its_name() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    let one = &pictures[0];
    let base = ["--method", "mint,tda", "--views", "10", "--memory", "it.memory"];
    let weights = ["--weights", WEIGHTS];
    let run = |more: &[&str]| predict(folder, &[one], &[&base[..], &weights, more].concat());
    stdout(&run(&[]));
    let before = fs::read(folder.join("it.memory")).expect("it is there");
    fs::write(folder.join("slots.toml"), "[tda]\npositive-slots = 2\n").expect("it can be written");
    for (more, expected) in [
        (&["--seed", "3"][..], "`seed` is 3, the record has 0"),
        (&["--steps", "1"], "`mint.steps` is 1, the record has 3"),
        (&["--none", "a stone"], "`none.1` is `a stone`, the record has none"),
        (&["--logit-scale", "50"], "`weights.logit-scale` is 50"),
        (&["--activation", "gelu"], "`weights.activation` is `gelu`"),
        (&["--context", "words:a sketch of a"], "`context"),
        (&["--config", "slots.toml"], "`tda.positive-slots` is 2, the record has 3"),
        (&["--exif-orientation", "off"], "`exif-orientation` is false"),
        (&["--texts", "template"], "`texts.tda` is `template`"),
    ] {
        let message = failure(&run(more));
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.contains("name another file with `--memory` to start anew"), "{message}");
    }
    let others = |options: &[&str]| {
        let options = [&["predict", one, "--memory", "it.memory"], &weights[..], options].concat();
        failure(&mint(folder, &options))
    };
    let method = ["--method", "mint", "--views", "10", "--classes", "camel,horse,snail"];
    let message = others(&method);
    assert!(message.contains("is [`mint`], the record has [`mint`, `tda`]"), "{message}");
    let message =
        others(&["--method", "mint,tda", "--views", "10", "--classes", "camel,horse,sheep"]);
    assert!(message.contains("`class.3` is `sheep`, the record has `snail`"), "{message}");
    let message =
        others(&["--method", "mint,tda", "--views", "11", "--classes", "camel,horse,snail"]);
    assert!(message.contains("`views` is 11, the record has 10"), "{message}");
    assert!(fs::read(folder.join("it.memory")).expect("it is there") == before, "it is left alone");
    // What changes no answer of theirs, or only how it is told.
    fs::write(folder.join("tpt.toml"), "[tpt]\nsteps = 4\n").expect("it can be written");
    for more in [&["--temperature", "2"][..], &["--top", "1"], &["--config", "tpt.toml"]] {
        stdout(&run(more));
    }
    let copy = folder.join("copy.safetensors");
    fs::copy(WEIGHTS, &copy).expect("it can be copied");
    let moved = ["--weights", copy.to_str().expect("a path")];
    stdout(&predict(folder, &[one], &[&base[..], &moved].concat()));
    assert_eq!(inspect(folder, "it.memory")["pictures"], 5);
}

#[test]
fn what_is_damaged_or_something_else_is_refused_and_left_alone() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    let run = || predict(folder, &[&pictures[0]], &["--method", "dota", "--memory", "it.memory"]);
    stdout(&run());
    let whole = fs::read(folder.join("it.memory")).expect("it is there");
    let changed = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    let head = u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize + 8;
    let of_run = |folder: &Path| {
        let options = ["--test-sets", "demo-A", "--limit", "1", "--method", "tda", "--views", "10"];
        stdout(&mint(folder, &[&options[..], &["--output", "run"]].concat()));
        fs::read(folder.join("run/demo-A-memory.safetensors")).expect("it is there")
    };
    for (contents, expected) in [
        (Vec::new(), "is empty"),
        (b"something else".to_vec(), "is no memory of an album"),
        (whole[..5].to_vec(), "is no memory of an album"),
        (whole[..head - 9].to_vec(), "is no memory of an album"),
        (whole[..head + 12].to_vec(), "is no memory of an album"),
        (whole[..whole.len() - 1].to_vec(), "is no memory of an album"),
        (changed(whole.len() - 3), "is damaged"),
        (changed(head + 2), "is damaged"),
        (fs::read(WEIGHTS).expect("the weights are there"), "is no memory of an album"),
        (of_run(folder), "it is what a run over test sets remembers"),
    ] {
        fs::write(folder.join("it.memory"), &contents).expect("it can be written");
        let messages = [failure(&run()), failure(&mint_inspect(folder, "it.memory"))];
        for message in messages {
            assert!(message.contains("`it.memory`"), "{message}");
            assert!(message.contains(expected), "{expected}: {message}");
        }
        assert!(fs::read(folder.join("it.memory")).expect("it is there") == contents);
    }
    let message =
        failure(&predict(folder, &[&pictures[0]], &["--method", "dota", "--memory", "album"]));
    assert!(message.contains("`album` is no memory of an album: it is a folder"), "{message}");
    assert!(!folder.join("album.lock").exists());
    let message = failure(&mint_inspect(folder, "gone.memory"));
    assert!(message.contains("cannot read the memory `gone.memory`"), "{message}");
}

#[test]
fn what_cannot_be_continued_exactly_says_what_to_set() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    fs::write(folder.join("sar.toml"), "[sar]\nbatch = { images = 4 }\n").expect("it is written");
    for (options, expected) in [
        (&["--method", "clip,zero", "--views", "10"][..], "none of the methods remembers"),
        (&["--method", "onzeta"], "write `images = 5000`"),
        (&["--method", "sar", "--config", "sar.toml"], "set its `batch` to `\"views\"`"),
    ] {
        let options = [options, &["--memory", "it.memory"]].concat();
        let message = failure(&predict(folder, &[&pictures[0]], &options));
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(!folder.join("it.memory").exists());
    }
    // OnZeta's own limit.
    fs::write(folder.join("few.toml"), "[onzeta]\nimages = 1\n").expect("it is written");
    let options = ["--method", "onzeta", "--config", "few.toml", "--memory", "it.memory"];
    stdout(&predict(folder, &[&pictures[0]], &options));
    let output = predict(folder, &[&pictures[1]], &options);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are more; set `images`"));

    let lock = File::options().append(true).open(folder.join("it.memory.lock"));
    let lock = lock.expect("the lock is there");
    lock.try_lock().expect("nobody holds it");
    let message = failure(&predict(folder, &[&pictures[0]], &options));
    assert!(message.contains("another process is using the memory `it.memory`"), "{message}");
}

#[test]
fn results_and_memory_are_resumed_together() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let settings = ["--method", "mint,tda", "--views", "10"];
    let run = |pictures: &[&str], file: &str, more: &[&str]| {
        let (rows, memory) = (format!("{file}.jsonl"), format!("{file}.memory"));
        let files = ["--output", &rows, "--memory", &memory];
        predict(folder, pictures, &[&settings[..], &files, more].concat())
    };
    let rows = |file: &str| fs::read_to_string(folder.join(file)).expect("it is there");
    let message = failure(&run(&pictures, "gone", &["--resume"]));
    assert!(message.contains("nothing to go on with"), "{message}");
    stdout(&run(&pictures, "whole", &[]));
    stdout(&run(&pictures[..2], "part", &[]));
    fs::copy(folder.join("part.memory"), folder.join("earlier")).expect("it can be copied");
    let first = rows("part.jsonl");
    stdout(&run(&pictures, "part", &["--resume"]));
    assert_eq!(rows("part.jsonl"), rows("whole.jsonl"));
    assert_eq!(inspect(folder, "part.memory"), inspect(folder, "whole.memory"));
    // As after a crash: more rows than the memory has seen pictures, the last one torn.
    fs::copy(folder.join("earlier"), folder.join("part.memory")).expect("it can be copied");
    let torn = &rows("whole.jsonl")[..rows("whole.jsonl").len() - 40];
    fs::write(folder.join("part.jsonl"), torn).expect("it can be written");
    stdout(&run(&pictures, "part", &["--resume"]));
    assert_eq!(rows("part.jsonl"), rows("whole.jsonl"));
    assert_eq!(inspect(folder, "part.memory"), inspect(folder, "whole.memory"));
    // A memory that has seen more than the rows have.
    fs::write(folder.join("part.jsonl"), first).expect("it can be written");
    let message = failure(&run(&pictures, "part", &["--resume"]));
    assert!(message.contains("it has 2 pictures of 6 that the memory has seen"), "{message}");
    fs::remove_file(folder.join("part.memory")).expect("it can be removed");
    let message = failure(&run(&pictures, "part", &["--resume"]));
    assert!(message.contains("there is no memory `part.memory` to go on with"), "{message}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_it_learned() {
    let folder = folder();
    let folder = folder.path();
    let pictures = album(folder);
    let mut listed: Vec<&str> = pictures.iter().map(String::as_str).collect();
    listed = listed.repeat(5);
    let arguments = |files: [&'static str; 2], more: &[&'static str]| -> Vec<String> {
        let options = ["--method", "mint", "--views", "10", "--format", "jsonl"];
        let files = ["--output", files[0], "--memory", files[1]];
        let all = [&["predict"], &listed[..], &CLASSES, &options, &files, more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let command = |arguments: Vec<String>| {
        let mut command = program();
        command.current_dir(folder).args(arguments).stderr(Stdio::piped());
        command
    };
    let mut child = command(arguments(["it.jsonl", "it.memory"], &[])).spawn().expect("it starts");
    let begun = Instant::now();
    let lines = || {
        let mut text = String::new();
        let read =
            File::open(folder.join("it.jsonl")).and_then(|mut it| it.read_to_string(&mut text));
        read.map_or(0, |_| text.lines().count())
    };
    while lines() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came that far");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("it runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let seen = lines();
    assert!(seen < listed.len(), "it was too fast to be interrupted");
    assert_eq!(inspect(folder, "it.memory")["pictures"], seen);
    let resumed = command(arguments(["it.jsonl", "it.memory"], &["--resume"])).output();
    stdout(&resumed.expect("it starts"));
    stdout(&command(arguments(["one.jsonl", "one.memory"], &[])).output().expect("it starts"));
    let rows = |file: &str| fs::read_to_string(folder.join(file)).expect("it is there");
    assert!(rows("it.jsonl") == rows("one.jsonl"));
    assert_eq!(inspect(folder, "it.memory"), inspect(folder, "one.memory"));
}
