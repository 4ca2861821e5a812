//! The pickles that PyTorch writes, read without executing anything.
//!
//! A pickle is a program for a machine with a stack. Here the machine builds numbers, texts,
//! containers and descriptions of tensors. Calls of anything else are refused by name or, where
//! the caller knows that a file has them, kept as objects that do nothing.

mod build;
mod machine;
mod values;

pub use values::{Id, Pickle, Storage, TensorView, Value};

use super::super::blob::Cursor;
use super::super::contents::Unknown;

/// Runs one pickle from the cursor on. `Err` says what is wrong with it.
pub fn read(cursor: &mut Cursor, unknown: Unknown) -> Result<Pickle, String> {
    machine::Machine::new(cursor, unknown).run()
}
