//! Whole outputs as users see them, kept in `snapshots`. After a wanted change,
//! `INSTA_UPDATE=always cargo test -p mint-cli --test whole_outputs` rewrites them.

mod program;

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use program::{WEIGHTS, folder, program, small_set};

/// What a command prints, and how it ends. The words are separated by blanks.
fn session(folder: &Path, line: &str) -> String {
    let mut command = program();
    command.current_dir(folder).args(line.split(' ').filter(|word| !word.is_empty()));
    let output = command.env_remove("MINT_DATA").env_remove("COLUMNS").output();
    let output = output.expect("the program starts");
    let code = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("$ mint-cli {line}\n{}{}({code})\n", text(&output.stdout), text(&output.stderr))
}

#[test]
fn help() {
    let folder = folder();
    for (name, command) in [
        ("mint-cli", ""),
        ("predict", "predict "),
        ("datasets", "datasets "),
        ("weights", "weights "),
        ("weights-inspect", "weights inspect "),
        ("weights-verify", "weights verify "),
        ("weights-random", "weights random "),
        ("weights-convert", "weights convert "),
        ("report", "report "),
        ("completions", "completions "),
    ] {
        let line = format!("{command}--help");
        assert_snapshot!(format!("help-{name}"), session(folder.path(), &line));
    }
}

#[test]
fn errors_with_what_to_do() {
    let folder = folder();
    small_set(&folder.path().join("photos"), 1);
    fs::create_dir(folder.path().join("full")).expect("a folder");
    fs::write(folder.path().join("full/notes.txt"), "mine").expect("a file");
    fs::write(folder.path().join("share.toml"), "[zero]\nconfident-share = 7\n").expect("a file");
    fs::write(folder.path().join("page.pt"), "<!DOCTYPE html>").expect("a file");
    let lines = [
        "--test-sets X",
        "--test-sets R",
        "--test-sets demo-R --method teleport",
        "--test-sets demo-R --gpu 1",
        "--test-sets demo-R --limit 0",
        "--test-sets demo-R --method clip,clip",
        "--test-sets demo-R --config share.toml",
        "--test-sets demo-R --config missing.toml",
        "--test-sets demo-R --context words",
        "--test-sets demo-R --context random:x",
        "--test-sets demo-R --limit 1 --method clip --output full",
        "--resume --output full",
        "--image-folder photos",
        "--image-folder photos --weights ViT-B/16",
        "--image-folder photos --weights page.pt",
        "predict missing.png --classes cat,dog",
        "predict photos/camel --classes cat",
        "predict photos/camel --classes cat,dog,cat",
        "weights inspect missing.pt",
        "weights random --model ViT-H/14 x.safetensors",
        "report full",
    ];
    let sessions: Vec<String> = lines.iter().map(|line| session(folder.path(), line)).collect();
    assert_snapshot!("errors", sessions.join("\n"));
}

#[test]
fn inspect() {
    let folder = folder();
    fs::copy(WEIGHTS, folder.path().join("clip.safetensors")).expect("the file can be copied");
    assert_snapshot!("inspect", session(folder.path(), "weights inspect clip.safetensors"));
    let verify = "weights inspect clip.safetensors --format json";
    assert_snapshot!("inspect-json", session(folder.path(), verify));
}
