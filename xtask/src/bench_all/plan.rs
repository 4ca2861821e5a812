//! The cells of a sweep, and what they will take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::sweep::{Group, Sweep, SweepRow};

/// 10^12 operations for the embeddings of 64 views by ViT-B/16.
const ENCODING: f64 = 2.25;
/// Numbers in an embedding of ViT-B/16.
const EMBED: f64 = 512.0;
/// Views of an image, if the options say nothing else.
const VIEWS: f64 = 64.0;
/// Bytes of a line of a record, about.
const LINE: f64 = 900.0;

/// A row on a group of sets with a seed, or a part of that: a process.
#[derive(Debug, Clone)]
pub struct Task {
    /// What a reader calls it.
    pub name: String,
    /// The folder of its record.
    pub folder: PathBuf,
    /// The command line of mint-cli.
    pub arguments: Vec<String>,
    /// 10^12 operations; `None` if the images are not known.
    pub tera_operations: Option<f64>,
    /// Whether it leaves embeddings that others of its stage need.
    pub fills_cache: bool,
}

/// What will be run, and what will not.
#[derive(Debug, Default)]
pub struct Plan {
    pub tasks: Vec<Task>,
    /// Rows and sets that are left out, each with the reason.
    pub skipped: Vec<String>,
    /// Bytes of the cache; `None` if the images are not known.
    pub cache_bytes: Option<f64>,
    /// Bytes of the records; `None` if the images are not known.
    pub record_bytes: Option<f64>,
}

/// The images of each test set that mint-cli lists; `None` if the set cannot be used.
pub type Listed = BTreeMap<String, Option<u64>>;

/// Asks mint-cli which test sets are there.
pub fn listed(mut mint_cli: Command, sweep: &Sweep) -> anyhow::Result<Listed> {
    #[derive(Deserialize)]
    struct Listing {
        test_sets: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        set: String,
        images: Option<u64>,
    }
    let output = mint_cli.arg("datasets").arg("--data").arg(&sweep.data);
    let output = output.args(["--format", "json"]).output().context("mint-cli cannot be run")?;
    if !output.status.success() {
        bail!("mint-cli datasets: {}", String::from_utf8_lossy(&output.stderr));
    }
    let Listing { test_sets } = serde_json::from_slice(&output.stdout)?;
    Ok(test_sets.into_iter().map(|entry| (entry.set, entry.images)).collect())
}

/// The images of a set; `None` if it is not listed, such as those of the demo.
fn find(listed: &Listed, set: &str) -> Option<Option<u64>> {
    listed.iter().find(|(id, _)| id.eq_ignore_ascii_case(set)).map(|(_, images)| *images)
}

/// The tasks of a sweep in their order. Cells that share views come together, those that fill the
/// cache first.
pub fn plan(sweep: &Sweep, rows: &[SweepRow], listed: &Listed) -> Plan {
    let mut plan = Plan { cache_bytes: Some(0.0), record_bytes: Some(0.0), ..Plan::default() };
    for row in rows {
        if let Some(lacks) = &row.lacks {
            plan.skipped.push(format!("{}: {lacks}", row.name));
        }
    }
    for group in cells(sweep) {
        let (there, missing): (Vec<String>, Vec<String>) =
            group.test_sets.iter().cloned().partition(|set| find(listed, set) != Some(None));
        for set in missing {
            let data = sweep.data.display();
            plan.skipped.push(format!("{set}: not usable in `{data}` (`mint-cli datasets`)"));
        }
        if there.is_empty() {
            continue;
        }
        let images = images(&there, listed, &sweep.options);
        for &seed in &sweep.seeds {
            let mut is_cached = false;
            for row in rows.iter().filter(|row| row.lacks.is_none()) {
                add(&mut plan, sweep, row, &group.name, &there, seed, images, &mut is_cached);
            }
            let bytes_per_number = if sweep.cache_precision == "f32" { 4.0 } else { 2.0 };
            let per_image = if is_cached { views(sweep) * EMBED * bytes_per_number } else { 0.0 };
            plan.cache_bytes = plan.cache_bytes.zip(images).map(|(sum, n)| sum + n * per_image);
        }
    }
    plan.skipped.dedup();
    plan
}

/// The groups, those that go one by one divided.
fn cells(sweep: &Sweep) -> Vec<Group> {
    let of_group = |group: &Group| -> Vec<Group> {
        if !group.one_by_one {
            return vec![group.clone()];
        }
        let single = |set: &String| Group {
            name: set.clone(),
            test_sets: vec![set.clone()],
            one_by_one: true,
        };
        group.test_sets.iter().map(single).collect()
    };
    sweep.groups.iter().flat_map(of_group).collect()
}

/// The images of some sets; `None` if one is not known.
fn images(sets: &[String], listed: &Listed, options: &[String]) -> Option<f64> {
    let limit = value_of(options, "--limit");
    let of_set = |set: &String| {
        let known = find(listed, set).flatten().map(|images| images as f64);
        match (known, limit) {
            (Some(images), Some(limit)) => Some(images.min(limit)),
            (known, limit) => known.or(limit),
        }
    };
    sets.iter().map(of_set).sum()
}

