//! The program as a process, for the tests of the command line.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The program, run by cargo's runner if there is one (`cargo xtask test-processors`).
pub fn program() -> Command {
    let program = assert_cmd::cargo::cargo_bin!("mint-cli");
    let runner = std::env::var("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
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
