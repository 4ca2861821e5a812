//! What a weight file holds, before its names are translated.

use std::collections::{BTreeMap, HashMap};

use super::stored_tensor::StoredTensor;
use crate::config::Activation;

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// An index and the safetensors files that it names.
    ShardedSafetensors,
    /// An ONNX graph.
    Onnx,
    /// An archive of `torch.save`.
    PyTorch,
    /// A pickle of `torch.save` from before PyTorch 1.6.
    LegacyPyTorch,
    /// An archive of `torch.jit.save`.
    TorchScript,
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::ShardedSafetensors => "safetensors in several files",
            Self::Onnx => "ONNX",
            Self::PyTorch => "PyTorch archive",
            Self::LegacyPyTorch => "PyTorch pickle from before 1.6",
            Self::TorchScript => "TorchScript archive",
        })
    }
}

/// What a file holds, with the names that the file uses.
#[derive(Debug, Clone)]
pub struct Contents {
    pub format: Format,
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What else the file says about itself.
    pub metadata: HashMap<String, String>,
    /// Activation of the MLPs, if the file states it.
    pub activation: Option<Activation>,
}

impl Contents {
    pub fn new(format: Format, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self { format, tensors, metadata: HashMap::new(), activation: None }
    }
}

/// What is done with a class or function that builds no tensor and no container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The file is refused.
    Refuse,
    /// An object that does nothing stands in its place.
    KeepInert,
}
