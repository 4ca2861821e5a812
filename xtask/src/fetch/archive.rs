//! Takes one file out of a downloaded archive.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use zip::ZipArchive;

/// No checkpoint of prompts is larger.
const LARGEST: u64 = 1 << 30;

/// Unpacks `member` to `target`, whole or not at all.
pub fn take_member(archive: &Path, member: &str, target: &Path) -> anyhow::Result<()> {
    let damaged = || {
        format!("`{}` is not an archive, or damaged; remove it and fetch again", archive.display())
    };
    let file = File::open(archive)
        .with_context(|| format!("cannot read the archive `{}`", archive.display()))?;
    let mut archive_file = ZipArchive::new(BufReader::new(file)).with_context(damaged)?;
    let names: Vec<String> = archive_file.file_names().map(str::to_owned).collect();
    let Some(name) = names.iter().find(|name| name.ends_with(member)) else {
        bail!(
            "`{}` has no file `{member}`; it has {} others, such as `{}`",
            archive.display(),
            names.len(),
            names.first().map_or("", String::as_str)
        );
    };
    let record = archive_file.by_name(name).with_context(damaged)?;
    if record.size() > LARGEST {
        bail!("`{name}` in `{}` has {} bytes", archive.display(), record.size());
    }
    let partial = target.with_extension("partial");
    let write = || -> io::Result<()> {
        io::copy(&mut record.take(LARGEST), &mut File::create(&partial)?)?;
        fs::rename(&partial, target)
    };
    write().with_context(|| format!("cannot unpack `{}`", target.display()))
}
