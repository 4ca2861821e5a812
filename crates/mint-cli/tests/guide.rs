//! Everything that docs/guide.md tells its readers to type works, in the order in which it stands there.

#![cfg(unix)]

mod program;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use program::{folder, mint, program};

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide.md");
const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");

/// A line of the guide that is typed, and whether it is run.
struct Line {
    text: String,
    runs: bool,
}

/// The lines of all blocks for a shell; those marked `no_run` need a download.
fn lines() -> Vec<Line> {
    let guide = fs::read_to_string(GUIDE).expect("the guide can be read");
    let mut lines = Vec::new();
    for block in guide.split("```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').expect("a block has lines");
        let runs = match kind {
            "sh" => true,
            "sh,no_run" => false,
            other => panic!("a block of the guide is `{other}`"),
        };
        lines.extend(text.lines().map(|text| Line { text: text.to_owned(), runs }));
    }
    lines
}

/// Runs a line as a shell does that remembers the exported variables, with the program in its path.
fn typed(folder: &Path, exports: &str, line: &str) -> Output {
    let program = program();
    let program = Path::new(program.get_program()).parent().expect("a program is in a folder");
    let path = std::env::var("PATH").expect("there is a path");
    let mut shell = Command::new("sh");
    shell.current_dir(folder).arg("-c").arg(format!("{exports}\n{line}"));
    shell.env("PATH", format!("{}:{path}", program.display())).env_remove("MINT_DATA");
    shell.output().expect("a shell starts")
}

#[test]
fn every_command_of_the_guide_works() {
    let folder = folder();
    symlink(ASSETS, folder.path().join("assets")).expect("a link can be made");
    let mut exports = String::new();
    let mut ran = 0;
    for Line { text, runs } in lines() {
        if !runs {
            // `cargo` is checked with all documents, in xtask/tests/documents.rs.
            let words: Vec<&str> = text.split_whitespace().collect();
            match words.split_first() {
                Some((&"mint-cli", arguments)) => {
                    let output = mint(folder.path(), &[arguments, &["--help"]].concat());
                    assert!(output.status.success(), "{text}");
                }
                first => assert!(matches!(first, Some((&"cargo", _))), "{text}"),
            }
            continue;
        }
        let output = typed(folder.path(), &exports, &text);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}\n{errors}");
        assert!(!errors.contains("error:"), "{text}\n{errors}");
        if text.starts_with("export ") {
            exports = format!("{exports}\n{text}");
        }
        if text.starts_with("mint-cli") {
            let results = String::from_utf8_lossy(&output.stdout).into_owned();
            let to_file = text.contains("--output") || text.contains('>');
            assert_eq!(results.trim().is_empty(), to_file, "{text}\n{results}");
            ran += 1;
        }
    }
    assert!(ran >= 12, "{ran} commands");

    // What the guide says of their results.
    let file = |name: &str| fs::read_to_string(folder.path().join(name)).expect("it was written");
    let labels = file("labels.csv");
    assert_eq!(labels.lines().count(), 1 + 5, "a head, and a line for each picture\n{labels}");
    let page = file("why.html");
    assert!(page.contains("How MINT came to it") && page.contains("How ZERO came to it"), "why");
    assert!(file("mint-cli.bash").contains("predict"));
    assert!(folder.path().join("man1/mint-cli-predict.1").is_file());
    let memory = mint(folder.path(), &["memory", "inspect", "album.memory"]);
    let memory = String::from_utf8_lossy(&memory.stdout).into_owned();
    assert!(memory.contains("memory of 6 pictures"), "both runs are in it\n{memory}");
}

/// No part of it is lost by accident.
#[test]
fn the_guide_shows_what_it_promises() {
    let typed: String = lines().into_iter().map(|line| line.text + "\n").collect();
    for option in [
        "--format csv",
        "--cache",
        "--none",
        "--min-probability",
        "--calibrate",
        "--memory",
        "--explain",
        "--image-folder",
        "--template",
    ] {
        assert!(typed.contains(option), "{option}");
    }
}
