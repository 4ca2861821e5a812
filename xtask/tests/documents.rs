//! What the documents show exists: commands with their options and values, files, tests.

mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use programs::{mint_cli, mint_gpu_check, root, xtask};

/// Folders with documents for users.
const FOLDERS: [&str; 5] = [".", "docs", "benches/peer", "assets/demo", "configs"];

/// Options of other programs that documents name alone: cargo, Docker, TPT's official code.
const FOREIGN_OPTIONS: [&str; 4] = ["--release", "--features", "--gpus", "--load"];

/// Files that are the user's, or that a program writes.
const FOREIGN_FILES: [&str; 2] = ["cubecl.toml", "gpu-check.md"];

/// A piece of code in a document.
#[derive(Debug)]
struct Code {
    document: PathBuf,
    text: String,
}

/// All documents, and the comments of the configurations.
fn documents() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).expect("the folder can be read");
    let crates = crates.map(|entry| entry.expect("an entry").path());
    let data = [root().join("xtask/data"), root().join("xtask")];
    let folders = FOLDERS.iter().map(|folder| root().join(folder));
    let folders = folders.chain(crates.flat_map(|path| [path.join("data"), path])).chain(data);
    let mut documents = Vec::new();
    for folder in folders.filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            let is_config = path.parent().is_some_and(|parent| parent.ends_with("configs"));
            if path.extension().is_some_and(|extension| extension == "md" || is_config) {
                documents.push(path);
            }
        }
    }
    // What changed once may have had other commands.
    documents.retain(|path| !path.ends_with("CHANGELOG.md"));
    documents.sort();
    assert!(documents.len() > 20, "{documents:?}");
    documents
}

/// Lines of fenced blocks, and spans within backticks, which may go over the end of a line.
fn code_of(document: &Path) -> Vec<Code> {
    let text = fs::read_to_string(document).expect("the document can be read");
    let code = |text: &str| Code {
        document: document.to_owned(),
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            let lines = part.lines().skip(1).map(|line| line.split(" #").next().unwrap_or(line));
            found.extend(lines.map(code));
        } else {
            let paragraphs = part.split("\n\n");
            for paragraph in paragraphs {
                let paragraph = paragraph.replace("\n# ", "\n");
                found.extend(paragraph.split('`').skip(1).step_by(2).map(code));
            }
        }
    }
    found
}

fn all_code() -> Vec<Code> {
    documents().iter().flat_map(|document| code_of(document)).collect()
}

/// The words of a command, without quotes and the brackets of what may be left out, and without where
/// its output goes.
fn words(text: &str) -> Vec<String> {
    let text = text.split(" > ").next().unwrap_or(text);
    let text = text.replace(['[', ']', '"'], "");
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Puts `--help` before the options that are handed on, so that everything before it is parsed.
fn parse(mut program: Command, arguments: &[String]) -> Result<(), String> {
    let own = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let output = program.args(&arguments[..own]).arg("--help").output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(message) }
}

/// Checks one command; `None` if it is not one of ours.
fn check_command(text: &str) -> Option<Result<(), String>> {
    let words = words(text);
    let starts = |start: &str| {
        let start: Vec<&str> = start.split(' ').collect();
        words.len() >= start.len() && words.iter().zip(&start).all(|(word, start)| word == start)
    };
    if starts("cargo xtask") {
        return Some(parse(xtask(), &words[2..]));
    }
    if starts("cargo run -p mint-cli") {
        let own = words.iter().position(|word| word == "--").map_or(words.len(), |at| at + 1);
        return Some(parse(mint_cli(), &words[own..]).and_then(|()| check_cargo(&words)));
    }
    // A drawing of the layers is not a command.
    if (starts("mint-cli") || starts("./mint-cli")) && !text.contains("-->") {
        return Some(parse(mint_cli(), &words[1..]));
    }
    if starts("./mint-gpu-check") {
        return Some(parse(mint_gpu_check(), &words[1..]));
    }
    words.iter().position(|word| word == "cargo").map(|at| check_cargo(&words[at..]))
}

