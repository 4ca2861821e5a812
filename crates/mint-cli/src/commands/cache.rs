//! Lists, verifies and prunes the embeddings that runs keep.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use mint_eval::{
    CacheError, CacheGroup, CachePrecision, GroupOnDisk, file_indices, is_pack, is_whole_pack,
    mend_pack,
};
use serde_json::json;

use crate::args::{CacheCommand, CachePlace, Format};
use crate::output;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs one of the commands.
pub fn run(command: &CacheCommand) -> anyhow::Result<()> {
    match command {
        CacheCommand::List(place) => list(place),
        CacheCommand::Verify(place) => verify(place),
        CacheCommand::Prune { place, damaged, older_than, group, all, dry_run } => {
            let groups = groups(place)?;
            if let Some(unknown) =
                group.iter().find(|name| groups.iter().all(|group| name_of(group) != **name))
            {
                bail!("`{unknown}` is not a group of `{}`", place.folder.display());
            }
            let age = older_than.map(|days| DAY * u32::try_from(days).unwrap_or(u32::MAX));
            let is_old = |found: &GroupOnDisk| {
                let elapsed = found.written.and_then(|written| written.elapsed().ok());
                age.is_some_and(|age| elapsed.is_some_and(|elapsed| elapsed > age))
            };
            let mut paths: Vec<PathBuf> = Vec::new();
            let indices = file_indices(&place.folder)?;
            paths.extend(
                indices.into_iter().filter(|file| *all || (*damaged && !is_whole_pack(file))),
            );
            for found in groups {
                let is_named = group.contains(&name_of(&found));
                if *all || is_named || is_old(&found) || (*damaged && found.group.is_none()) {
                    paths.push(found.folder);
                } else if *damaged {
                    paths.extend(damaged_entries(&found)?);
                }
            }
            prune(place, &paths, *dry_run, *all)
        }
    }
}

fn groups(place: &CachePlace) -> anyhow::Result<Vec<GroupOnDisk>> {
    Ok(GroupOnDisk::all(&place.folder)?)
}

/// The name of a group's folder.
fn name_of(group: &GroupOnDisk) -> String {
    group.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(place: &CachePlace) -> anyhow::Result<()> {
    let groups = groups(place)?;
    if place.format == Format::Json {
        output::result(&serde_json::to_string_pretty(&json!({ "groups": groups }))?);
        return Ok(());
    }
    for found in &groups {
        let what = match &found.group {
            Some(group) => describe(group),
            None => "damaged description; `cache prune --damaged` removes it".to_owned(),
        };
        output::result(&format!(
            "{} {:7} {} {:8.1} MB{} {what}",
            name_of(found),
            found.images,
            if found.is_of_texts() { "texts " } else { "images" },
            found.bytes as f64 / 1e6,
            days_ago(found.written),
        ));
    }
    let bytes: u64 = groups.iter().map(|group| group.bytes).sum();
    output::result(&format!("{:.1} MB in all", bytes as f64 / 1e6));
    Ok(())
}

/// What the embeddings of a group depend on, in a line.
fn describe(group: &CacheGroup) -> String {
    let CacheGroup { weights_names, n_views, seed, precision, device, tower_precision, .. } = group;
    let precision = match precision {
        CachePrecision::F16 => "f16",
        CachePrecision::F32 => "f32",
    };
    if group.is_of_texts() {
        return format!("class texts; {weights_names} in {tower_precision} on {device}");
    }
    let by_content = if group.by_content { ", own pictures" } else { "" };
    let upright = if group.upright { ", turned by EXIF" } else { "" };
    let augmix = if group.views.contains("augmix: None") { "" } else { " mixed" };
    format!(
        "{n_views}{augmix} views, seed {seed}, {precision}{by_content}{upright}; {weights_names} in {tower_precision} on {device}"
    )
}

fn days_ago(written: Option<SystemTime>) -> String {
    let elapsed = written.and_then(|written| written.elapsed().ok());
    elapsed.map_or(String::new(), |elapsed| {
        format!(", {} days old;", elapsed.as_secs() / DAY.as_secs())
    })
}

fn verify(place: &CachePlace) -> anyhow::Result<()> {
    let (mut images, mut damaged) = (0, file_indices(&place.folder)?);
    damaged.retain(|file| !is_whole_pack(file));
    for found in groups(place)? {
        images += found.images;
        if found.group.is_none() {
            damaged.push(found.folder);
        } else {
            damaged.extend(damaged_entries(&found)?);
        }
    }
    match place.format {
        Format::Text => {
            damaged.iter().for_each(|path| output::result(&format!("`{}`", path.display())));
            output::result(&format!("{images} images, {} damaged", damaged.len()));
        }
        Format::Json => {
            let value = json!({ "images": images, "damaged": damaged });
            output::result(&serde_json::to_string_pretty(&value)?);
        }
    }
    if !damaged.is_empty() {
        bail!("the cache is damaged; `mint-cli cache prune --damaged` removes what is");
    }
    Ok(())
}

fn damaged_entries(found: &GroupOnDisk) -> Result<Vec<PathBuf>, CacheError> {
    let mut entries = found.entries()?;
    entries.retain(|entry| !found.is_whole(entry));
    Ok(entries)
}

/// Removes files and folders; of files with many records the damaged ones alone, unless all goes.
fn prune(place: &CachePlace, paths: &[PathBuf], dry_run: bool, all: bool) -> anyhow::Result<()> {
    for path in paths {
        if !dry_run && is_pack(path) && !all {
            mend_pack(path)?;
        } else if !dry_run {
            remove(path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    match place.format {
        Format::Text => {
            for path in paths {
                let what = match (is_pack(path) && !all, dry_run) {
                    (true, true) => "would be mended",
                    (true, false) => "mended",
                    (false, true) => "would be removed",
                    (false, false) => "removed",
                };
                output::result(&format!("`{}` {what}", path.display()));
            }
        }
        Format::Json => {
            let value = json!({ "removed": paths, "dry_run": dry_run });
            output::result(&serde_json::to_string_pretty(&value)?);
        }
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
