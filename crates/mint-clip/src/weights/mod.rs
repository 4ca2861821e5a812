//! Weight files: reading tensors by name and building the towers from them.

mod layout;
mod state_dict;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::clip::Clip;
use crate::lanes::Lanes;

pub use layout::LoadOptions;
pub use state_dict::{RawTensor, StateDict};

/// A weight file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read the weights `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not of a known format.
    #[error("`{}` is not a weight file that can be opened: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors do not make a CLIP model.
    #[error("`{}` does not hold a CLIP model that fits: {}", file.display(), problems.join("; "))]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// Every missing, unused and misshapen tensor.
        problems: Vec<String>,
    },
}

impl Clip {
    /// Opens a weight file.
    ///
    /// Dimensions are read off the tensors; `options` holds what the tensors cannot tell.
    pub fn open(
        file: &Path,
        options: LoadOptions,
        device: &Device,
        lanes: Lanes,
    ) -> Result<Self, WeightsError> {
        Self::from_state_dict(StateDict::open(file)?, options, device, lanes)
    }

    /// Builds the model from named tensors.
    pub fn from_state_dict(
        tensors: StateDict,
        options: LoadOptions,
        device: &Device,
        lanes: Lanes,
    ) -> Result<Self, WeightsError> {
        layout::build(tensors, options, device, lanes)
    }
}