fn value_of(options: &[String], name: &str) -> Option<f64> {
    let at = options.iter().position(|option| option == name)?;
    options.get(at + 1)?.parse().ok()
}

fn views(sweep: &Sweep) -> f64 {
    value_of(&sweep.options, "--views").unwrap_or(VIEWS)
}

#[expect(clippy::too_many_arguments, reason = "a cell is where all of a sweep meets")]
fn add(
    plan: &mut Plan,
    sweep: &Sweep,
    row: &SweepRow,
    group: &str,
    sets: &[String],
    seed: u64,
    images: Option<f64>,
    is_cached: &mut bool,
) {
    let is_divided = sweep.shards > 1 && (!row.remembers() || sweep.divide_memories);
    let parts = if is_divided { sweep.shards } else { 1 };
    let uses_cache = sweep.cache.is_some();
    // MINT's own pass has the embeddings; SAR and MaPLe have passes of another kind.
    let fills = uses_cache && !*is_cached && (!row.needs_pixels() || row.method == "mint");
    let encodes = !row.needs_pixels() && (fills || !uses_cache);
    let scale = views(sweep) / VIEWS;
    let per_image = scale * (row.tera_operations() + if encodes { ENCODING } else { 0.0 });
    for part in 0..parts {
        let mut folder = sweep.output.join(format!("seed-{seed}")).join(group).join(&row.name);
        let mut name = format!("{} on {group}, seed {seed}", row.name);
        let mut arguments = arguments(sweep, row, sets, seed);
        if is_divided {
            folder.push(format!("part-{part}"));
            name.push_str(&format!(", part {part} of {parts}"));
            arguments.extend(["--shard".to_owned(), format!("{part}/{parts}")]);
        }
        arguments.extend(["--output".to_owned(), folder.display().to_string()]);
        plan.tasks.push(Task {
            name,
            folder,
            arguments,
            tera_operations: images.map(|images| images * per_image / parts as f64),
            fills_cache: fills,
        });
    }
    *is_cached |= fills;
    plan.record_bytes = plan.record_bytes.zip(images).map(|(sum, images)| sum + images * LINE);
}

/// The options of mint-cli for a row on some sets.
fn arguments(sweep: &Sweep, row: &SweepRow, sets: &[String], seed: u64) -> Vec<String> {
    let mut arguments = vec!["--continue".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--config", row.file.display().to_string());
    add("--test-sets", sets.join(","));
    add("--data", sweep.data.display().to_string());
    add("--seed", seed.to_string());
    add("--backend", sweep.backend.clone());
    for weights in &sweep.weights {
        add("--weights", weights.display().to_string());
    }
    let is_there = |file: &&PathBuf| file.is_file();
    let prompts = [
        ("--context", &sweep.prompts.context),
        ("--cocoop", &sweep.prompts.cocoop),
        ("--maple", &sweep.prompts.maple),
        ("--class-texts", &row.class_texts),
        ("--descriptors", &row.descriptors),
    ];
    for (name, file) in prompts {
        if let Some(file) = file.as_ref().filter(is_there) {
            add(name, file.display().to_string());
        }
    }
    if let Some(cache) = &sweep.cache {
        add("--cache", cache.display().to_string());
        add("--cache-precision", sweep.cache_precision.clone());
    }
    arguments.extend(sweep.options.iter().cloned());
    arguments
}

impl Plan {
    /// The plan for a reader: the cells, their cost, and what is left out.
    pub fn describe(&self, tflops: Option<f64>) -> String {
        let mut lines = Vec::new();
        for task in &self.tasks {
            let cost = match (task.tera_operations, tflops) {
                (None, _) => "images not known".to_owned(),
                (Some(operations), None) => format!("{} TFLOP", thousands(operations)),
                (Some(operations), Some(tflops)) => {
                    format!("{} TFLOP, {}", thousands(operations), time(operations / tflops))
                }
            };
            let fills = if task.fills_cache { ", fills the cache" } else { "" };
            lines.push(format!("{}: {cost}{fills}", task.name));
        }
        let total: Option<f64> = self.tasks.iter().map(|task| task.tera_operations).sum();
        let of_all = match (total, tflops) {
            (None, _) => "operations not known".to_owned(),
            (Some(total), None) => {
                format!("{} TFLOP; `--tflops N` estimates the time", thousands(total))
            }
            (Some(total), Some(tflops)) => {
                format!("{} TFLOP, {} at {tflops} TFLOP/s", thousands(total), time(total / tflops))
            }
        };
        lines.push(format!("{} cells: {of_all}", self.tasks.len()));
        let disk = [("cache", self.cache_bytes), ("records", self.record_bytes)];
        for (what, bytes) in disk {
            if let Some(bytes) = bytes {
                lines.push(format!("{what}: about {:.1} GB", bytes / 1e9));
            }
        }
        lines.push("operations are those of ViT-B/16 and 200 classes".to_owned());
        lines.extend(self.skipped.iter().map(|skipped| format!("skipped: {skipped}")));
        lines.join("\n")
    }
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5_400.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}
