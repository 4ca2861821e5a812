//! Rows as a table for readers.

use comfy_table::{CellAlignment, Table, presets};

use crate::evaluate::Row;

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStyle {
    /// For a terminal.
    Text,
    /// For a document.
    Markdown,
}

/// Draws the rows; percentages with one decimal.
pub fn table(rows: &[Row], style: TableStyle) -> String {
    let mut table = Table::new();
    table.load_preset(match style {
        TableStyle::Text => presets::NOTHING,
        TableStyle::Markdown => presets::ASCII_MARKDOWN,
    });
    table.set_header([
        "set",
        "method",
        "images",
        "views",
        "top-1 %",
        "95 % interval",
        "top-5 %",
        "s/image",
    ]);
    for row in rows {
        table.add_row([
            row.test_set.clone(),
            row.method.clone(),
            row.images.to_string(),
            row.views.to_string(),
            format!("{:.1}", row.top1),
            format!("{:.1} - {:.1}", row.top1_low, row.top1_high),
            format!("{:.1}", row.top5),
            format!("{:.3}", row.seconds_per_image),
        ]);
    }
    for column in 2..8 {
        let column = table.column_mut(column).expect("the header has eight columns");
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
