//! Circles of files inside a crate, told by their `use` lines.
//!
//! A file that re-exports what lies below it (`pub use`) does not use it. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Every circle among the sources of a crate, as a sentence. Paths are below `src`.
pub fn circles(sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let modules: BTreeMap<Vec<String>, &PathBuf> =
        sources.keys().map(|file| (module(file), file)).collect();
    let uses: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = sources
        .iter()
        .map(|(file, text)| {
            let own = module(file);
            let named = used_paths(text, &own);
            let files = named.iter().filter_map(|path| resolve(path, &modules));
            (file, files.filter(|&other| other != file).collect())
        })
        .collect();
    let reaches = |from: &PathBuf| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&PathBuf> = uses[from].iter().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(&uses[file]);
            }
        }
        seen
    };
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        uses.keys().map(|&file| (file, reaches(file))).collect();
    let mut circles = BTreeSet::new();
    for (&file, others) in reached.iter().filter(|&(file, others)| others.contains(file)) {
        let back = others.iter().filter(|other| reached[**other].contains(file));
        circles.insert(back.map(|file| file.display().to_string()).collect::<Vec<_>>());
    }
    circles.into_iter().map(|files| format!("a circle of files: {}", files.join(", "))).collect()
}

/// The path of the module that a file is; empty for the root of the crate.
fn module(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

/// The file of the deepest module on a path.
fn resolve<'a>(
    path: &[String],
    modules: &BTreeMap<Vec<String>, &'a PathBuf>,
) -> Option<&'a PathBuf> {
    (0..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied())
}

/// Paths below the crate's root that `use` lines name.
fn used_paths(text: &str, own: &[String]) -> Vec<Vec<String>> {
    static USE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?m)^\s*(pub )?(?:pub\([a-z]+\) )?use ([^;]+);";
        Regex::new(pattern).expect("the pattern is valid")
    });
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut paths = Vec::new();
    for statement in USE.captures_iter(code).filter(|found| found.get(1).is_none()) {
        expand(&[], &statement[2], &mut paths);
    }
    paths.into_iter().filter_map(|path| absolute(&path, own)).collect()
}

/// Writes out the braces of a `use` tree.
fn expand(before: &[String], tree: &str, into: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let head = tree.find('{').unwrap_or(tree.len());
    let parts = tree[..head].split("::").map(str::trim).filter(|part| !part.is_empty());
    let mut path = before.to_vec();
    path.extend(parts.map(|part| part.split(" as ").next().unwrap_or(part).to_owned()));
    if head == tree.len() {
        into.push(path);
        return;
    }
    let inner = tree[head + 1..].trim_end().trim_end_matches('}');
    let mut depth = 0;
    let mut start = 0;
    for (place, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&path, &inner[start..place], into);
                start = place + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        expand(&path, &inner[start..], into);
    }
}

/// A path from the crate's root; `None` if it leads out of the crate.
fn absolute(path: &[String], own: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let above = &own[..own.len().checked_sub(supers)?];
            Some([above, &path[supers..]].concat())
        }
        "self" => Some([own, &path[1..]].concat()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|&(file, text)| (file.into(), text.to_owned())).collect();
        circles(&sources)
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
            ("a.rs", "use crate::{\n    b::{self, B},\n    c::C,\n};\n"),
            ("b.rs", "use std::fs;\n\nuse crate::d::inner::D;\n"),
            ("d/mod.rs", "pub use inner::D;\n"),
            ("d/inner.rs", "use super::super::a::A;\n"),
        ];
        assert_eq!(found(&files), ["a circle of files: a.rs, b.rs, d/inner.rs"]);
    }

    #[test]
    fn reexports_tests_and_other_crates_are_no_circle() {
        let files = [
            ("lib.rs", "pub use a::A;\n"),
            ("a.rs", "use crate::b::B;\nuse other::a::A;\n"),
            ("b.rs", "// use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
            ("c.rs", "use crate::Root;\n"),
        ];
        assert!(found(&files).is_empty(), "{:?}", found(&files));
    }
}
