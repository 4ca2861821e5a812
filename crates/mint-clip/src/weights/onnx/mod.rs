//! ONNX graphs as weight files.
//!
//! An export renames, transposes, merges and folds weights. [`graph`] reads the nodes;
//! [`parameters`] gives each weight the name that it had in the exported module, by what the
//! graph does with it.

mod graph;
mod parameters;
mod protobuf;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::Blob;
use super::contents::{Contents, Format};

/// Whether a file that starts so is one: the version of the format comes first.
pub fn is_onnx(start: &[u8]) -> bool {
    matches!(start, [0x08, 1..=32, ..])
}

/// Names and places of the weights; `Err` says what is wrong.
pub fn read(blob: &Arc<Blob>) -> Result<Contents, String> {
    let graph = graph::read(blob)?;
    let parameters = parameters::find(&graph)?;
    let activation = parameters.activation;
    Ok(Contents { activation, ..Contents::new(Format::Onnx, parameters.tensors) })
}

/// The file of the other tower next to the file of one.
pub fn other_tower(file: &Path) -> Option<PathBuf> {
    const PAIRS: [[&str; 2]; 6] = [
        ["vision", "text"],
        ["visual", "text"],
        ["visual", "textual"],
        ["image", "text"],
        ["Vision", "Text"],
        ["Visual", "Text"],
    ];
    let name = file.file_name()?.to_str()?;
    let pairs = PAIRS.iter().flat_map(|&[image, text]| [[image, text], [text, image]]);
    pairs
        .filter(|[one, _]| name.contains(one))
        .map(|[one, other]| file.with_file_name(name.replacen(one, other, 1)))
        .find(|other| other.is_file())
}
