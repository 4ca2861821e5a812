//! Class names from a file of the user's.

use std::path::{Path, PathBuf};

/// A file of class names that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClassNamesError {
    /// The file cannot be read.
    #[error("cannot read the class names `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A `.json` file is not a list of texts.
    #[error("`{}` is not a JSON list of class names", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// There is no name in the file.
    #[error("`{}` holds no class names; write one a line, or a JSON list", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// Reads a JSON list of names (`.json`), or a text file with one name a line.
pub fn read_class_names(file: &Path) -> Result<Vec<String>, ClassNamesError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| ClassNamesError::Read { file: file.to_owned(), source })?;
    let names: Vec<String> = if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text)
            .map_err(|source| ClassNamesError::Json { file: file.to_owned(), source })?
    } else {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    if names.is_empty() {
        return Err(ClassNamesError::Empty { file: file.to_owned() });
    }
    Ok(names)
}
