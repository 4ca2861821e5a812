//! Test sets: their archives fetched or taken, checked, and unpacked to where they are looked for.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use super::download::{Downloader, State, Wanted};
use super::unpack::{Unpacked, unpack};
use super::{drive, mirrored};

#[derive(Debug, Clone, Args)]
pub struct DatasetsArgs {
    /// Test sets: A, R, V, K, I, C (or one of C/noise, C/blur, C/weather, C/digital, C/extra),
    /// flower102, dtd, pets, cars, ucf101, caltech101, food101, sun397, aircraft, eurosat
    #[arg(required = true, value_name = "SET")]
    pub names: Vec<String>,
    /// Data folder
    #[arg(long, value_name = "DIR", env = "MINT_DATA", default_value = "data")]
    pub into: PathBuf,
    /// Take the archive from this file instead of fetching it
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// With `--from`: take an archive with another checksum, such as a copy of another form
    #[arg(long, requires = "from")]
    pub any_sum: bool,
    /// Only check what is in place; nothing is fetched
    #[arg(long)]
    pub verify_only: bool,
    /// Keep fetched archives after they are unpacked
    #[arg(long)]
    pub keep_archives: bool,
    /// Further places of the same files, tried in this order before the published one: the URL of
    /// a folder
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Archives {
    sets: BTreeMap<String, Vec<Archive>>,
}

/// An archive of a test set: `xtask/data/datasets.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Archive {
    name: String,
    urls: Vec<String>,
    size: Option<u64>,
    sha256: Option<String>,
    /// Folder below the data folder.
    into: PathBuf,
    /// The end of the name of an archive inside it, which alone is unpacked.
    inner: Option<String>,
    /// What to do where no host serves it.
    by_hand: Option<String>,
}

/// The files of an archive that was unpacked, below the folder, with their sizes.
type Files = BTreeMap<String, u64>;

/// The archives of a set by the name that was typed.
pub fn archives(name: &str) -> anyhow::Result<Vec<Archive>> {
    let Archives { sets } = serde_json::from_str(include_str!("../../data/datasets.json"))
        .context("xtask/data/datasets.json is damaged")?;
    let (set, part) = name.split_once('/').map_or((name, None), |(set, part)| (set, Some(part)));
    let found = sets.iter().find(|(known, _)| known.eq_ignore_ascii_case(set));
    let Some((_, archives)) = found else {
        let known: Vec<&str> = sets.keys().map(String::as_str).collect();
        bail!("`{name}` is not a known test set; known are {}", known.join(", "));
    };
    let wanted = |archive: &&Archive| {
        part.is_none_or(|part| archive.name.strip_suffix(".tar") == Some(part))
    };
    let archives: Vec<Archive> = archives.iter().filter(wanted).cloned().collect();
    if archives.is_empty() {
        bail!("`{name}` is not a part of the set");
    }
    Ok(archives)
}

/// Fetches, checks and unpacks; one line per archive. Sets after one that fails are fetched too.
pub fn fetch(args: &DatasetsArgs, downloader: &Downloader) -> anyhow::Result<Vec<String>> {
    let mut wanted = Vec::new();
    for name in &args.names {
        wanted.extend(archives(name)?.into_iter().map(|archive| (name, archive)));
    }
    if args.from.is_some() && wanted.len() != 1 {
        bail!(
            "`--from` is one archive, and these are {}; name one set, or a part such as `C/noise`",
            wanted.len()
        );
    }
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for (name, archive) in &wanted {
        match archive.fetch(args, downloader) {
            Ok(line) => lines.push(format!("{name}: {line}")),
            Err(error) => problems.push(format!("{name}: {error:#}")),
        }
    }
    if problems.is_empty() {
        return Ok(lines);
    }
    lines.iter().for_each(|line| println!("{line}"));
    bail!("{}", problems.join("\n"))
}

impl Archive {
    /// An archive at a place of a test's own.
    #[cfg(test)]
    pub fn of(name: &str, url: &str, sha256: &str) -> Self {
        Self {
            name: name.to_owned(),
            urls: vec![url.to_owned()],
            size: None,
            sha256: Some(sha256.to_owned()),
            into: "x".into(),
            inner: None,
            by_hand: None,
        }
    }

