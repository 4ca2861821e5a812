//! Results that cannot be written are never lost without a word.

mod program;

use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

use program::{failure, folder, mint, program, stdout};
use tempfile::TempDir;

/// A folder with a record, and a command line for each command that prints results.
fn commands() -> (TempDir, Vec<Vec<&'static str>>) {
    let folder = folder();
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/clip.safetensors");
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/images/R/camel");
    let mut images: Vec<_> = fs::read_dir(image)
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    images.sort();
    fs::copy(&images[0], folder.path().join("camel.png")).expect("a copy");
    stdout(&mint(
        folder.path(),
        &["--test-sets", "demo-A", "--method", "clip", "--limit", "1", "--output", "record"],
    ));
    let predict = ["predict", "camel.png", "--classes", "camel,horse", "--method", "clip"];
    let commands = vec![
        vec!["--help"],
        vec!["--version"],
        vec!["predict", "--help"],
        vec!["--test-sets", "demo-A", "--method", "clip", "--limit", "1", "--output", "new"],
        predict.to_vec(),
        [&predict[..], &["--format", "json"]].concat(),
        [&predict[..], &["--format", "jsonl"]].concat(),
        [&predict[..], &["--format", "csv"]].concat(),
        vec!["report", "record"],
        vec!["report", "record", "--format", "json"],
        vec!["datasets"],
        vec!["weights", "inspect", weights],
        vec!["completions", "bash"],
        vec!["completions", "zsh"],
    ];
    (folder, commands)
}

fn run(folder: &TempDir, arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let mut command: Command = program();
    command.current_dir(folder.path()).args(arguments).env_remove("MINT_DATA");
    let output = command.stdout(stdout).stderr(Stdio::piped()).spawn();
    let output = output.and_then(|child| child.wait_with_output()).expect("the program starts");
    let _ = fs::remove_dir_all(folder.path().join("new"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_full_disk_ends_every_command_with_a_message_and_1() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return; // Linux has it.
    };
    let (folder, commands) = commands();
    for arguments in commands {
        let full = full.try_clone().expect("a handle");
        let (code, message) = run(&folder, &arguments, full.into());
        assert_eq!(code, Some(1), "{arguments:?}: {message}");
        let expected = "error: cannot write the results to standard output: No space left";
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    }
}

#[test]
fn a_reader_that_left_ends_every_command_quietly() {
    let (folder, commands) = commands();
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, message) = run(&folder, &arguments, writer.into());
        assert_eq!(code, Some(0), "{arguments:?}: {message}");
        for word in ["error", "panicked"] {
            assert!(!message.contains(word), "{arguments:?}: {message}");
        }
    }
}

#[test]
fn usage_errors_end_with_2_and_are_no_results() {
    let folder = folder();
    let output = mint(folder.path(), &["--no-such-option"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(failure(&output).contains("--no-such-option"));
}
