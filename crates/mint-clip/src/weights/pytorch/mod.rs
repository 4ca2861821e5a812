//! Files of PyTorch: archives of `torch.save` and TorchScript, and pickles from before 1.6.

mod pickle;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use self::pickle::{Id, Pickle, Storage, TensorView, Value};
use super::blob::{Blob, Cursor};
use super::contents::{Contents, Format, Unknown};
use super::stored_tensor::{NumberType, StoredTensor};
use crate::config::Activation;

/// What `torch.save` wrote before 1.6 starts with: a pickle of the number 0x1950a86a20f9469cfc6c.
const LEGACY_START: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// Longest description of tensors that is read. That of a ViT-L/14 has 0.1 MB.
const LONGEST_PICKLE: u64 = 32 << 20;

/// Whether a file that starts so is an archive.
pub fn is_archive(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

/// Whether a file that starts so is of the format before 1.6.
pub fn is_legacy(start: &[u8]) -> bool {
    start.starts_with(&LEGACY_START)
}

/// Whether a file that starts so is a pickle of any kind.
pub fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
}

/// Names and places of the tensors in an archive; `Err` says what is wrong.
pub fn read_archive(blob: &Arc<Blob>, unknown: Unknown) -> Result<Contents, String> {
    let cursor = Cursor::new(blob.clone(), 0, blob.length()).map_err(|error| error.to_string())?;
    let mut archive =
        ZipArchive::new(cursor).map_err(|error| format!("the archive is damaged: {error}"))?;
    let mut records = HashMap::new();
    for index in 0..archive.len() {
        let record = archive
            .by_index_raw(index)
            .map_err(|error| format!("the archive is damaged: {error}"))?;
        let start = record.data_start().ok_or("a record of the archive lies nowhere")?;
        let stored = record.compression() == CompressionMethod::Stored;
        records.insert(record.name().to_owned(), Record { start, length: record.size(), stored });
    }
    // All records lie in one folder, whose name varies.
    let folder = records.keys().filter_map(|name| name.strip_suffix("data.pkl")).min();
    let folder = folder.ok_or("the archive has no record `data.pkl`: it is not a PyTorch file")?;
    let record = |name: &str| -> Result<Record, String> {
        let name = format!("{folder}{name}");
        let record = records.get(&name).ok_or_else(|| format!("it has no record `{name}`"))?;
        if !record.stored {
            return Err(format!("its record `{name}` is compressed, which PyTorch never does"));
        }
        Ok(*record)
    };
    if let Ok(order) = record("byteorder")
        && order.length <= 16
        && blob.read(order.start, order.length).is_ok_and(|order| order == b"big")
    {
        return Err("its numbers are big-endian, which is not supported".to_owned());
    }
    let description = record("data.pkl")?;
    if description.length > LONGEST_PICKLE {
        return Err(format!("its record `data.pkl` has {} bytes", description.length));
    }
    let end = description.start.saturating_add(description.length);
    let mut cursor = Cursor::new(blob.clone(), description.start, end)
        .map_err(|error| format!("its record `data.pkl`: {error}"))?;
    let pickle = pickle::read(&mut cursor, unknown)?;
    let is_script = records
        .keys()
        .any(|name| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with("code/")));
    let tensors = collect(&pickle, blob, |storage| {
        let block = record(&format!("data/{}", storage.key))?;
        let needed = storage.elements.checked_mul(storage.number.size() as u64);
        if needed != Some(block.length) {
            return Err(format!(
                "its record `data/{}` has {} bytes, but {} numbers of {} are declared; it is damaged",
                storage.key, block.length, storage.elements, storage.number
            ));
        }
        Ok((block.start, block.length))
    })?;
    let format = if is_script { Format::TorchScript } else { Format::PyTorch };
    let activation = if is_script { script_activation(&pickle)? } else { None };
    Ok(Contents { activation, ..Contents::new(format, tensors) })
}

#[derive(Debug, Clone, Copy)]
struct Record {
    start: u64,
    length: u64,
    stored: bool,
}

