//! Merges and shows the records of runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use mint_datasets::decode;
use mint_datasets::image::RgbImage;
use mint_eval::Row;
use mint_report::{
    Cell, Grid, Paired, Pictures, Run, TableStyle, csv_table, draw_grid, find_records, latex, page,
    read_runs, table,
};
use serde_json::json;

use crate::args::{ReportArgs, ReportFormat};
use crate::{demo, output};

/// Prints what the records in some folders say.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let runs = read_runs(&find_records(&args.folders)?)?;
    for run in &runs {
        let folder = run.folders[0].display();
        if !run.finished {
            output::note(&format!("warning: `{folder}` is of a run that did not finish"));
        }
        if !run.divided_memories.is_empty() {
            output::note(&format!(
                "warning: each part of the run in `{folder}` and so on had a memory of its own: {}",
                run.divided_memories.join(", ")
            ));
        }
    }
    if let Some(folder) = &args.merge {
        match &runs[..] {
            [run] => run.write(folder)?,
            _ => bail!("`--merge` writes one run, and these are {}", runs.len()),
        }
    }
    output::result(&match args.format {
        ReportFormat::Text => text(&runs),
        ReportFormat::Long => table(&rows(&runs), TableStyle::Long),
        ReportFormat::Markdown => markdown(&runs),
        ReportFormat::Json => json(&runs)?,
        ReportFormat::Csv => csv_table(&runs)?.trim_end().to_owned(),
        ReportFormat::Latex => latex(&Grid::of_runs(&runs)).trim_end().to_owned(),
        ReportFormat::Html => page(&runs, &Files { data: args.data.as_deref() }),
    });
    Ok(())
}

fn rows(runs: &[Run]) -> Vec<Row> {
    runs.iter().flat_map(|run| &run.cells).map(Cell::named_row).collect()
}

fn text(runs: &[Run]) -> String {
    let grid = Grid::of_runs(runs);
    if grid.sets.len() > 1 || grid.lines.iter().any(|line| is_of_seeds(&line.cells)) {
        draw_grid(&grid, TableStyle::Text)
    } else {
        table(&rows(runs), TableStyle::Text)
    }
}

fn markdown(runs: &[Run]) -> String {
    draw_grid(&Grid::of_runs(runs), TableStyle::Markdown)
}

fn is_of_seeds(cells: &[Option<mint_report::GridCell>]) -> bool {
    cells.iter().flatten().any(|cell| cell.seeds > 1)
}

fn json(runs: &[Run]) -> anyhow::Result<String> {
    let cells = runs.iter().flat_map(|run| &run.cells);
    let compared: Vec<_> = cells
        .map(|cell| {
            let paired = Paired::with_zero_shot(&cell.lines);
            json!({
                "test_set": cell.row.test_set, "method": cell.row.method, "start": cell.named_row().start,
                "seed": cell.row.seed, "fixed": paired.first, "broken": paired.second,
                "p": paired.p_value(), "verdict": paired.verdict(),
            })
        })
        .collect();
    let of_runs: Vec<_> = runs
        .iter()
        .map(|run| {
            json!({
                "folders": run.folders, "finished": run.finished, "processes": run.processes,
                "divided_memories": run.divided_memories,
            })
        })
        .collect();
    let value = json!({ "rows": rows(runs), "beside_zero_shot": compared, "runs": of_runs });
    Ok(serde_json::to_string_pretty(&value)?)
}

/// Pictures on the disk, and those of the demo.
struct Files<'a> {
    data: Option<&'a Path>,
}

impl Pictures for Files<'_> {
    fn picture(&self, run: &Run, test_set: &str, path: &str) -> Option<RgbImage> {
        let info = run.info.test_sets.iter().find(|info| info.id == test_set)?;
        let bytes = match &info.folder {
            Some(folder) => fs::read(folder.join(path)).ok().or_else(|| self.moved(folder, path)),
            None => demo::picture(path),
        };
        decode(&bytes?).ok()
    }
}

impl Files<'_> {
    /// The picture in the data folder of today.
    fn moved(&self, folder: &Path, path: &str) -> Option<Vec<u8>> {
        let data = self.data?;
        // The end of the recorded folder, as far as it is there.
        let parts: Vec<_> = folder.components().collect();
        let ends = (0..parts.len()).map(|from| parts[from..].iter().collect::<PathBuf>());
        ends.filter(|end| end.is_relative())
            .find_map(|end| fs::read(data.join(end).join(path)).ok())
    }
}
