//! Prints the tables of finished runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_eval::{Row, TableStyle, table};

use crate::args::{ReportArgs, TableFormat};
use crate::output;

/// Prints the rows of one run, or of all runs in a folder.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for file in run_files(&args.folder)? {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let run: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is damaged", file.display()))?;
        if run["finished"] != true {
            output::note(&format!("warning: `{}` is of a run that did not finish", file.display()));
        }
        let of_run: Vec<Row> = serde_json::from_value(run["rows"].clone())
            .with_context(|| format!("`{}` has no rows that can be read", file.display()))?;
        rows.extend(of_run);
    }
    output::result(&match args.format {
        TableFormat::Json => serde_json::to_string_pretty(&serde_json::json!({ "rows": rows }))?,
        TableFormat::Text => table(&rows, TableStyle::Text),
        TableFormat::Long => table(&rows, TableStyle::Long),
        TableFormat::Markdown => table(&rows, TableStyle::Markdown),
    });
    Ok(())
}

fn run_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let own = folder.join(mint_eval::RUN_FILE);
    if own.is_file() {
        return Ok(vec![own]);
    }
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path().join(mint_eval::RUN_FILE)))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("`{}` holds no record of a run (no `{}`)", folder.display(), mint_eval::RUN_FILE);
    }
    Ok(files)
}
