//! One file per command.

pub mod cache;
pub mod completions;
pub mod datasets;
pub mod predict;
pub mod report;
pub mod run;
pub mod weights;