    /// Fetches or takes the archive, checks it, and unpacks it; says what was done.
    pub fn fetch(&self, args: &DatasetsArgs, downloader: &Downloader) -> anyhow::Result<String> {
        let marker = args.into.join("archives").join(format!("{}.unpacked.json", self.name));
        let folder = args.into.join(&self.into);
        if let Some(files) = read_marker(&marker)? {
            let missing = missing(&folder, &files);
            if let Some(first) = missing.first() {
                bail!(
                    "{} of {} files of `{}` are missing or changed, such as `{first}`; remove `{}` and fetch the set again",
                    missing.len(),
                    files.len(),
                    folder.display(),
                    marker.display()
                );
            }
            return Ok(format!("`{}` is in place ({} files)", folder.display(), files.len()));
        }
        if args.verify_only {
            bail!("`{}` was not unpacked; leave `--verify-only` out to fetch it", folder.display());
        }
        let (file, checked) = self.obtain(args, downloader)?;
        let Unpacked { files, earlier } = unpack(&file, self.inner.as_deref(), &folder)?;
        write_marker(&marker, &files)?;
        if args.from.is_none() && !args.keep_archives {
            fs::remove_file(&file)
                .with_context(|| format!("cannot remove `{}`", file.display()))?;
        }
        let earlier = match earlier {
            0 => String::new(),
            earlier => format!(", {earlier} of them by an earlier attempt"),
        };
        let (name, count) = (&self.name, files.len());
        Ok(format!("`{name}` ({checked}): {count} files in `{}`{earlier}", folder.display()))
    }

    /// The archive as a file, and how it is known to be the right one.
    fn obtain(
        &self,
        args: &DatasetsArgs,
        downloader: &Downloader,
    ) -> anyhow::Result<(PathBuf, &'static str)> {
        let wanted = self.wanted(&args.mirror);
        if let Some(file) = &args.from {
            if args.any_sum {
                return Ok((file.clone(), "checksum not compared"));
            }
            let checked = match self.sha256 {
                Some(_) => {
                    downloader.verify(&wanted, file).with_context(|| {
                        format!(
                            "`{}` is not the published archive (`--any-sum` takes it all the same)",
                            file.display()
                        )
                    })?;
                    "SHA-256 as published"
                }
                None => "no checksum is published",
            };
            return Ok((file.clone(), checked));
        }
        if wanted.urls.is_empty() {
            bail!("{}", self.by_hand());
        }
        let target = args.into.join("archives").join(&self.name);
        let checked = match downloader.fetch(&wanted, &target)? {
            State::Verified => "SHA-256 as published",
            State::AsBefore | State::Recorded => "no checksum is published",
        };
        Ok((target, checked))
    }

    fn wanted(&self, mirrors: &[String]) -> Wanted {
        let urls = self.urls.iter().map(|url| match url.strip_prefix("drive:") {
            Some(id) => drive::url(id),
            None => url.clone(),
        });
        let wanted = Wanted {
            name: self.name.clone(),
            urls: urls.collect(),
            size: self.size,
            sha256: self.sha256.clone(),
        };
        mirrored(wanted, mirrors)
    }

    /// What to get, and where to put it.
    fn by_hand(&self) -> String {
        let size = self.size.map_or("unknown size".to_owned(), |size| format!("{size} bytes"));
        let sum = self.sha256.as_deref().unwrap_or("not published");
        format!(
            "no host serves `{}`: {}\n  size: {size}\n  SHA-256: {sum}\nhint: then `cargo xtask fetch datasets SET --from FILE`",
            self.name,
            self.by_hand.as_deref().unwrap_or("it is not available")
        )
    }
}

fn read_marker(file: &Path) -> anyhow::Result<Option<Files>> {
    match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("`{}` is damaged; remove it", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

fn write_marker(file: &Path, files: &Files) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
        fs::write(&partial, serde_json::to_string(files)?)?;
        fs::rename(&partial, file)
    };
    write().with_context(|| format!("cannot write `{}`", file.display()))
}

/// Files that are not in place with their size, nor in another folder: repairs move them, as
/// ImageNet's images into class folders.
fn missing<'a>(folder: &Path, files: &'a Files) -> Vec<&'a str> {
    let is_there = |name: &str, size: u64| {
        fs::metadata(folder.join(name)).is_ok_and(|file| file.is_file() && file.len() == size)
    };
    let mut missing: Vec<(&str, u64)> =
        files.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    missing.retain(|(name, size)| !is_there(name, *size));
    if !missing.is_empty() {
        let elsewhere = names_below(folder);
        let moved = |name: &str, size: u64| {
            let name = name.rsplit('/').next().unwrap_or(name);
            elsewhere.contains(&(name.to_owned(), size))
        };
        missing.retain(|(name, size)| !moved(name, *size));
    }
    missing.into_iter().map(|(name, _)| name).collect()
}

/// Names and sizes of all files below a folder; what cannot be read has none.
fn names_below(folder: &Path) -> HashSet<(String, u64)> {
    let mut names = HashSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) => {
                    names.insert((entry.file_name().to_string_lossy().into_owned(), kind.len()));
                }
                Err(_) => {}
            }
        }
    }
    names
}
