//! Records of evaluation runs: found, merged, compared image by image, and shown.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runs = mint_report::read_runs(&mint_report::find_records(&["runs".into()])?)?;
//! print!("{}", mint_report::latex(&mint_report::Grid::of_runs(&runs)));
//! # Ok(())
//! # }
//! ```

mod csv_table;
mod grid;
mod html;
mod latex;
mod like;
mod paired;
mod runs;
mod stream;
mod table;

pub use csv_table::csv_table;
pub use grid::{Grid, GridCell, GridLine};
pub use html::{ExplainedAnswer, ExplainedMethod, ExplainedPage, ExplainedPicture, Pictures, page};
pub use latex::latex;
pub use paired::{Paired, SIGNIFICANT, Verdict};
pub use runs::{Cell, ReportError, Run, find_records, read_runs};
pub use stream::{Window, windows};
pub use table::{TableStyle, draw_grid, table};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
