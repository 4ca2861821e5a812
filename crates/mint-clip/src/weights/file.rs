//! Opens a file as what its bytes say it is.

use std::path::Path;
use std::sync::Arc;

use super::blob::Blob;
use super::contents::{Contents, Unknown};
use super::error::WeightsError;
use super::{onnx, pytorch, safetensors};

/// Opens a file.
pub fn open(file: &Path, unknown: Unknown) -> Result<Contents, WeightsError> {
    let blob =
        Blob::open(file).map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
    read(&blob, unknown)
}

/// Reads the description of the tensors, whatever the file is called.
pub fn read(blob: &Arc<Blob>, unknown: Unknown) -> Result<Contents, WeightsError> {
    read_any(blob, unknown)
        .map_err(|reason| WeightsError::Format { file: blob.name().to_owned(), reason })
}

fn read_any(blob: &Arc<Blob>, unknown: Unknown) -> Result<Contents, String> {
    let length = blob.length().min(64);
    let start = blob.read(0, length).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
    if start.is_empty() {
        Err("it is empty; fetch it again".to_owned())
    } else if start.iter().all(|&byte| byte == 0) {
        Err("it starts with zeros: an interrupted download? Fetch it again".to_owned())
    } else if text.starts_with("version https://git-lfs") {
        Err("it is a Git LFS pointer in place of the file; run `git lfs pull`, or fetch the file itself"
            .to_owned())
    } else if ["<!doctype", "<html", "<?xml"].iter().any(|tag| text.starts_with(tag)) {
        Err("it is a web page, as failed downloads leave them; fetch the file itself".to_owned())
    } else if pytorch::is_archive(&start) {
        pytorch::read_archive(blob, unknown)
    } else if safetensors::is_safetensors(&start) {
        safetensors::read(blob)
    } else if pytorch::is_legacy(&start) {
        pytorch::read_legacy(blob, unknown)
    } else if pytorch::is_pickle(&start) {
        Err("it is a pickle, but not as `torch.save` writes them; save a state dict with `torch.save`"
            .to_owned())
    } else if text.starts_with('{') {
        safetensors::read_sharded(blob)
    } else if onnx::is_onnx(&start) {
        onnx::read(blob)
    } else {
        Err("it is not a safetensors, ONNX, PyTorch (.pt, .pth, .bin) or TorchScript file"
            .to_owned())
    }
}
