//! From `--backend` and `--gpu` to what runs the model, or to an error that says what is missing.
//!
//! A GPU that was asked for is never replaced by the CPU; `auto` may, and says why.

mod backend;
mod cache;
mod compute;
#[cfg(feature = "cuda-lean")]
mod cuda;
mod explained;
mod failure;
#[cfg(any(feature = "cuda-lean", feature = "wgpu", test))]
mod probe;
#[cfg(any(feature = "cuda-lean", test))]
mod toolkit;
#[cfg(feature = "wgpu")]
mod wgpu;

pub use backend::{Backend, Chosen};
pub use compute::Compute;
pub use explained::Explained;
pub use failure::FailureWatch;
