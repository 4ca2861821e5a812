//! Files for shells and for `man`, which are made from the command line itself.

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use program::{folder, mint, stdout};

/// The options that a help text or a page defines or mentions.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let words = text.split(|character| !is_part(character));
    let options = words.filter(|word| word.starts_with("--") && word.len() > 2);
    options.map(|word| word.trim_end_matches('-').to_owned()).collect()
}

/// All commands, the program itself first, with the options that their help defines.
fn commands(folder: &Path, path: &[&str]) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let help = stdout(&mint(folder, &[path, &["--help"]].concat()));
    // Options stand at the left; what is said about them does not.
    let is_option = |line: &&str| {
        line.trim_start().starts_with('-') && line.len() - line.trim_start().len() <= 6
    };
    let name = |line: &str| {
        let start = line.find("--").expect("every option has a long name");
        options(line[start..].split_whitespace().next().expect("a name"))
    };
    let defined = help.lines().filter(is_option).flat_map(name).collect();
    let own = path.iter().map(|&word| word.to_owned()).collect();
    let mut found = vec![(own, defined)];
    let below = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let below = below.lines().take_while(|line| line.starts_with("  "));
    for line in below.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().expect("a name");
        if name != "help" {
            found.extend(commands(folder, &[path, &[name]].concat()));
        }
    }
    found
}

#[test]
fn every_command_has_a_manual_page_that_names_its_options() {
    let folder = folder();
    let written = stdout(&mint(folder.path(), &["man", "share/man1"]));
    let commands = commands(folder.path(), &[]);
    assert!(commands.len() >= 14, "{commands:?}");
    let mut files = BTreeSet::new();
    for (path, defined) in &commands {
        let name = [&["mint-cli".to_owned()], path.as_slice()].concat().join("-");
        let file = format!("share/man1/{name}.1");
        let page = fs::read_to_string(folder.path().join(&file)).expect("the page is there");
        // A page has marks for bold words, and for dashes, so that they can be copied.
        let page = [("\\-", "-"), ("\\fB", " "), ("\\fI", " "), ("\\fR", " ")]
            .iter()
            .fold(page, |page, (mark, plain)| page.replace(mark, plain));
        assert!(page.contains(".TH"), "{file}");
        assert!(defined.contains("--help"), "{name}: {defined:?}");
        let missing: Vec<_> = defined.difference(&options(&page)).cloned().collect();
        assert!(missing.is_empty(), "{file} does not name {missing:?}");
        files.insert(file);
    }
    assert_eq!(written.lines().map(str::to_owned).collect::<BTreeSet<_>>(), files);
    let entries = fs::read_dir(folder.path().join("share/man1")).expect("the folder is there");
    assert_eq!(entries.count(), files.len(), "no other files");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    fs::write(folder.path().join("man1"), "mine").expect("a file can be written");
    let output = mint(folder.path(), &["man", "man1"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("cannot make `man1`"), "{message}");
    assert_eq!(fs::read(folder.path().join("man1")).expect("it is there"), b"mine");
}

#[test]
fn every_shell_gets_a_script_that_knows_every_command_and_option() {
    let folder = folder();
    let help = stdout(&mint(folder.path(), &["completions", "--help"]));
    let shells = help.split("[possible values: ").nth(1).and_then(|rest| rest.split(']').next());
    let shells: Vec<&str> = shells.expect("the shells are listed").split(", ").collect();
    assert!(shells.len() >= 5, "{shells:?}");
    let commands = commands(folder.path(), &[]);
    for shell in shells {
        let script = stdout(&mint(folder.path(), &["completions", shell]));
        for (path, defined) in &commands {
            let command = path.last().map_or("mint-cli", String::as_str);
            assert!(script.contains(command), "{shell} does not know `{command}`");
            // Fish writes `-l views` for `--views`.
            let knows = |option: &&String| {
                script.contains(*option) || script.contains(&format!("-l {}", &option[2..]))
            };
            let missing: Vec<_> = defined.iter().filter(|option| !knows(option)).collect();
            assert!(missing.is_empty(), "{shell} does not know {missing:?} of {path:?}");
        }
    }
    let output = mint(folder.path(), &["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2), "a shell that is not known is a wrong command line");
}
