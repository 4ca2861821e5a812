//! From `--backend` and `--gpu` to what runs the model, or to an error that says what is missing.
//!
//! A GPU that was asked for is never replaced by the CPU; `auto` may, and says why.

mod backend;
mod compute;
#[cfg(feature = "cuda-lean")]
mod cuda;
mod explained;
#[cfg(any(feature = "cuda-lean", test))]
mod probe;
#[cfg(any(feature = "cuda-lean", test))]
mod toolkit;

pub use backend::{Backend, Chosen};
pub use compute::Compute;
pub use explained::Explained;
