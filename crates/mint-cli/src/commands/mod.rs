//! One file a command.

pub mod datasets;
pub mod predict;
pub mod report;
pub mod run;
pub mod weights;
