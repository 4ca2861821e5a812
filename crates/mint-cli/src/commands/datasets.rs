//! Lists the test sets, or examines and mends them.

use std::path::Path;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use mint_datasets::{
    Examination, FolderError, ImageSet, Move, Severity, TestSet, examine, make, nested,
    read_ground_truth, sorted_into_classes,
};
use serde_json::json;

use crate::args::{DatasetsArgs, DatasetsCommand, DatasetsPlace, DoctorArgs, Format};
use crate::output;
use crate::test_sets;

/// Findings of a kind that are printed; JSON has all.
const SHOWN: usize = 20;

/// Lists all sets, or examines some.
pub fn run(args: &DatasetsArgs) -> anyhow::Result<()> {
    match &args.command {
        None => list(&args.place),
        Some(DatasetsCommand::Doctor(doctor)) => examine_sets(doctor),
    }
}

/// One line per set: what was found, what there should be, and where it is from.
fn list(place: &DatasetsPlace) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    for set in TestSet::all() {
        let found = set.find(&place.data);
        let (images, classes) = (set.n_images(), set.class_names().len());
        let mut entry = json!({
            "set": set.id(), "title": set.title(), "expected_images": images,
            "expected_classes": classes, "licence": set.licence(), "origin": set.origin(),
        });
        let name = format!("{:10} {:16}", set.id(), set.title());
        let line = match &found {
            Ok(found) => {
                let bytes = bytes_of(found);
                let folder = found.folder().unwrap_or(Path::new(""));
                entry["folder"] = json!(folder);
                entry["images"] = json!(found.images.len());
                entry["bytes"] = json!(bytes);
                entry["warnings"] = json!(found.warnings);
                let warnings: String =
                    found.warnings.iter().map(|warning| format!(", {warning}")).collect();
                let gigabytes = bytes as f64 / 1e9;
                format!(
                    "{} of {images} images, {classes} classes, {gigabytes:.1} GB in `{}`{warnings}; licence: {}",
                    found.images.len(),
                    folder.display(),
                    set.licence()
                )
            }
            Err(FolderError::NotFound { .. }) => format!(
                "not in `{}`: {images} images, {classes} classes; licence: {}; from {}",
                place.data.display(),
                set.licence(),
                set.origin()
            ),
            Err(error) => {
                entry["problem"] = json!(error.to_string());
                format!("cannot be used: {error}")
            }
        };
        match place.format {
            Format::Text => output::result(&format!("{name} {line}")),
            Format::Json => entries.push(entry),
        }
    }
    if place.format == Format::Json {
        output::result(&serde_json::to_string_pretty(&json!({ "test_sets": entries }))?);
    }
    Ok(())
}

/// Bytes of all files of a set that are there.
fn bytes_of(set: &ImageSet) -> u64 {
    let Some(folder) = set.folder() else { return 0 };
    let size = |path: &Path| std::fs::metadata(folder.join(path)).map_or(0, |file| file.len());
    set.images.iter().map(|image| size(&image.path)).sum()
}

fn examine_sets(doctor: &DoctorArgs) -> anyhow::Result<()> {
    let named = doctor.sets.as_deref().map(test_sets::published).transpose()?;
    let sets = named.clone().unwrap_or_else(|| TestSet::all().collect());
    let mut examined = Vec::new();
    let mut missing = Vec::new();
    for set in sets {
        if doctor.fix
            && let Err(error) = mend(set, doctor)
        {
            missing.push(format!("{}: {error:#}", set.title()));
        }
        let bar = ProgressBar::new(set.n_images() as u64).with_style(
            ProgressStyle::with_template(
                "{prefix} {pos}/{len} images, {per_sec}, {eta} left {bar:30}",
            )
            .expect("the template is valid"),
        );
        bar.set_prefix(set.title());
        let found = examine(set, &doctor.place.data, |images| {
            bar.set_length(images as u64);
            bar.inc(1);
        });
        bar.finish_and_clear();
        match found {
            Ok(examination) => {
                if doctor.place.format == Format::Text {
                    print(&examination);
                }
                if !doctor.fix
                    && let Some(remedy) = remedy(set, &doctor.place.data)
                {
                    output::note(&format!("hint: {remedy}"));
                }
                examined.push(examination);
            }
            Err(error) if named.is_some() => missing.push(format!("{error}")),
            Err(_) => {}
        }
    }
    if doctor.place.format == Format::Json {
        output::result(&serde_json::to_string_pretty(&json!({ "test_sets": examined }))?);
    }
    if examined.is_empty() && missing.is_empty() {
        bail!(
            "no test set was found in `{}`; name its folder with `--data DIR`",
            doctor.place.data.display()
        );
    }
    let faulty: Vec<&str> = examined
        .iter()
        .filter(|examination| examination.worst() == Some(Severity::Error))
        .map(|examination| &*examination.set)
        .collect();
    if !faulty.is_empty() {
        missing.push(format!("{} cannot be used whole", faulty.join(", ")));
    }
    if missing.is_empty() { Ok(()) } else { bail!(missing.join("; ")) }
}

