//! From what was typed to test sets with their files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_datasets::{
    Corruption, FineGrained, FolderError, ImageSet, Source, TestSet, duplicate, open_image_folder,
    open_image_list, read_class_names,
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
    /// Lists of images, and webdatasets.
    pub image_lists: &'a [PathBuf],
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
    let Typed { test_sets, image_folders, image_lists, class_names, data } = typed;
    let mut sets: Vec<ImageSet> = Vec::new();
    let named: Vec<Named> = test_sets.map_or(Ok(Vec::new()), parse)?;
    if test_sets.is_some() && named.is_empty() {
        bail!(
            "`--test-sets` names no test set; leave it out for the demo, or name some of {}",
            known()
        );
    }
    if named.is_empty() && image_folders.is_empty() && image_lists.is_empty() {
        for name in demo::set_names() {
            sets.extend(demo::find_set(&name).transpose()?);
        }
        return Ok(sets);
    }
    // All names first: a misspelt one should not wait for the files of the others.
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
    for (index, set) in sets.iter().enumerate() {
        let is_same = |other: &&ImageSet| set.folder().is_some() && other.folder() == set.folder();
        if let Some(other) = sets[..index].iter().find(is_same) {
            bail!(
                "{} and {} were both found in `{}`; give each a folder of its own, such as `imagenet-sketch`",
                other.title,
                set.title,
                set.folder().unwrap_or(data).display()
            );
        }
    }
    let names = class_names.map(read_class_names).transpose()?.map(|names| names.names);
    let mut seen = BTreeSet::new();
    for folder in *image_folders {
        let set = open_image_folder(folder, names.clone())
            .with_context(|| format!("the image folder `{}` cannot be used", folder.display()))?;
        if let Some((one, other)) = duplicate(&set.class_names) {
            bail!(
                "the classes `{}` and `{}` of `{}` are the same to CLIP; give them names with `--class-names`, or join the folders",
                set.class_names[one],
                set.class_names[other],
                folder.display()
            );
        }
        add(set, folder, "image folder", &mut seen, &mut sets)?;
    }
    for list in *image_lists {
        let set = open_image_list(list, names.clone())?;
        add(set, list, "image list", &mut seen, &mut sets)?;
    }
    Ok(sets)
}

/// Published sets by the names that were typed.
pub fn published(typed: &str) -> anyhow::Result<Vec<TestSet>> {
    let set = |named| match named {
        Named::Published(set) => Ok(set),
        Named::Demo(set) => bail!("`{}` is embedded: there is nothing to examine", set.id),
    };
    parse(typed)?.into_iter().map(set).collect()
}

/// Adds a set of the user's with an id of its own.
fn add(
    mut set: ImageSet,
    path: &Path,
    what: &str,
    seen: &mut BTreeSet<PathBuf>,
    sets: &mut Vec<ImageSet>,
) -> anyhow::Result<()> {
    if !seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) {
        bail!("the {what} `{}` is named twice", path.display());
    }
    set.id = free_id(&set.id, sets);
    sets.push(set);
    Ok(())
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
    let known: Vec<String> =
        TestSet::all().map(|set| format!("{} ({})", set.id(), set.title())).collect();
    format!(
        "{}, C/fog/5 and so on (ImageNet-C), the groups `imagenet` and `fine-grained`, {}",
        known.join(", "),
        demo::set_names().join(", ")
    )
}

/// Names that are separated by slashes or commas. A corrupted set has slashes within its own name.
fn parse(typed: &str) -> anyhow::Result<Vec<Named>> {
    let mut named = Vec::new();
    for part in typed.split(',') {
        let mut names = part.split('/').map(str::trim).filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            match name.to_ascii_lowercase().as_str() {
                "c" => named.extend(corrupted(names.next(), names.next())?),
                "imagenet" => {
                    named.extend(TestSet::IMAGENET.map(Named::Published));
                }
                "fine-grained" | "finegrained" => {
                    let sets = FineGrained::ALL.map(TestSet::FineGrained);
                    named.extend(sets.map(Named::Published));
                }
                _ => named.push(parse_one(name)?),
            }
        }
    }
    Ok(named)
}

/// The sets that `C/KIND/SEVERITY` stands for, with `*` for all of the benchmark.
fn corrupted(kind: Option<&str>, severity: Option<&str>) -> anyhow::Result<Vec<Named>> {
    let wrong = || {
        Explained {
        problem: format!(
            "`C/{}/{}` is not a set of ImageNet-C",
            kind.unwrap_or_default(),
            severity.unwrap_or_default()
        ),
        detail: "these are named as `C/fog/5`: a corruption, or `*` for the 15 of the benchmark, and a severity from 1 to 5".to_owned(),
        hint: format!("corruptions are {}", Corruption::kinds().join(", ")),
    }
    };
    let (Some(kind), Some(severity)) = (kind, severity.and_then(|text| text.parse().ok())) else {
        return Err(wrong().into());
    };
    let sets: Vec<Corruption> = match kind {
        "*" => Corruption::benchmark(severity).collect(),
        kind => Corruption::new(kind, severity).into_iter().collect(),
    };
    if sets.is_empty() {
        return Err(wrong().into());
    }
    Ok(sets.into_iter().map(|set| Named::Published(TestSet::ImageNetC(set))).collect())
}

fn parse_one(name: &str) -> anyhow::Result<Named> {
    if let Some(set) = demo::find_set(name) {
        return Ok(Named::Demo(Box::new(set?)));
    }
    name.parse::<TestSet>().map(Named::Published).map_err(|_| {
        let detail = format!("known are {}", known());
        let problem = format!("`{name}` is not a known test set");
        let hint =
            "`--image-folder DIR` evaluates on any folder of class folders, `--image-list FILE` on a list"
                .to_owned();
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
                detail: format!("looked for `{example}` and the like in {}", places.join(", ")),
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
