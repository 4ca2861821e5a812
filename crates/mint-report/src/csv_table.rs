//! Rows for a spreadsheet, a data frame or another program.

use mint_eval::Row;

use crate::paired::Paired;
use crate::runs::{Cell, Run};

/// All rows of all runs with everything that is known of them, as CSV with a header.
///
/// # Errors
///
/// If a row cannot be written.
pub fn csv_table(runs: &[Run]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut has_header = false;
    for run in runs {
        let folders: Vec<String> =
            run.folders.iter().map(|folder| folder.display().to_string()).collect();
        for cell in &run.cells {
            let fields = fields(cell, &folders.join(";"));
            if !has_header {
                writer.write_record(fields.iter().map(|(name, _)| *name))?;
                has_header = true;
            }
            writer.write_record(fields.iter().map(|(_, value)| value))?;
        }
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn fields(cell: &Cell, folder: &str) -> Vec<(&'static str, String)> {
    let Row {
        test_set,
        method,
        start,
        views,
        share,
        steps,
        seed,
        images,
        unreadable,
        top1,
        top1_low,
        top1_high,
        top5,
        mean_per_class,
        calibration_error,
        calibration_error_20,
        temperature,
        brier,
        published_top1,
        seconds_per_image,
    } = cell.named_row();
    let optional = |value: &Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let paired = Paired::with_zero_shot(&cell.lines);
    vec![
        ("test_set", test_set),
        ("method", method),
        ("start", start),
        ("views", views.to_string()),
        ("share", optional(&share)),
        ("steps", steps.to_string()),
        ("seed", seed.to_string()),
        ("images", images.to_string()),
        ("unreadable", unreadable.to_string()),
        ("top1", top1.to_string()),
        ("top1_low", top1_low.to_string()),
        ("top1_high", top1_high.to_string()),
        ("top5", top5.to_string()),
        ("mean_per_class", mean_per_class.to_string()),
        ("calibration_error", optional(&calibration_error)),
        ("calibration_error_20", optional(&calibration_error_20)),
        ("temperature", optional(&temperature)),
        ("brier", optional(&brier)),
        ("published_top1", optional(&published_top1)),
        ("seconds_per_image", seconds_per_image.to_string()),
        ("fixed", paired.first.to_string()),
        ("broken", paired.second.to_string()),
        ("p_zero_shot", paired.p_value().to_string()),
        ("folder", folder.to_owned()),
    ]
}
