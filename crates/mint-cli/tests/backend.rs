//! What the program says about GPUs when it was built without CUDA, as the tests build it.
#![cfg(not(any(feature = "cuda", feature = "wgpu")))]

mod program;

use program::{failure, folder, mint, stdout};

const SHORT: [&str; 6] = ["--test-sets", "demo-R", "--limit", "1", "--method", "clip"];

#[test]
fn cuda_is_refused_with_what_to_build() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--backend", "cuda"]));
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[0], "error: this program was built without CUDA");
    assert!(lines[1].contains("`cuda`"), "{message}");
    assert!(lines[2].starts_with("hint: build it with `cargo build"), "{message}");
    assert!(lines[2].contains("--features cuda"), "{message}");
    assert_eq!(lines.len(), 3, "{message}");
}

#[test]
fn graphics_devices_are_refused_with_what_to_build() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--backend", "wgpu"]));
    assert!(message.starts_with("error: this program was built without wgpu"), "{message}");
    assert!(message.contains("--features wgpu"), "{message}");
}

#[test]
fn cuda_is_refused_before_anything_is_read() {
    let folder = folder();
    let message = failure(&mint(
        folder.path(),
        &[
            "predict",
            "none.png",
            "--classes",
            "cat,dog",
            "--backend",
            "cuda",
            "--gpu",
            "3",
            "--weights",
            "none.safetensors",
        ],
    ));
    assert!(message.starts_with("error: this program was built without CUDA"), "{message}");
}

#[test]
fn auto_says_in_one_line_why_the_cpu_runs() {
    let folder = folder();
    let output = mint(folder.path(), &[&SHORT[..], &["--backend", "auto"]].concat());
    assert!(stdout(&output).contains("demo-R"));
    let errors = String::from_utf8(output.stderr).expect("text");
    let notes: Vec<&str> =
        errors.lines().filter(|line| line.starts_with("note: the CPU")).collect();
    assert_eq!(
        notes,
        ["note: the CPU runs the model: this program was built without CUDA and wgpu"]
    );
}

#[test]
fn the_record_names_the_device() {
    let folder = folder();
    stdout(&mint(folder.path(), &[&SHORT[..], &["--output", "run"]].concat()));
    let run = std::fs::read_to_string(folder.path().join("run/run.json")).expect("a run file");
    let run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    assert_eq!(run["device"], "cpu");
}

#[test]
fn a_gpu_is_not_chosen_for_the_cpu() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--gpu", "3"]));
    assert!(message.starts_with("error: `--gpu 3` chooses a GPU, but the CPU runs"), "{message}");
    assert!(
        message.contains("hint: add `--backend cuda` or `--backend wgpu`, or leave `--gpu 3` out"),
        "{message}"
    );
}

#[test]
fn a_gpu_has_a_number() {
    let folder = folder();
    let message = failure(&mint(folder.path(), &["--backend", "cuda", "--gpu", "first"]));
    assert!(message.contains("invalid value 'first' for '--gpu <N>'"), "{message}");
}