/// Checks the packages, test programs and features that a call of cargo names.
fn check_cargo(words: &[String]) -> Result<(), String> {
    let own = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let value = |names: &[&str]| {
        let at = words[..own].iter().position(|word| names.contains(&word.as_str()))?;
        words.get(at + 1).cloned()
    };
    let packages: Vec<PathBuf> = match (value(&["-p", "--package"]), value(&["--path"])) {
        (Some(package), _) if package == "xtask" => vec![root().join("xtask")],
        (Some(package), _) => vec![root().join("crates").join(package)],
        (None, Some(path)) => vec![root().join(path)],
        (None, None) => {
            let crates = fs::read_dir(root().join("crates")).expect("the folder can be read");
            crates.map(|entry| entry.expect("an entry").path()).collect()
        }
    };
    let some_package_has = |file: &str| packages.iter().any(|path| path.join(file).is_file());
    if !some_package_has("Cargo.toml") {
        return Err(format!("there is no package {packages:?}"));
    }
    for (option, folder) in [("--test", "tests"), ("--bench", "benches"), ("--example", "examples")]
    {
        if let Some(name) = value(&[option])
            && !some_package_has(&format!("{folder}/{name}.rs"))
        {
            return Err(format!("there is no {option} {name}"));
        }
    }
    if let Some(feature) = value(&["--features"]) {
        let manifests = packages.iter().map(|path| fs::read_to_string(path.join("Cargo.toml")));
        let mut manifests = manifests.map(|manifest| manifest.unwrap_or_default());
        if !manifests.any(|manifest| manifest.contains(&format!("\n{feature} = "))) {
            return Err(format!("there is no feature {feature}"));
        }
    }
    Ok(())
}

/// Everything that `--help` prints, of a program and all its subcommands.
fn all_help(program: fn() -> Command, path: &[String], into: &mut String) {
    let output = program().args(path).arg("--help").output().expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("help is text");
    let commands = text.split("\nCommands:\n").nth(1).unwrap_or("");
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    for line in commands.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().expect("a name").to_owned();
        if name != "help" {
            all_help(program, &[path, &[name]].concat(), into);
        }
    }
    into.push_str(&text);
}

#[test]
fn every_command_of_the_documents_is_accepted() {
    let mut problems = Vec::new();
    let mut checked = BTreeSet::new();
    for Code { document, text } in all_code() {
        if let Some(Err(problem)) = check_command(&text) {
            problems.push(format!("{}: `{text}`\n{problem}", document.display()));
        } else if check_command(&text).is_some() {
            checked.insert(text);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked.len() > 30, "{checked:#?}");
}

#[test]
fn every_option_of_the_documents_exists() {
    let mut help = String::new();
    all_help(mint_cli, &[], &mut help);
    all_help(mint_gpu_check, &[], &mut help);
    all_help(xtask, &[], &mut help);
    for entry in fs::read_dir(root().join("benches/peer")).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "py") {
            help.push_str(&fs::read_to_string(path).expect("the program can be read"));
        }
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let known: BTreeSet<&str> =
        help.split(|character| !is_part(character)).filter(|word| word.starts_with("--")).collect();
    let mut problems = Vec::new();
    let mut checked = 0;
    for Code { document, text } in all_code().iter().filter(|code| code.text.starts_with("--")) {
        let option = text.split([' ', '=']).next().expect("a word");
        if known.contains(option) || FOREIGN_OPTIONS.contains(&option) {
            checked += 1;
        } else {
            problems.push(format!("{}: there is no `{text}`", document.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for Code { document, text } in all_code() {
        let sources = [".rs", ".py", ".toml", ".md"];
        let plain = text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "./_-".contains(character));
        if !plain
            || !sources.iter().any(|end| text.ends_with(end))
            || FOREIGN_FILES.contains(&text.as_str())
        {
            continue;
        }
        let here = document.parent().expect("a document is in a folder");
        let crates = fs::read_dir(root().join("crates")).expect("the folder can be read");
        let mut places: Vec<PathBuf> =
            ["", "crates", "configs"].map(|folder| root().join(folder)).into();
        places.push(here.to_owned());
        for entry in crates {
            let path = entry.expect("an entry").path();
            places.extend(["", "src", "tests"].map(|folder| path.join(folder)));
        }
        checked += 1;
        if !places.iter().any(|place| place.join(&text).is_file()) {
            problems.push(format!("{}: there is no `{text}`", document.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    for text in [
        "mint-cli doctor",
        "mint-cli predict --no-such-option",
        "mint-cli --views many",
        "cargo run -p mint-cli --features warp -- --limit 1",
        "cargo xtask bake",
        "cargo xtask fetch weights --form safetensors",
        "cargo test -p mint-clip --test no_such_test",
        "cargo test -p mint-nothing",
    ] {
        assert!(matches!(check_command(text), Some(Err(_))), "{text}");
    }
    assert!(check_command("mint-cli/tests/rows.rs").is_none());
}
