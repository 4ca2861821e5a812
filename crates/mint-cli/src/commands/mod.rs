//! One file a command.

pub mod datasets;
pub mod gpu_check;
pub mod predict;
pub mod report;
pub mod run;
pub mod weights;
