//! Safetensors files: one header in JSON, then all numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::blob::Blob;
use super::contents::{Contents, Format};
use super::stored_tensor::{NumberType, StoredTensor};

/// Longest header that is read, as in the format's own library.
const LONGEST_HEADER: u64 = 100_000_000;

/// Whether a file that starts so is one.
pub fn is_safetensors(start: &[u8]) -> bool {
    start.len() > 8 && start[8] == b'{'
}

/// Names and places of the tensors; `Err` says what is wrong.
pub fn read(blob: &Arc<Blob>) -> Result<Contents, String> {
    let mut length = [0; 8];
    blob.read_at(0, &mut length).map_err(|error| error.to_string())?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER.min(blob.length() - 8) {
        return Err(format!(
            "the header should have {length} bytes, but the file has {}; it is cut off or damaged",
            blob.length()
        ));
    }
    let header = blob.read(8, length).map_err(|error| error.to_string())?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| format!("the header is damaged: {error}"))?;
    let data = 8 + length;
    let expected = data + header.data_len() as u64;
    if expected != blob.length() {
        return Err(format!(
            "the header speaks of {expected} bytes, but the file has {}; it is cut off or damaged",
            blob.length()
        ));
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in header.tensors() {
        let Some(number) = number_type(info.dtype) else {
            return Err(format!("`{name}` is stored as {:?}, which is not supported", info.dtype));
        };
        let (start, end) = info.data_offsets;
        let bytes = (data + start as u64, (end - start) as u64);
        let tensor = StoredTensor::contiguous(blob, bytes, number, info.shape.clone())
            .map_err(|problem| format!("`{name}`: {problem}"))?;
        tensors.insert(name, tensor);
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Contents { metadata, ..Contents::new(Format::Safetensors, tensors) })
}

fn number_type(dtype: Dtype) -> Option<NumberType> {
    Some(match dtype {
        Dtype::F16 => NumberType::F16,
        Dtype::BF16 => NumberType::Bf16,
        Dtype::F32 => NumberType::F32,
        Dtype::F64 => NumberType::F64,
        Dtype::BOOL => NumberType::Other("BOOL", 1),
        Dtype::U8 => NumberType::Other("U8", 1),
        Dtype::I8 => NumberType::Other("I8", 1),
        Dtype::U16 => NumberType::Other("U16", 2),
        Dtype::I16 => NumberType::Other("I16", 2),
        Dtype::U32 => NumberType::Other("U32", 4),
        Dtype::I32 => NumberType::Other("I32", 4),
        Dtype::U64 => NumberType::Other("U64", 8),
        Dtype::I64 => NumberType::Other("I64", 8),
        Dtype::F8_E4M3 => NumberType::Other("F8_E4M3", 1),
        Dtype::F8_E5M2 => NumberType::Other("F8_E5M2", 1),
        _ => return None,
    })
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Debug, Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads all files that an index names; they lie next to it.
pub fn read_sharded(blob: &Arc<Blob>) -> Result<Contents, String> {
    const LONGEST_INDEX: u64 = 16 << 20;
    if blob.length() > LONGEST_INDEX {
        return Err("the index is implausibly large".to_owned());
    }
    let text = blob.read(0, blob.length()).map_err(|error| error.to_string())?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| {
        format!("it is JSON, but no index of safetensors files (`weight_map`): {error}")
    })?;
    let folder = blob.name().parent().unwrap_or(Path::new(""));
    let mut shards: BTreeMap<&str, BTreeMap<String, StoredTensor>> = BTreeMap::new();
    for shard in index.weight_map.values() {
        if shards.contains_key(shard.as_str()) {
            continue;
        }
        if Path::new(shard).file_name().is_none_or(|name| name != shard.as_str()) {
            return Err(format!("it names `{shard}`, which is not a plain file name"));
        }
        if shard.ends_with(".bin") {
            return Err("its parts are PyTorch files; open them one by one".to_owned());
        }
        let file = folder.join(shard);
        let part = Blob::open(&file)
            .map_err(|error| format!("its part `{}` cannot be read: {error}", file.display()))?;
        let contents =
            read(&part).map_err(|problem| format!("its part `{}`: {problem}", file.display()))?;
        shards.insert(shard, contents.tensors);
    }
    let mut tensors = BTreeMap::new();
    for (name, shard) in &index.weight_map {
        let tensor = shards.get_mut(shard.as_str()).and_then(|shard| shard.remove(name));
        let tensor = tensor.ok_or_else(|| format!("`{name}` is not in its part `{shard}`"))?;
        tensors.insert(name.clone(), tensor);
    }
    Ok(Contents::new(Format::ShardedSafetensors, tensors))
}
