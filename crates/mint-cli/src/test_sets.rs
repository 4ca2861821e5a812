//! From what was typed to test sets with their files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_datasets::{
    FolderError, ImageSet, Source, TestSet, duplicate, open_image_folder, read_class_names,
};
use mint_device::Explained;

use crate::demo;

/// What was typed.
#[derive(Debug)]
pub struct Typed<'a> {
    /// Names, separated by slashes or commas.
    pub test_sets: Option<&'a str>,
    /// Folders of class folders.
    pub image_folders: &'a [PathBuf],
    /// Class names for those.
    pub class_names: Option<&'a Path>,
    /// Folder that holds the published test sets.
    pub data: &'a Path,
}

/// Whether the set is one of the demo's.
pub fn is_demo(set: &ImageSet) -> bool {
    matches!(set.source, Source::Embedded(_))
}

/// The sets that were asked for; without any, all of the demo's. No two have the same id.
pub fn find(typed: &Typed<'_>) -> anyhow::Result<Vec<ImageSet>> {
    let Typed { test_sets, image_folders, class_names, data } = typed;
    let mut sets: Vec<ImageSet> = Vec::new();
    let names: Vec<&str> = test_sets.iter().flat_map(|typed| split_names(typed)).collect();
    if test_sets.is_some() && names.is_empty() {
        bail!(
            "`--test-sets` names no test set; leave it out for the demo, or name some of {}",
            known()
        );
    }
    if names.is_empty() && image_folders.is_empty() {
        for name in demo::set_names() {
            sets.extend(demo::find_set(&name).transpose()?);
        }
        return Ok(sets);
    }
    // All names first: a misspelt one should not wait for the files of the others.
    let named: Vec<Named> = names.into_iter().map(parse).collect::<anyhow::Result<_>>()?;
    for (index, name) in named.iter().enumerate() {
        if named[..index].iter().any(|other| other.id() == name.id()) {
            bail!("the test set `{}` is named twice", name.id());
        }
    }
    for name in named {
        sets.push(match name {
            Named::Demo(set) => *set,
            Named::Published(set) => find_test_set(set, data)?,
        });
    }
    let mut seen = BTreeSet::new();
    for folder in *image_folders {
        let names = class_names.map(read_class_names).transpose()?;
        if let Some((first, second)) = names.as_deref().and_then(duplicate) {
            bail!(
                "`--class-names`: names {} and {} are the same to CLIP; give each class a name of its own",
                first + 1,
                second + 1
            );
        }
        let mut set = open_image_folder(folder, names)
            .with_context(|| format!("the image folder `{}` cannot be used", folder.display()))?;
        if !seen.insert(std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone())) {
            bail!("the image folder `{}` is named twice", folder.display());
        }
        set.id = free_id(&set.id, &sets);
        sets.push(set);
    }
    Ok(sets)
}

/// An id for a folder that is neither a known set's nor another folder's, whatever the case of letters:
/// files are named by it.
fn free_id(name: &str, sets: &[ImageSet]) -> String {
    let is_known = name.parse::<TestSet>().is_ok()
        || name.to_ascii_lowercase().starts_with("demo-")
        || name.eq_ignore_ascii_case("mean");
    let name = if is_known { format!("folder-{name}") } else { name.to_owned() };
    let is_taken = |id: &str| sets.iter().any(|set| set.id.to_lowercase() == id.to_lowercase());
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone())
        .chain(numbered)
        .find(|id| !is_taken(id))
        .expect("numbers do not run out")
}

/// A test set that was named on the command line.
enum Named {
    Demo(Box<ImageSet>),
    Published(TestSet),
}

impl Named {
    fn id(&self) -> &str {
        match self {
            Self::Demo(set) => &set.id,
            Self::Published(set) => set.id(),
        }
    }
}

fn known() -> String {
    let known = TestSet::ALL.map(|set| format!("{} ({})", set.id(), set.title()));
    format!("{}, {}", known.join(", "), demo::set_names().join(", "))
}

fn parse(name: &str) -> anyhow::Result<Named> {
    if let Some(set) = demo::find_set(name) {
        return Ok(Named::Demo(Box::new(set?)));
    }
    name.parse::<TestSet>().map(Named::Published).map_err(|_| {
        let detail = format!("known are {}", known());
        let problem = format!("`{name}` is not a known test set");
        let hint = "`--image-folder DIR` evaluates on any folder of class folders".to_owned();
        Explained { problem, detail, hint }.into()
    })
}

fn find_test_set(set: TestSet, data: &Path) -> anyhow::Result<ImageSet> {
    set.find(data).map_err(|error| match error {
        FolderError::NotFound { title, example, places } => {
            let places: Vec<String> =
                places.iter().map(|place| format!("`{}`", place.display())).collect();
            Explained {
                problem: format!("{title} was not found"),
                detail: format!(
                    "looked for class folders such as `{example}` in {}",
                    places.join(", ")
                ),
                hint: format!(
                    "get it from {}, unpack it, and name the folder around it with `--data DIR`",
                    set.origin()
                ),
            }
            .into()
        }
        other => anyhow::Error::new(other),
    })
}

/// Splits what was typed at slashes and commas.
fn split_names(typed: &str) -> impl Iterator<Item = &str> {
    typed.split(['/', ',']).map(str::trim).filter(|name| !name.is_empty())
}
