//! Every chore at the smallest size. `fetch` has tests next to its source.

mod programs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use programs::{failure, mint_gpu_check, root, success, xtask};
use serde_json::Value;

const WEIGHTS: &str = "assets/demo/clip.safetensors";
const IMAGE: &str = "assets/demo/images/R/camel";

/// A picture of the demo.
fn image() -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(root().join(IMAGE))
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.swap_remove(0)
}

/// A program in the place of another, written in the shell's language.
fn stand_in(folder: &Path, name: &str, script: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a file can be changed");
    file
}

/// A stand-in for cargo that writes down what it was asked for.
fn recording_cargo(folder: &Path) -> PathBuf {
    let log = folder.join("cargo.log");
    stand_in(folder, "cargo", &format!("echo \"$@\" >> '{}'", log.display()))
}

/// A sweep over two images of the demo's sets, in a folder.
fn demo_sweep(folder: &Path, more: &[&str]) -> Command {
    let mut chore = xtask();
    chore.args(["bench-all", "--config", "configs/bench-demo.toml", "--rows", "clip,zero,mint"]);
    chore.arg("--cache").arg(folder.join("cache")).arg("--output").arg(folder.join("sweep"));
    chore.args(more).args(["--", "--limit", "4", "--views", "10"]);
    chore
}

#[test]
fn bench_all_runs_every_cell_once_and_ends_in_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let plan = success(&mut demo_sweep(folder, &["--dry-run", "--tflops", "1"]));
    assert!(plan.contains("mint on demo, seed 0: 19 TFLOP, 19 s, fills the cache"), "{plan}");
    assert!(plan.contains("6 cells") && !folder.join("sweep").exists(), "{plan}");
    let message = failure(&mut demo_sweep(folder, &["--gpus", "0-1"]));
    assert!(message.contains("give `--backend cuda` as well"), "{message}");

    let table = success(&mut demo_sweep(folder, &[]));
    let zero = |table: &str| {
        let line = table.lines().find(|line| line.starts_with("zero"));
        line.unwrap_or_else(|| panic!("{table}")).to_owned()
    };
    assert!(zero(&table).contains('±'), "two seeds: {table}");
    let sweep = folder.join("sweep");
    for file in ["report.html", "table.tex", "table.csv", "report.json"] {
        assert!(sweep.join(file).metadata().is_ok_and(|file| file.len() > 500), "{file}");
    }
    let lines = sweep.join("seed-1/demo/zero/demo-K-zero.jsonl");
    let before = lines.metadata().and_then(|file| file.modified()).expect("lines");
    // A cell that is done is not done again, one that was lost is.
    fs::remove_dir_all(sweep.join("seed-0/demo/zero")).expect("the folder is there");
    let again = success(&mut demo_sweep(folder, &[]));
    assert_eq!(zero(&again), zero(&table));
    assert_eq!(lines.metadata().and_then(|file| file.modified()).expect("lines"), before);

    // A cell that fails costs no other one its result, and is named at the end.
    let run = sweep.join("seed-0/demo/clip/run.json");
    fs::write(&run, "{").expect("a file");
    let message = failure(&mut demo_sweep(folder, &["--seeds", "0"]));
    assert!(message.contains("failed: clip on demo, seed 0"), "{message}");
    fs::remove_dir_all(sweep.join("seed-0/demo/clip")).expect("the folder is there");
    success(&mut demo_sweep(folder, &["--seeds", "0"]));
}

#[test]
fn bench_all_divides_what_does_not_remember() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let table = success(&mut demo_sweep(folder, &["--seeds", "0", "--shards", "2"]));
    let sweep = folder.join("sweep/seed-0/demo");
    assert!(sweep.join("zero/part-1/run.json").is_file());
    assert!(
        sweep.join("mint/run.json").is_file(),
        "a memory of its own for each part is asked for"
    );
    assert!(table.contains("zero") && table.contains("mint"), "{table}");
}