/// Names and places of the tensors in a file from before PyTorch 1.6.
///
/// After the magic number come four pickles (protocol, system, object, keys of the blocks of
/// numbers), then for each key the number of elements and the bytes.
pub fn read_legacy(blob: &Arc<Blob>, unknown: Unknown) -> Result<Contents, String> {
    let io = |error: std::io::Error| error.to_string();
    let start = LEGACY_START.len() as u64;
    let mut cursor = Cursor::new(blob.clone(), start, blob.length()).map_err(io)?;
    pickle::read(&mut cursor, unknown)?;
    let system = pickle::read(&mut cursor, unknown)?;
    let little_endian = system.member(system.root(), "little_endian").map(|id| system.get(id));
    if matches!(little_endian, Some(Value::Truth(false))) {
        return Err("its numbers are big-endian, which is not supported".to_owned());
    }
    let pickle = pickle::read(&mut cursor, unknown)?;
    let keys = pickle::read(&mut cursor, unknown)?;
    let Value::List(ids) = keys.get(keys.root()) else {
        return Err("it has no list of its blocks of numbers".to_owned());
    };
    let sizes: HashMap<&str, NumberType> = pickle
        .values()
        .iter()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((&*storage.key, storage.number)),
            _ => None,
        })
        .collect();
    let mut blocks = HashMap::new();
    for &id in ids {
        let Value::Text(key) = keys.get(id) else {
            return Err("the key of a block of numbers is not a text".to_owned());
        };
        let number = sizes.get(&**key).ok_or_else(|| format!("the block `{key}` is not used"))?;
        let elements = u64::from_le_bytes(cursor.array().map_err(io)?);
        let length = elements
            .checked_mul(number.size() as u64)
            .ok_or_else(|| format!("the block `{key}` should have {elements} elements"))?;
        let start = cursor.position();
        cursor.skip(length).map_err(|error| format!("the block `{key}`: {error}"))?;
        blocks.insert(key.clone(), (start, length));
    }
    let tensors = collect(&pickle, blob, |storage| {
        let block = blocks.get(&storage.key).copied();
        block.ok_or_else(|| format!("it has no block of numbers `{}`", storage.key))
    })?;
    Ok(Contents::new(Format::LegacyPyTorch, tensors))
}

/// The tensors of a checkpoint, by name.
fn collect(
    pickle: &Pickle,
    blob: &Arc<Blob>,
    block: impl Fn(&Storage) -> Result<(u64, u64), String>,
) -> Result<BTreeMap<String, StoredTensor>, String> {
    let place = |name: &str, view: &TensorView| -> Result<StoredTensor, String> {
        let TensorView { storage, first, shape, strides } = view;
        let block = block(storage)?;
        let (shape, strides) = (shape.clone(), strides.clone());
        StoredTensor::strided(blob, block, storage.number, *first, shape, strides)
            .map_err(|problem| format!("`{name}`: {problem}"))
    };
    let root = state_dict(pickle);
    let found = pickle.tensors(root)?;
    if found.is_empty() {
        return Err(format!("it holds no tensors by name, but {}", describe(pickle, root)));
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in found {
        let tensor = place(&name, view)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// The part of a checkpoint that holds the model.
fn state_dict(pickle: &Pickle) -> Id {
    let names = ["state_dict", "model_state_dict", "model"];
    let part = names.iter().find_map(|name| pickle.member(pickle.root(), name));
    part.filter(|&part| matches!(pickle.get(part), Value::Dictionary(_))).unwrap_or(pickle.root())
}

fn describe(pickle: &Pickle, id: Id) -> String {
    match pickle.get(id) {
        Value::Object { class, .. } => format!("an object of `{class}`"),
        Value::Dictionary(entries) => format!("a dictionary of {} entries", entries.len()),
        Value::List(items) | Value::Tuple(items) => format!("a list of {} items", items.len()),
        Value::Tensor(_) => "a single tensor".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// The activation that the classes of a TorchScript archive name.
fn script_activation(pickle: &Pickle) -> Result<Option<Activation>, String> {
    let has = |names: [&str; 2]| {
        pickle.values().iter().any(|value| match value {
            Value::Object { class, .. } => {
                class.rsplit('.').next().is_some_and(|class| names.contains(&class))
            }
            _ => false,
        })
    };
    match (has(["QuickGELU", "QuickGELUActivation"]), has(["GELU", "GELUActivation"])) {
        (true, false) => Ok(Some(Activation::QuickGelu)),
        (false, true) => Ok(Some(Activation::Gelu)),
        (true, true) => Err("its blocks differ in their activation".to_owned()),
        (false, false) => Ok(None),
    }
}
