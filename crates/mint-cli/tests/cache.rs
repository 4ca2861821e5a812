//! Embeddings that are kept from run to run.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use program::{failure, folder, lines_without_seconds, mint, partial_failure, program, stdout};
use serde_json::Value;

/// Methods that look at embeddings alone.
const METHODS: [&str; 17] = [
    "clip",
    "ensemble",
    "coop",
    "cocoop",
    "tpt",
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
];

fn run(folder: &Path, methods: &str, output: &str, more: &[&str]) -> Output {
    let options = ["--test-sets", "demo-V", "--method", methods, "--views", "16", "--limit", "6"];
    mint(folder, &[&options[..], &["--output", output], more].concat())
}

fn note(output: &Output) -> String {
    stdout(output);
    String::from_utf8(output.stderr.clone()).expect("the message is text")
}

fn lines(folder: &Path, output: &str, method: &str) -> Vec<Value> {
    lines_without_seconds(&folder.join(output).join(format!("demo-V-{method}.jsonl")))
}

fn assert_same_lines(folder: &Path, one: &str, other: &str, methods: &[&str]) {
    for method in methods {
        assert_eq!(lines(folder, one, method), lines(folder, other, method), "{one} {other}");
    }
}

/// The files of a cache's images.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let sub = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect()
    };
    let folders = sub(cache).into_iter().flat_map(|group| sub(&group));
    let files = folders.flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    files.map(|entry| entry.expect("an entry").path()).collect()
}

const SINGLE: [&str; 4] = ["--cache", "cache", "--cache-precision", "f32"];

#[test]
fn single_precision_gives_the_same_lines_as_without_a_cache() {
    let folder = folder();
    let folder = folder.path();
    let methods = METHODS.join(",");
    stdout(&run(folder, &methods, "plain", &[]));
    stdout(&run(folder, &methods, "cold", &SINGLE));
    assert_eq!(entries(&folder.join("cache")).len(), 6);
    stdout(&run(folder, &methods, "warm", &SINGLE));
    assert_same_lines(folder, "plain", "cold", &METHODS);
    assert_same_lines(folder, "plain", "warm", &METHODS);

    // Nothing of the images is computed: their files are enough to name the entries.
    let damage = |entry: &Path| {
        let mut bytes = fs::read(entry).expect("an entry");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(entry, bytes).expect("a file");
    };
    let first = &entries(&folder.join("cache"))[0];
    damage(first);
    let message = partial_failure(&mint(folder, &["cache", "verify", "cache"]));
    assert!(message.contains("the cache is damaged"), "{message}");
    let message = note(&run(folder, "clip,zero", "mended", &SINGLE));
    assert!(message.contains("the cache has 1 damaged file, computed again"), "{message}");
    assert_same_lines(folder, "plain", "mended", &["clip", "zero"]);
    stdout(&mint(folder, &["cache", "verify", "cache"]));

    // A run that was begun with a cache goes on with it, and one without it is the same run.
    stdout(&mint(folder, &["--resume", "--output", "warm"]));
    stdout(&mint(folder, &[&["--resume", "--output", "plain"][..], &SINGLE].concat()));
}

#[test]
fn half_precision_is_the_same_cold_and_warm_and_close_to_single() {
    let folder = folder();
    let folder = folder.path();
    let methods = METHODS.join(",");
    let half = ["--cache", "cache"];
    stdout(&run(folder, "clip", "plain", &[]));
    stdout(&run(folder, &methods, "cold", &half));
    stdout(&run(folder, &methods, "warm", &half));
    assert_same_lines(folder, "cold", "warm", &METHODS);
    let score = |line: &Value| line["top5"][0]["score"].as_f64().expect("a score");
    for (plain, rounded) in lines(folder, "plain", "clip").iter().zip(lines(folder, "warm", "clip"))
    {
        // Each number is rounded by 2^-11 of itself at most, so the cosine by no more, times 100.
        let difference = (score(plain) - score(&rounded)).abs();
        assert!(difference <= 100.0 * 2f64.powi(-11) * 1.01, "{difference}");
    }
    let message = failure(&mint(folder, &["--resume", "--output", "plain", "--cache", "cache"]));
    assert!(message.contains("`cache` is `f16`, the record has none"), "{message}");
}

#[test]
fn a_run_that_needs_pixels_fills_the_cache_and_is_not_changed_by_it() {
    let folder = folder();
    let folder = folder.path();
    stdout(&run(folder, "mint,zero", "plain", &[]));
    let message = note(&run(folder, "mint,zero", "filling", &SINGLE));
    assert!(message.contains("only added to, since pixels are needed by mint"), "{message}");
    assert_eq!(entries(&folder.join("cache")).len(), 6);
    stdout(&run(folder, "zero", "reading", &SINGLE));
    assert_same_lines(folder, "plain", "filling", &["mint", "zero"]);
    assert_same_lines(folder, "plain", "reading", &["zero"]);
}

#[test]
fn groups_are_listed_and_pruned() {
    let folder = folder();
    let folder = folder.path();
    stdout(&run(folder, "clip", "a", &SINGLE));
    stdout(&run(folder, "clip", "b", &["--cache", "cache", "--seed", "1"]));
    let list = || -> Vec<Value> {
        let text = stdout(&mint(folder, &["cache", "list", "cache", "--format", "json"]));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        value["groups"].as_array().expect("groups").clone()
    };
    let groups = list();
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().all(|group| group["images"] == 6 && group["group"]["n_views"] == 16));
    let path = Path::new(groups[0]["folder"].as_str().expect("a path"));
    let name = path.file_name().expect("a name").to_str().expect("text");
    let text = stdout(&mint(folder, &["cache", "list", "cache"]));
    assert!(text.contains(name) && text.contains("16 views, seed 1, f16"), "{text}");

    let prune = |what: &[&str]| mint(folder, &[&["cache", "prune", "cache"], what].concat());
    assert_eq!(prune(&[]).status.code(), Some(2), "what is to be removed has to be said");
    assert!(stdout(&prune(&["--all", "--dry-run"])).contains("would be removed"));
    stdout(&prune(&["--older-than", "1", "--damaged"]));
    assert_eq!(list().len(), 2);
    assert!(failure(&prune(&["--group", "x"])).contains("`x` is not a group"));
    stdout(&prune(&["--group", name]));
    assert_eq!(list().len(), 1);
    stdout(&prune(&["--all"]));
    assert_eq!(list().len(), 0);
    assert!(failure(&mint(folder, &["cache", "list", "nowhere"])).contains("`nowhere`"));
}

#[test]
fn processes_share_a_cache() {
    let folder = folder();
    let folder = folder.path();
    let started = |output: &str| {
        let mut command = program();
        command.current_dir(folder).args(["--test-sets", "demo-V", "--method", "clip,zero"]);
        command.args(["--views", "16", "--limit", "6", "--output", output]).args(SINGLE);
        command.output().expect("the program starts")
    };
    let outputs = ["a", "b", "c"];
    std::thread::scope(|scope| {
        let runs = outputs.map(|output| scope.spawn(move || started(output)));
        runs.into_iter().for_each(|run| drop(stdout(&run.join().expect("a run"))));
    });
    stdout(&mint(folder, &["cache", "verify", "cache"]));
    assert_eq!(entries(&folder.join("cache")).len(), 6, "nothing else is left");
    assert_same_lines(folder, "a", "b", &["clip", "zero"]);
    assert_same_lines(folder, "a", "c", &["clip", "zero"]);
}
