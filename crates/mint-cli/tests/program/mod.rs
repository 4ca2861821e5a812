//! The program as a process, for the tests of the command line.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The demo's model as a weight file.
pub const WEIGHTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/clip.safetensors");

/// The program.
pub fn program() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("mint-cli"))
}

/// Runs the program in a folder.
pub fn mint(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = program();
    command.current_dir(folder).args(arguments).env_remove("MINT_DATA");
    command.output().expect("the program starts")
}

/// An empty folder.
pub fn folder() -> TempDir {
    TempDir::new().expect("a folder can be made")
}

/// The results of a run that must succeed.
#[track_caller]
pub fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

/// The message of a run that must fail, and print no results.
#[track_caller]
pub fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty(), "results belong to successes");
    String::from_utf8(output.stderr.clone()).expect("the message is text")
}

/// The message of a run that could not do everything, and printed what it could.
#[track_caller]
pub fn partial_failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!output.stdout.is_empty(), "the rest is a result");
    String::from_utf8(output.stderr.clone()).expect("the message is text")
}

/// A set of three of the demo's classes in a folder, as PNG files.
pub fn small_set(root: &Path, images: usize) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/images/R");
    for class in ["camel", "horse", "snail"] {
        fs::create_dir_all(root.join(class)).expect("a folder can be made");
        let files = fs::read_dir(demo.join(class)).expect("the demo has the class");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        for file in files.iter().take(images) {
            let name = file.file_name().expect("a name");
            fs::copy(file, root.join(class).join(name)).expect("the file can be copied");
        }
    }
}

/// The lines of a record without the times, which no two runs share.
pub fn lines_without_seconds(file: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    for line in &mut lines {
        let seconds = line.as_object_mut().expect("an object").remove("seconds");
        assert!(seconds.is_some_and(|seconds| seconds.as_f64() > Some(0.0)), "{line}");
    }
    lines
}