#[test]
fn bench_all_says_what_is_missing() {
    let message = failure(xtask().args(["bench-all", "--weights", "no-such-file"]));
    assert!(message.contains("no-such-file") && message.contains("cargo xtask fetch"), "{message}");
    let plan = success(xtask().args([
        "bench-all",
        "--backend",
        "cpu",
        "--weights",
        WEIGHTS,
        "--context",
        "no-such-file",
        "--data",
        "no-such-folder",
        "--test-sets",
        "demo-R/A",
        "--dry-run",
    ]));
    for skipped in
        ["coop: the checkpoint `no-such-file`", "A: not usable", "cocoop: `prompts.cocoop`"]
    {
        assert!(plan.contains(&format!("skipped: {skipped}")), "{plan}");
    }
    assert!(plan.contains("clip on demo-R-A, seed 0"), "{plan}");
    assert!(failure(xtask().args(["bench-all", "--rows", "mynt"])).contains("`mynt` is not a row"));
}

#[test]
fn bench_all_writes_the_scripts_of_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let options = ["--launcher", "slurm", "--no-submit", "--seeds", "0", "--shards", "3"];
    success(&mut demo_sweep(folder, &options));
    let read = |file: &str| {
        fs::read_to_string(folder.join("sweep/slurm").join(file)).expect("the file is there")
    };
    assert!(read("first.sh").contains("#SBATCH --array=0-0") && read("first.txt").contains("mint"));
    assert!(read("rest.sh").contains("#SBATCH --array=0-5"), "{}", read("rest.sh"));
    assert!(read("rest.sh").contains("--requeue") && read("report.sh").contains("report.html"));
    // A line is a command that runs as it is.
    let line = read("rest.txt").lines().next().expect("a line").to_owned();
    assert!(line.contains("--continue") && line.contains("--shard 0/3"), "{line}");
    success(Command::new("sh").current_dir(root()).args(["-c", &line]));
    assert!(folder.join("sweep/seed-0/demo/clip/part-0/run.json").is_file());
}

#[test]
fn bench_peer_compares_each_method_with_the_peers_recorded_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer");
    // The last argument of the peer's command line is the method.
    let script = format!("for last; do :; done; cat '{}'/\"$last\".json", answers.display());
    let python = stand_in(folder.path(), "python", &script);
    let bench = |python: &Path| {
        let mut chore = xtask();
        chore.args(["bench-peer", "--weights", WEIGHTS, "--method", "mint,tpt,zero,clip"]);
        chore.args(["--views", "10", "--images"]).arg(image());
        chore.args(["--classes", "assets/demo/classnames.json", "--python"]).arg(python);
        chore.arg("--output").arg(folder.path().join("results"));
        chore
    };
    let table = success(&mut bench(&python));
    for method in ["mint", "tpt", "zero", "clip"] {
        assert!(table.contains(&format!("| {method} | ours |")), "{table}");
    }
    assert!(folder.path().join("results/bench-peer.json").is_file());

    // A peer that predicts something else is not a peer.
    let script = format!("sed 's/\"top5\": .0/\"top5\": [5/' '{}/clip.json'", answers.display());
    let other = stand_in(folder.path(), "other-python", &script);
    assert!(failure(&mut bench(&other)).contains("there"));
}

#[test]
fn check_cuda_checks_a_feature_that_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    success(xtask().arg("check-cuda").env("CARGO", recording_cargo(folder.path())));
    let log = fs::read_to_string(folder.path().join("cargo.log")).expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        lines,
        [
            "check --package mint-cli --features cuda",
            "clippy --package mint-cli --features cuda --all-targets -- --deny warnings"
        ]
    );
    let manifest = fs::read_to_string(root().join("crates/mint-cli/Cargo.toml")).expect("a file");
    assert!(manifest.contains("\ncuda = "), "{manifest}");
}

#[test]
fn cost_curves_measures_every_setting_and_draws_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let classes = folder.path().join("classes.json");
    let names: Vec<String> = (0..1000).map(|index| format!("thing {index}")).collect();
    fs::write(&classes, serde_json::to_string(&names).expect("JSON")).expect("a file");
    let output = folder.path().join("cost");
    let mut chore = xtask();
    chore.args(["cost-curves", "--weights", WEIGHTS, "--image"]).arg(image());
    success(chore.arg("--classes").arg(&classes).arg("--output").arg(&output));
    for file in ["views.svg", "classes.svg", "steps.svg", "slots.svg", "numbers.json"] {
        assert!(output.join(file).is_file(), "{file}");
    }
    let numbers = fs::read_to_string(output.join("numbers.json")).expect("a file");
    let numbers: Value = serde_json::from_str(&numbers).expect("JSON");
    assert_eq!(numbers.as_array().map(Vec::len), Some(4));
}

