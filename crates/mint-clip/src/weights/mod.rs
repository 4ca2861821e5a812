//! Weight files: every format and layout that CLIP's weights are published in.
//!
//! [`Checkpoint::open`] looks at a file's bytes, not at its name, and reads only descriptions of
//! tensors; [`Checkpoint::load`] reads the numbers, one tensor at a time. Nothing in a file is
//! ever executed, and nothing is allocated that the file's own size does not cover.
//!
//! | part | what it does |
//! | --- | --- |
//! | `file` | tells the formats apart |
//! | `safetensors`, `pytorch`, `onnx` | give tensors the names that the file, or its graph, implies |
//! | `layout`, `names` | translate those names; the one table of names is in `names` |
//! | `companions`, `open_clip_config`, `hugging_face_config` | what lies beside the file |
//! | `measure` | dimensions, from the shapes |
//! | `checkpoint` | settings, and whether everything is there and fits |
//! | `towers` | builds the modules |
//! | `canonical` | writes a checkpoint in one form |
//! | `reference` | compares a loaded model with recorded outputs |
//! | `prompts` | the learned prompts of CoOp, CoCoOp and MaPLe |

mod blob;
mod canonical;
mod checkpoint;
mod companions;
mod file;
mod hugging_face_config;
mod layout;
mod measure;
mod model_settings;
mod names;
mod onnx;
mod open_clip_config;
mod prompts;
mod pytorch;
mod reference;
mod safetensors;
mod stored_tensor;
mod towers;

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::clip::Clip;
use crate::lanes::Lanes;

pub use canonical::write_new;
pub use checkpoint::{Checkpoint, Dimensions, LoadOptions, Origin, PUBLISHED_LOGIT_SCALE};
pub use file::Format;
pub use names::{Layout, Tower};
pub use prompts::{LearnedPrompts, Maple, MapleLayer, MetaNet, StoredLinear};
pub use reference::{Difference, Reference};
pub use stored_tensor::{NumberType, RawTensor, StoredTensor};

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
    /// The file cannot be written.
    #[error("cannot write the weights `{}`", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not of a known format, or damaged.
    #[error("`{}` cannot be opened: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors do not make a CLIP model.
    #[error("`{}` does not hold a CLIP model that fits: {}", file.display(), list(problems))]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// Every missing, unused and misshapen tensor.
        problems: Vec<String>,
    },
    /// A file with one tower where both are needed.
    #[error(
        "`{}` has no {tower}; give the file of the other tower as well (`--weights` once for each)",
        file.display()
    )]
    TowerMissing {
        /// The file.
        file: PathBuf,
        /// The tower that is not there.
        tower: Tower,
    },
    /// Nothing was given.
    #[error("no weight file is given")]
    NoFile,
}

impl Clip {
    /// Opens a weight file with both towers and reads it.
    pub fn open(
        file: &Path,
        options: LoadOptions,
        device: &Device,
        lanes: Lanes,
    ) -> Result<Self, WeightsError> {
        Checkpoint::open(&[file.to_owned()], options)?.load(device, lanes)
    }
}

/// The first few of many problems.
fn list(problems: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match problems.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}; and {more} more of the kind"),
    }
}
