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
//! | `companions`, `open_clip_config`, `hugging_face_config` | what lies next to the file |
//! | `measure` | dimensions, from the shapes |
//! | `part` | one file whose names were translated |
//! | `checkpoint` | one or two parts: settings, and whether everything is there and fits |
//! | `towers` | builds the modules |
//! | `canonical` | writes a checkpoint in one form |
//! | `reference` | compares a loaded model with recorded outputs |
//! | `random` | weights of a published size with random values |
//! | `prompts` | the learned prompts of CoOp, CoCoOp and MaPLe |

mod blob;
mod canonical;
mod checkpoint;
mod companions;
mod contents;
mod dimensions;
pub(crate) mod error;
mod file;
mod hugging_face_config;
mod layout;
mod load_options;
mod measure;
mod model_settings;
mod names;
mod onnx;
mod open_clip_config;
mod part;
mod prompts;
mod pytorch;
mod random;
mod reference;
mod safetensors;
mod stored_tensor;
mod towers;

use std::path::Path;

use burn::tensor::Device;

use crate::clip::Clip;
use crate::lanes::Lanes;

pub use canonical::write_new;
pub use checkpoint::{Checkpoint, PUBLISHED_LOGIT_SCALE};
pub use contents::Format;
pub use dimensions::{Dimensions, Tower};
pub use error::WeightsError;
pub use load_options::{LoadOptions, Origin};
pub use names::Layout;
pub use prompts::{LearnedPrompts, Maple, MapleLayer, MetaNet, StoredLinear};
pub use random::{ModelSize, UnknownSize, random_weights};
pub use reference::{Difference, Reference};
pub use stored_tensor::{NumberType, RawTensor, StoredTensor};

impl Clip {
    /// Opens a weight file with both towers and reads it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not hold a CLIP model.
    pub fn open(
        file: &Path,
        options: LoadOptions,
        device: &Device,
        lanes: Lanes,
    ) -> Result<Self, WeightsError> {
        Checkpoint::open(&[file.to_owned()], options)?.load(device, lanes)
    }
}
