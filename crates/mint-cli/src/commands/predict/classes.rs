//! The classes that pictures are sorted into.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mint_clip::Tokenizer;
use mint_clip::prompt::class_text;
use mint_datasets::{ClassNames, ClassNamesError, quoted, read_class_names};
use mint_eval::read_class_text_lists;

/// The classes as they were given.
pub struct Classes {
    /// Their names, and where each stands.
    pub given: ClassNames,
    /// The file, if it has texts of each class and not names alone.
    pub texts: Option<PathBuf>,
}

impl Classes {
    /// Names separated by commas, or the names in a file (`-` for standard input).
    ///
    /// # Errors
    ///
    /// If there is no such file, or there are fewer than two names, an empty one, or one twice.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let path = Path::new(if text == "-" { "/dev/stdin" } else { text });
        let classes = if path.is_dir() {
            bail!(
                "`--classes {text}` is a folder; name a file of class names, or write \"cat,dog\""
            );
        } else if path.exists() {
            Self::of_file(path)?
        } else if text.contains(',') {
            Self::of_line(text)?
        } else {
            bail!(
                "`--classes`: there is no file {}; name a file of class names, or write at least two names such as \"cat,dog\"",
                quoted(text)
            );
        };
        if classes.given.names.len() < 2 {
            bail!(
                "`--classes {}` has one class only, which every picture would be; give at least two",
                quoted(text)
            );
        }
        Ok(classes)
    }

    fn of_line(line: &str) -> anyhow::Result<Self> {
        let line = line.trim().trim_end_matches(',');
        let names: Vec<String> = line.split(',').map(|name| name.trim().to_owned()).collect();
        let places = (1..=names.len()).map(|number| format!("name {number}")).collect();
        let given = ClassNames { names, places };
        given.check().map_err(|reason| anyhow::anyhow!("`--classes`: {reason}"))?;
        Ok(Self { given, texts: None })
    }

    fn of_file(file: &Path) -> anyhow::Result<Self> {
        let is_json = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        match read_class_names(file) {
            Ok(given) => Ok(Self { given, texts: None }),
            Err(ClassNamesError::Form { file, reason }) if is_json => {
                // What is no list of names may be a list of texts for each name.
                let Ok(lists) = read_class_text_lists(&file) else {
                    return Err(ClassNamesError::Form { file, reason }.into());
                };
                // Who numbers classes does not call them so.
                if lists.iter().any(|(name, _)| name.trim().parse::<usize>().is_ok()) {
                    return Err(ClassNamesError::Form { file, reason }.into());
                }
                let names: Vec<String> = lists.into_iter().map(|(name, _)| name).collect();
                let places = (1..=names.len()).map(|number| format!("entry {number}")).collect();
                let given = ClassNames { names, places };
                given
                    .check()
                    .map_err(|reason| ClassNamesError::Form { file: file.clone(), reason })?;
                Ok(Self { given, texts: Some(file) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An error about the texts of the classes, with the place of the first name that is too long.
    pub fn explained(
        &self,
        error: anyhow::Error,
        tokenizer: &Tokenizer,
        template: &str,
    ) -> anyhow::Error {
        let ClassNames { names, places } = &self.given;
        let is_too_long = |name: &String| {
            self.texts.is_none()
                && tokenizer.tokens(&template.replace("{}", &class_text(name))).is_err()
        };
        match names.iter().position(is_too_long) {
            None => error,
            Some(class) => {
                let what = format!("`--classes`: {} ({})", places[class], quoted(&names[class]));
                error.context(format!("{what} is too long"))
            }
        }
    }
}