#[test]
fn demo_table_rewrites_the_table_of_a_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("demo.md");
    fs::copy(root().join("docs/demo.md"), &document).expect("a copy");
    let mut chore = xtask();
    chore.args(["demo-table", "--views", "10", "--limit", "1", "--document"]).arg(&document);
    success(&mut chore);
    let (old, new) = (
        fs::read_to_string(root().join("docs/demo.md")).expect("a file"),
        fs::read_to_string(&document).expect("a file"),
    );
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows(&old), rows(&new));
    assert!(new.contains("| I (1) | A (1) | V (1) | R (1) | K (1) |"), "{new}");
}

#[test]
fn gpu_check_builds_a_stripped_program_and_runs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("target");
    let program = mint_gpu_check().get_program().to_owned();
    // Cargo's place is taken by the program for the CPU.
    let script = format!(
        "mkdir -p '{0}/debug' && cp '{1}' '{0}/debug/mint-gpu-check' && strip '{0}/debug/mint-gpu-check'",
        target.display(),
        Path::new(&program).display()
    );
    let cargo = stand_in(folder.path(), "cargo", &script);
    let chore = |options: &[&str]| {
        let mut chore = xtask();
        chore.args(["gpu-check", "--out"]).arg(folder.path().join("out")).args(options);
        chore.env("CARGO", &cargo).env("CARGO_TARGET_DIR", &target);
        chore
    };
    assert!(success(&mut chore(&["--build-only"])).contains("./mint-gpu-check --out results"));
    let smallest = ["--tiny", "--seconds", "0.01", "--classes", "10", "--method", "zero"];
    let options = ["--", "--backend", "cpu", "--precision", "f32", "--python", "no-python"];
    success(&mut chore(&[&options[..], &smallest].concat()));
    assert!(folder.path().join("out/gpu-check.md").is_file());
}

#[test]
fn test_processors_says_what_it_skips_and_fails_with_a_test() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = |manifest: &str, executable: &Path| {
        format!(
            r#"{{"executable":"{}","manifest_path":"{manifest}","profile":{{"test":true}},"target":{{"name":"facts"}}}}"#,
            executable.display()
        )
    };
    fs::create_dir_all(folder.path().join("mint-x")).expect("a folder");
    let manifest = folder.path().join("mint-x/Cargo.toml").display().to_string();
    let passing = stand_in(folder.path(), "passing", "echo 'test result: ok. 3 passed; 0 failed;'");
    let failing = stand_in(folder.path(), "failing", "exit 101");
    let emulator = stand_in(
        folder.path(),
        "emulator",
        "[ \"$1\" = --version ] && exit 0; echo \"emulated $2\" >> emulated.log; shift 2; exec \"$@\"",
    );
    let chore = |program: &Path, emulator: &Path| {
        let script = format!("echo '{}'", message(&manifest, program));
        let mut chore = xtask();
        chore.arg("test-processors").arg("--emulator").arg(emulator);
        chore.env("CARGO", stand_in(folder.path(), "cargo", &script));
        chore
    };
    let text = success(&mut chore(&passing, &emulator));
    assert!(text.contains("native: mint-x facts: 3 passed"), "{text}");
    let log = fs::read_to_string(folder.path().join("mint-x/emulated.log")).expect("a log");
    assert_eq!(log, "emulated Haswell\nemulated Nehalem\n");
    let text = success(&mut chore(&passing, Path::new("no-such-emulator")));
    assert!(text.contains("skipped: Haswell, Nehalem") && text.contains("qemu-user"), "{text}");
    let message = failure(&mut chore(&failing, &emulator));
    assert!(message.contains("3 test programs failed"), "{message}");
}

#[test]
fn tidy_is_content_with_the_repository() {
    assert_eq!(success(xtask().arg("tidy")), "all rules hold\n");
}