fn print(examination: &Examination) {
    let Examination { set, images, expected_images, classes, expected_classes, .. } = examination;
    let folder = match &examination.folder {
        Some(folder) => format!(" in `{}`", folder.display()),
        None => String::new(),
    };
    output::result(&format!(
        "{set}: {images} of {expected_images} images, {classes} of {expected_classes} classes{folder}"
    ));
    for finding in examination.findings.iter().take(SHOWN) {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        output::result(&format!("  {severity}: `{}`: {}", finding.path.display(), finding.message));
    }
    if let Some(more) = examination.findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        output::result(&format!("  and {more} more (`--format json` has all)"));
    }
}

/// What `--fix` can do about a set's folders; `None` if there is nothing.
fn remedy(set: TestSet, data: &Path) -> Option<&'static str> {
    match set.find(data) {
        Err(FolderError::Flat { set: Some(TestSet::ImageNet), .. }) => Some(
            "`--fix --labels FILE` sorts the images into class folders; the file may be the devkit, `ILSVRC2012_devkit_t12.tar.gz`",
        ),
        Err(_) if nested(set, data).is_some() => Some("`--fix` moves the images up"),
        _ => None,
    }
}

/// Makes the repairs that lose nothing, or says what they would be.
fn mend(set: TestSet, doctor: &DoctorArgs) -> anyhow::Result<()> {
    // What was sorted may lie a folder too deep.
    for _ in 0..2 {
        let moves = moves(set, doctor)?;
        if moves.is_empty() {
            break;
        }
        move_all(set, &moves, doctor.dry_run)?;
        if doctor.dry_run {
            break;
        }
    }
    Ok(())
}

/// The moves to make next; none if a set is as it should be, or cannot be mended.
fn moves(set: TestSet, doctor: &DoctorArgs) -> anyhow::Result<Vec<Move>> {
    let data = &doctor.place.data;
    match set.find(data) {
        Err(FolderError::Flat { folder, .. }) if set == TestSet::ImageNet => {
            let Some(labels) = &doctor.labels else {
                output::note(
                    "note: ImageNet's images can be sorted into class folders with `--labels FILE` (the devkit, `valprep.sh`, or a list of synsets)",
                );
                return Ok(Vec::new());
            };
            Ok(sorted_into_classes(&folder, &read_ground_truth(labels)?)?)
        }
        // Of a list some may have been moved before.
        found => match nested(set, data) {
            Some(nested) if found.is_err() || matches!(set, TestSet::FineGrained(_)) => {
                Ok(nested.moves()?)
            }
            _ => Ok(Vec::new()),
        },
    }
}

fn move_all(set: TestSet, moves: &[Move], dry_run: bool) -> anyhow::Result<()> {
    for Move { from, to } in moves.iter().take(3) {
        output::note(&format!("move `{}` to `{}`", from.display(), to.display()));
    }
    let count = output::counted(moves.len() as u64, "move");
    if dry_run {
        output::note(&format!("{}: {count} would be made", set.title()));
        return Ok(());
    }
    make(moves).with_context(|| format!("{} was mended in part", set.title()))?;
    output::note(&format!("{}: {count} made", set.title()));
    Ok(())
}
