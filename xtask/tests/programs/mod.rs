//! The programs of the workspace as processes, for the tests of chores and documents.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `cargo xtask`, without cargo, in the root of the repository.
pub fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root());
    command
}

/// mint-cli as chores build it, in the root of the repository.
pub fn mint_cli() -> Command {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| build("mint-cli"));
    in_root(&PROGRAM)
}

/// mint-gpu-check for the CPU, in the root of the repository.
pub fn mint_gpu_check() -> Command {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| build("mint-gpu-check"));
    in_root(&PROGRAM)
}

fn in_root(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Builds a package's program and returns where it is.
fn build(package: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", package, "--message-format", "json"]);
    let output = cargo.current_dir(root()).output().expect("cargo can be started");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut programs = messages
        .filter_map(|message: serde_json::Value| message["executable"].as_str().map(PathBuf::from));
    programs.next_back().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// What a command printed that must succeed.
#[track_caller]
pub fn success(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}\n{}", messages(&output));
    String::from_utf8(output.stdout).expect("the output is text")
}

/// What a command complained about that must fail.
#[track_caller]
pub fn failure(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(!output.status.success(), "{command:?} succeeded");
    messages(&output)
}

fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
