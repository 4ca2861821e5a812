//! The rules of docs/architecture.md that a program can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::circles::circles;
use crate::process::cargo;

/// Which of our crates each of our crates may name, tests apart.
const LAYERS: [(&str, &[&str]); 12] = [
    ("mint-augment", &[]),
    ("mint-datasets", &[]),
    ("mint-golden", &[]),
    ("mint-clip", &[]),
    ("mint-fixtures", &["mint-clip", "mint-device", "mint-golden"]),
    ("mint-device", &["mint-clip"]),
    ("mint-tuner", &["mint-clip"]),
    ("mint-eval", &["mint-augment", "mint-clip", "mint-datasets", "mint-tuner"]),
    ("mint-report", &["mint-eval"]),
    ("mint-gpu-check", &ALL),
    ("mint-cli", &ALL),
    ("xtask", &[]),
];

/// What the programs are made of.
const ALL: [&str; 7] = [
    "mint-augment",
    "mint-clip",
    "mint-datasets",
    "mint-device",
    "mint-eval",
    "mint-report",
    "mint-tuner",
];

/// Crates in which pixels live and no tensor does.
const WITHOUT_BURN: [&str; 4] = ["mint-augment", "mint-datasets", "mint-golden", "xtask"];

/// Crates that may print.
const PRINTERS: [&str; 3] = ["mint-cli", "mint-gpu-check", "xtask"];

/// Prints what is broken, if anything.
pub fn run() -> anyhow::Result<()> {
    let problems = problems()?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    println!("all rules hold");
    Ok(())
}

/// Every broken rule, as a sentence.
fn problems() -> anyhow::Result<Vec<String>> {
    let packages = workspace_packages()?;
    let layers: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let mut problems = Vec::new();
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    for package in &packages {
        let name = text(&package["name"]);
        let Some(allowed) = layers.get(name) else {
            problems.push(format!("`{name}` has no place among the layers"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        // The kind of a normal dependency is null.
        for dependency in dependencies.filter(|dependency| dependency["kind"].is_null()) {
            let dependency = text(&dependency["name"]);
            if ours.contains(dependency) && !allowed.contains(&dependency) {
                problems.push(format!("`{name}` must not depend on `{dependency}`"));
            }
            if dependency.starts_with("burn") && WITHOUT_BURN.contains(&name) {
                problems.push(format!("`{name}` must not name `{dependency}`"));
            }
        }
        let manifest = Path::new(text(&package["manifest_path"]));
        let folder = manifest.parent().context("a manifest has a folder")?;
        let mut of_crate = BTreeMap::new();
        for file in sources(folder)? {
            let text = fs::read_to_string(&file)?;
            problems.extend(problems_in(name, &file, &text));
            if let Ok(path) = file.strip_prefix(folder.join("src")) {
                of_crate.insert(path.to_owned(), text);
            }
        }
        let circles = circles(&of_crate).into_iter();
        problems.extend(circles.map(|circle| format!("`{name}` has {circle}")));
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    for name in ours {
        if !manifest.contains(&format!("\n{name} = {{ opt-level = ")) {
            problems.push(format!("`{name}` has no profile: it would be built without its checks"));
        }
    }
    let clip = fs::read_to_string(root().join("crates/mint-clip/src/lib.rs"))?;
    let burn =
        clip.split_once("BURN_VERSION: &str = \"").and_then(|(_, rest)| rest.split('"').next());
    if burn.is_none_or(|burn| !manifest.contains(&format!("\nburn = {{ version = \"={burn}\""))) {
        problems.push("`mint_clip::BURN_VERSION` is not the version in `Cargo.toml`".to_owned());
    }
    problems.extend(built_twice()?);
    Ok(problems)
}

/// Crates that may be built alone, and must not compile Burn with other features then.
const ALONE: [&str; 4] = ["mint-clip", "mint-tuner", "mint-eval", "mint-cli"];

/// Packages below Burn that are compiled once more when a crate is built alone.
fn built_twice() -> anyhow::Result<Vec<String>> {
    let below_burn = features(&["--package", "burn"], "normal,no-proc-macro")?;
    let everything = features(&["--workspace"], "normal,dev,no-proc-macro")?;
    let mut problems = Vec::new();
    for package in ALONE {
        let alone = features(&["--package", package], "normal,no-proc-macro")?;
        for (name, features) in alone.iter().filter(|(name, _)| below_burn.contains_key(*name)) {
            let together = everything.get(name).cloned().unwrap_or_default();
            for features in features.difference(&together) {
                problems.push(format!(
                    "`{package}` alone compiles `{name}` with [{features}], all crates together with {together:?}"
                ));
            }
        }
    }
    Ok(problems)
}

/// The features of every package that becomes a part of programs, by name and version. (What build
/// scripts and procedural macros use is built with other features.)
fn features(selection: &[&str], edges: &str) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut command = cargo();
    command.args(["tree", "--offline", "--prefix", "none", "--format", "{p} {f}", "--edges"]);
    command.arg(edges).args(selection).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ').filter(|word| !word.starts_with('('));
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let of_package = features.entry(format!("{name} {version}")).or_default();
            of_package.insert(words.next().unwrap_or_default().to_owned());
        }
    }
    Ok(features)
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages of this workspace, as `cargo metadata` describes them.
fn workspace_packages() -> anyhow::Result<Vec<Value>> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("cargo cannot be started")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Broken rules in one source file.
fn problems_in(package: &str, file: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |what: &str| problems.push(format!("`{}` {what}", file.display()));
    let prints = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];
    let in_tests = file
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches" | "examples")));
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let build_script = file.ends_with("build.rs");
    if !PRINTERS.contains(&package)
        && !in_tests
        && !build_script
        && code.clone().any(|line| prints.iter().any(|call| line.contains(call)))
    {
        problem("prints, which only the command line may");
    }
    if ["utils", "helpers", "common", "misc"]
        .contains(&file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default())
    {
        problem("has a name that says nothing");
    }
    if text.contains(concat!("#[ig", "nore]")) {
        problem("skips a test");
    }
    if !text.starts_with("//!") {
        problem("does not start with a line that says what it is");
    }
    problems
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_rules() {
        let problems = problems().expect("the repository can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn ci_runs_the_test_command_of_the_readme() {
        let readme = fs::read_to_string(root().join("README.md")).expect("the file is there");
        let ci = fs::read_to_string(root().join(".ci/run")).expect("the file is there");
        assert!(readme.lines().any(|line| line == "cargo run -p mint-cli"), "the demo's command");
        assert!(readme.lines().any(|line| line == "cargo test --workspace"), "the tests' command");
        assert!(ci.lines().any(|line| line == "cargo test --workspace"), "the same in `.ci/run`");
    }

    #[test]
    fn broken_rules_are_seen() {
        let text = "fn main() { println!(\"hello\"); }";
        let problems = problems_in("mint-clip", Path::new("src/utils.rs"), text);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
