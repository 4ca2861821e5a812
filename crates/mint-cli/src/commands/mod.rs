//! One file per command.

pub mod cache;
pub mod completions;
pub mod datasets;
pub mod man;
pub mod memory;
pub mod predict;
pub mod report;
pub mod run;
pub mod weights;
