//! The table of docs/demo.md: every method on every image of the demo.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::process::{build, measure};

const START: &str = "<!-- demo table -->\n";
const END: &str = "<!-- /demo table -->";

/// The demo's sets, from no shift to a strong one.
const SETS: [&str; 5] = ["demo-I", "demo-A", "demo-V", "demo-R", "demo-K"];

/// Rows that `--method all` does not have: the same methods from another start or with another
/// share of the views.
const VARIANTS: [&str; 10] = [
    "configs/tpt-coop.toml",
    "configs/mta-template.toml",
    "configs/mta-coop.toml",
    "configs/zero-gamma-0.1.toml",
    "configs/zero-templates.toml",
    "configs/zero-coop.toml",
    "configs/zero-tsallis.toml",
    "configs/atpt-apart.toml",
    "configs/atpt-together.toml",
    "configs/tps-templates.toml",
];

#[derive(Debug, Args)]
pub struct DemoTableArgs {
    /// Document whose table is rewritten
    #[arg(long, default_value = "docs/demo.md")]
    document: PathBuf,
    /// Views of each image
    #[arg(long, default_value_t = 64)]
    views: usize,
    /// At most N images of each set; all without
    #[arg(long)]
    limit: Option<usize>,
}

/// What is used of a row of mint-cli.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    test_set: String,
    method: String,
    start: String,
    views: usize,
    share: Option<f64>,
    steps: usize,
    seed: u64,
    images: u64,
    top1: f64,
    top1_low: f64,
    top1_high: f64,
    calibration_error: Option<f64>,
    seconds_per_image: f64,
}

impl Row {
    /// Whether both are the same method with the same settings.
    fn is_like(&self, other: &Self) -> bool {
        let key = |row: &Self| (row.views, row.steps, row.seed, row.share.map(f64::to_bits));
        (&self.method, &self.start, key(self)) == (&other.method, &other.start, key(other))
    }
}

#[derive(Debug, Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

/// Runs everything and rewrites the table.
pub fn run(args: &DemoTableArgs) -> anyhow::Result<()> {
    // Looked at before anything runs, and read again when it has: the runs take many minutes.
    split(&args.document)?;
    let program = build()?;
    let mut rows = of_run(&program, args, &["--method", "all"])?;
    for config in VARIANTS {
        rows.extend(of_run(&program, args, &["--config", config])?);
    }
    let [before, after] = split(&args.document)?;
    let contents = format!("{before}{START}{}{END}{after}", table(&rows)?);
    let file = args.document.display();
    let partial = args.document.with_extension("partial");
    fs::write(&partial, contents)
        .and_then(|()| fs::rename(&partial, &args.document))
        .with_context(|| format!("cannot write `{file}`"))?;
    println!("`{file}` has the new table");
    Ok(())
}

/// What stands before and after the table.
fn split(document: &Path) -> anyhow::Result<[String; 2]> {
    let file = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("cannot read `{file}`"))?;
    let (before, rest) = text
        .split_once(START)
        .with_context(|| format!("`{file}` has no line `{}`", START.trim_end()))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("`{file}` has no line `{END}`"))?;
    Ok([before.to_owned(), after.to_owned()])
}

fn of_run(program: &Path, args: &DemoTableArgs, options: &[&str]) -> anyhow::Result<Vec<Row>> {
    let record = std::env::temp_dir().join(format!("mint-demo-table-{}", std::process::id()));
    let mut command = Command::new(program);
    command
        .args(["--test-sets", &SETS.join("/"), "--format", "json"])
        .args(["--views", &args.views.to_string(), "--output"])
        .arg(&record)
        .args(options);
    // Without a limit of its own mint-cli takes a few images of the demo.
    command.args(["--limit", &args.limit.unwrap_or(usize::MAX).to_string()]);
    let (_, output) = measure(&mut command)?;
    fs::remove_dir_all(&record)
        .with_context(|| format!("cannot remove the record `{}`", record.display()))?;
    let rows: Rows = serde_json::from_str(&output).context("mint-cli printed no rows")?;
    Ok(rows.rows)
}

/// One line per method, one column per set.
fn table(rows: &[Row]) -> anyhow::Result<String> {
    let first = rows.first().context("there are no rows")?;
    let of_first: Vec<&Row> = rows.iter().filter(|row| row.is_like(first)).collect();
    let mut text = String::from("| method | start | views | share | steps |");
    for row in &of_first {
        write!(text, " {} ({}) |", row.test_set.trim_start_matches("demo-"), row.images)?;
    }
    text.push_str(" ECE | s/image |\n| --- | --- | --- | --- | --- |");
    text.push_str(&" --- |".repeat(of_first.len() + 2));
    text.push('\n');
    for first in rows.iter().filter(|row| row.test_set == first.test_set) {
        let line: Vec<&Row> = rows.iter().filter(|row| row.is_like(first)).collect();
        if line.len() != of_first.len() {
            bail!("`{}` from `{}` does not have every set", first.method, first.start);
        }
        let share = first.share.map_or("-".to_owned(), |share| share.to_string());
        let Row { method, start, views, steps, .. } = first;
        write!(text, "| {method} | {start} | {views} | {share} | {steps} |")?;
        for row in &line {
            write!(text, " {:.1} ({:.1} - {:.1}) |", row.top1, row.top1_low, row.top1_high)?;
        }
        let mean = |value: fn(&Row) -> f64| {
            line.iter().map(|row| value(row)).sum::<f64>() / line.len() as f64
        };
        let error = match first.calibration_error {
            Some(_) => format!("{:.1}", mean(|row| row.calibration_error.unwrap_or(f64::NAN))),
            None => "votes".to_owned(),
        };
        writeln!(text, " {error} | {:.3} |", mean(|row| row.seconds_per_image))?;
    }
    Ok(text)
}
