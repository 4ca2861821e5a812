//! Numbers that come back from a device: the one place where results are read.
//!
//! Burn's device runtimes queue work on a thread of their own. A task that panics there is caught, its
//! message is only logged, and a later read may return memory that nothing was written to. So a
//! program that hears of such a failure reports it here, and from then on every read is an error.

use std::sync::OnceLock;

use burn::tensor::{Element, Tensor, TensorReadError};

static FAILURE: OnceLock<String> = OnceLock::new();

/// A device delivers nothing, or nothing that can be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Work failed on a device before; what is read since may be anything.
    #[error("{0}")]
    Failed(String),
    /// The device reports that this read failed.
    #[error(transparent)]
    Burn(#[from] TensorReadError),
}

/// Reads a tensor's values in row-major order, converted to `E`.
///
/// # Errors
///
/// If the device cannot deliver them, or [`report_device_failure`] was called.
pub fn read<E: Element, const D: usize, K: burn::tensor::kind::Basic>(
    tensor: Tensor<D, K>,
) -> Result<Vec<E>, ReadError> {
    let values = tensor.try_into_vec_as::<E>();
    // Its own error may be the consequence of an earlier failure, which says more.
    match device_failure() {
        Some(failure) => Err(ReadError::Failed(failure.to_owned())),
        None => Ok(values?),
    }
}

/// Has all later reads fail, since work on a device did; the first message is kept.
pub fn report_device_failure(message: String) {
    let _ = FAILURE.set(message);
}

/// What failed first on a device of this process.
pub fn device_failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}
