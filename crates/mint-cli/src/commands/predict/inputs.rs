//! Which pictures are meant.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use globset::{GlobBuilder, GlobMatcher};
use mint_datasets::{ImageSet, LabelledImage, Source, pictures_below};

use crate::output::{counted, error, note, shown};

/// Pictures that were found.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In the order in which they were named.
    pub pictures: Vec<PathBuf>,
    /// What was named and is not there, or cannot be read; each was told.
    pub missing: u64,
}

impl Inputs {
    /// Finds what was named: files, folders with all folders in them, patterns that no shell has
    /// resolved, and `-` for paths on standard input.
    ///
    /// # Errors
    ///
    /// If nothing was found, or standard input cannot be read.
    pub fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut inputs = Self::default();
        for path in paths {
            if path.as_os_str() == "-" {
                inputs.add_listed()?;
            } else if let Some(pattern) = pattern(path) {
                inputs.add_matching(pattern);
            } else {
                inputs.add(path.clone());
            }
        }
        if inputs.pictures.is_empty() {
            bail!(
                "there are no pictures to classify; name files, folders that have some (jpg, png, webp, gif, tif, bmp, ppm), or patterns such as '*.jpg'"
            );
        }
        Ok(inputs)
    }

    /// A file, or a folder. What is not there is told in its turn.
    fn add(&mut self, path: PathBuf) {
        if !path.is_dir() {
            self.pictures.push(path);
            return;
        }
        let found = pictures_below(&path);
        for warning in &found.warnings {
            note(&format!("note: `{}`: {warning}", shown(&path)));
        }
        if found.pictures.is_empty() && found.unreadable.is_empty() {
            note(&format!("warning: `{}` has no pictures", shown(&path)));
        }
        self.missing += found.unreadable.len() as u64;
        found.unreadable.into_iter().for_each(|cause| error(&cause.into()));
        self.pictures.extend(found.pictures);
    }

    fn add_matching(&mut self, pattern: &str) {
        match matching(pattern) {
            Ok(paths) if paths.is_empty() => {
                error(&anyhow::anyhow!("nothing matches `{pattern}`"));
                self.missing += 1;
            }
            Ok(paths) => paths.into_iter().for_each(|path| self.add(path)),
            Err(cause) => {
                error(&cause);
                self.missing += 1;
            }
        }
    }

    /// The paths on standard input: one a line, or separated by NUL as `find -print0` writes them.
    fn add_listed(&mut self) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read the paths on standard input")?;
        let has_nul = bytes.contains(&0);
        let separator = if has_nul { 0 } else { b'\n' };
        for line in bytes.split(|&byte| byte == separator) {
            let line = if has_nul { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
            if !line.is_empty() {
                self.add(path_of(line));
            }
        }
        Ok(())
    }

    /// The pictures as a set without labels.
    pub fn into_set(self, class_names: Vec<String>) -> ImageSet {
        let image = |path: PathBuf| LabelledImage { path, label: 0 };
        ImageSet {
            id: "pictures".to_owned(),
            title: counted(self.pictures.len() as u64, "picture"),
            test_set: None,
            class_names,
            images: self.pictures.into_iter().map(image).collect(),
            warnings: Vec::new(),
            source: Source::Folder(PathBuf::new()),
        }
    }
}

/// A path as the system names it.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// A path that is a pattern: nothing is called so, and it has a sign of patterns.
fn pattern(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|text| text.contains(['*', '?', '[']))?;
    path.symlink_metadata().is_err().then_some(text)
}

/// What a pattern stands for, sorted, as a shell resolves it; `**` stands for any folders. Hidden
/// names must be named.
fn matching(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let glob = |text: &str| -> anyhow::Result<GlobMatcher> {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let wrong = || format!("`{pattern}` is neither a file nor a pattern");
        Ok(glob.with_context(wrong)?.compile_matcher())
    };
    let parts: Vec<Component<'_>> = Path::new(pattern).components().collect();
    let mut found = vec![PathBuf::new()];
    for (place, part) in parts.iter().enumerate() {
        let text = part.as_os_str().to_str().unwrap_or_default();
        if text == "**" {
            let rest: PathBuf = parts[place..].iter().collect();
            let matcher = glob(&rest.to_string_lossy())?;
            let below = |folder: &PathBuf| -> Vec<PathBuf> {
                let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                let pictures = pictures_below(root).pictures;
                let within = |path: &PathBuf| path.strip_prefix(root).map(Path::to_owned);
                let relative = pictures.iter().filter_map(|path| within(path).ok());
                relative.filter(|path| matcher.is_match(path)).map(|it| folder.join(it)).collect()
            };
            return Ok(found.iter().flat_map(below).collect());
        }
        if !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            found.retain(|path| path.symlink_metadata().is_ok());
            continue;
        }
        let matcher = glob(text)?;
        let below = |folder: &PathBuf| -> Vec<PathBuf> {
            let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // A folder that cannot be read has nothing that matches.
            let entries = std::fs::read_dir(root).into_iter().flatten();
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            let is_hidden = |name: &str| name.starts_with('.') && !text.starts_with('.');
            names.retain(|name| !is_hidden(&name.to_string_lossy()) && matcher.is_match(name));
            names.sort();
            names.into_iter().map(|name| folder.join(name)).collect()
        };
        found = found.iter().flat_map(below).collect();
    }
    Ok(found)
}
