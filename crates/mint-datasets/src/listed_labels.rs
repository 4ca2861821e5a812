//! Classes of images that a list names, and why a list cannot be used.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::class_names::duplicate;

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// A file cannot be read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The contents have none of the supported forms.
    #[error("the image list `{}`: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// There is no image in it.
    #[error(
        "`{}` lists no images with classes; it must have a path and a class per line, or be tar files with a picture and `.cls` or `.txt` each",
        file.display()
    )]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// The class names, and the label of each entry.
pub(crate) fn labelled(
    list: &Path,
    entries: &[(PathBuf, String)],
    class_names: Option<Vec<String>>,
) -> Result<(Vec<String>, Vec<usize>), ListError> {
    if entries.is_empty() {
        return Err(ListError::Empty { file: list.to_owned() });
    }
    let form = |reason| ListError::Form { file: list.to_owned(), reason };
    if let Some((path, _)) = entries.iter().find(|(_, class)| class.trim().is_empty()) {
        return Err(form(format!("`{}` has an empty class", path.display())));
    }
    let names = match class_names {
        Some(names) => names,
        None if entries.iter().all(|(_, class)| class.parse::<f64>().is_ok()) => {
            return Err(form("its classes are numbers; give their names".to_owned()));
        }
        None => {
            let names: BTreeSet<&String> = entries.iter().map(|(_, class)| class).collect();
            names.into_iter().cloned().collect()
        }
    };
    let exact: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
    let plain = |name: &str| name.trim().to_lowercase().replace('_', " ");
    let alike: HashMap<String, usize> = names.iter().map(|name| plain(name)).zip(0..).collect();
    let labels = entries.iter().map(|(path, class)| {
        let by_name = exact.get(&**class).or_else(|| alike.get(&plain(class))).copied();
        let label = by_name.or_else(|| number(class).filter(|&label| label < names.len()));
        label.ok_or_else(|| {
            form(format!(
                "`{}` has the class `{class}`, which is not one of the {} classes",
                path.display(),
                names.len()
            ))
        })
    });
    let labels = labels.collect::<Result<_, _>>()?;
    if let Some((one, other)) = duplicate(&names) {
        let [one, other] = [&names[one], &names[other]];
        return Err(form(format!("its classes `{one}` and `{other}` are the same to CLIP")));
    }
    Ok((names, labels))
}

/// A class number; data frames write whole numbers as `3.0`.
fn number(class: &str) -> Option<usize> {
    let whole = class.strip_suffix(".0").unwrap_or(class);
    whole.parse().ok()
}
