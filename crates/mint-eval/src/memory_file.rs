//! What methods remember within a test set, on disk, so that an interrupted run can be resumed
//! exactly. There is a file for each set, which at the set's end has what the next one starts from.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mint_clip::burn::tensor::{DType, TensorData};
use mint_tuner::Memory;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::RecordError;
use crate::write_whole::write_whole;

/// The memories of all methods at one point of a test set.
#[derive(Debug, Default)]
pub struct SavedMemories {
    /// How many of the set's images had been seen.
    pub images: usize,
    /// By the name of the method.
    pub memories: BTreeMap<String, Memory>,
}

/// What is said of the tensors; one entry, since several would come in a random order.
#[derive(Serialize, Deserialize)]
struct Description {
    images: usize,
    methods: Vec<String>,
}

/// Key of the description in the file's metadata.
const DESCRIPTION: &str = "memory";

/// The file of a test set in the folder of a run.
pub fn path(folder: &Path, test_set: &str) -> PathBuf {
    folder.join(format!("{test_set}-memory.safetensors"))
}

/// Saves memories, all or none.
pub fn save(folder: &Path, test_set: &str, saved: &SavedMemories) -> Result<(), RecordError> {
    let path = path(folder, test_set);
    let description =
        Description { images: saved.images, methods: saved.memories.keys().cloned().collect() };
    write(&path, &description, &saved.memories)
        .map_err(|source| RecordError::Write { path, source })
}

/// Reads what [`save`] wrote; `None` if there is no file.
pub fn load(folder: &Path, test_set: &str) -> Result<Option<SavedMemories>, RecordError> {
    let path = path(folder, test_set);
    let damaged = |reason: &str| RecordError::Damaged { path: path.clone(), reason: reason.into() };
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| damaged(&error.to_string()))?;
    let read = || {
        let Description { images, methods } = serde_json::from_value(description(&bytes)?).ok()?;
        Some(SavedMemories { images, memories: memories(&bytes, &methods)? })
    };
    read().map(Some).ok_or_else(|| damaged("it holds no memory of a run"))
}

/// Writes a description and the memories that it names, all or none.
pub fn write(
    path: &Path,
    description: &impl Serialize,
    memories: &BTreeMap<String, Memory>,
) -> io::Result<()> {
    let tensors = memories.iter().flat_map(|(method, memory)| {
        let named = move |(name, data)| (format!("{method}.{name}"), Saved(data));
        memory.tensors().iter().map(named)
    });
    let metadata = HashMap::from([(DESCRIPTION.to_owned(), serde_json::to_string(description)?)]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(io::Error::other)?;
    write_whole(path, &bytes)
}

/// The description in a file's bytes.
pub fn description(bytes: &[u8]) -> Option<Value> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    serde_json::from_str(header.metadata().as_ref()?.get(DESCRIPTION)?).ok()
}

/// The memories of these methods in a file's bytes; `None` if it has others, or damaged ones.
pub fn memories(bytes: &[u8], methods: &[String]) -> Option<BTreeMap<String, Memory>> {
    let mut tensors: BTreeMap<String, BTreeMap<String, TensorData>> =
        methods.iter().map(|method| (method.clone(), BTreeMap::new())).collect();
    for (name, view) in SafeTensors::deserialize(bytes).ok()?.tensors() {
        let (method, name) = name.split_once('.')?;
        let data = match view.dtype() {
            Dtype::F32 => {
                let values = data(view.data(), view.shape(), f32::from_le_bytes);
                let finite = values.as_slice::<f32>().ok()?.iter().all(|value| value.is_finite());
                finite.then_some(values)?
            }
            Dtype::I64 => data(view.data(), view.shape(), i64::from_le_bytes),
            _ => return None,
        };
        tensors.get_mut(method)?.insert(name.to_owned(), data);
    }
    let memories = tensors.into_iter().map(|(method, tensors)| (method, Memory::new(tensors)));
    Some(memories.collect())
}

fn data<T, const SIZE: usize>(
    bytes: &[u8],
    shape: &[usize],
    number: fn([u8; SIZE]) -> T,
) -> TensorData
where
    T: mint_clip::burn::tensor::Element,
{
    let values: Vec<T> = bytes.as_chunks().0.iter().map(|&chunk| number(chunk)).collect();
    TensorData::new(values, shape.to_vec())
}

/// A tensor as safetensors writes it: little-endian numbers, as on every machine that Burn runs on.
struct Saved<'a>(&'a TensorData);

impl View for Saved<'_> {
    fn dtype(&self) -> Dtype {
        if self.0.dtype() == DType::I64 { Dtype::I64 } else { Dtype::F32 }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.as_bytes())
    }

    fn data_len(&self) -> usize {
        self.0.as_bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_come_back_as_they_were_saved() {
        let folder = std::env::temp_dir().join(format!("mint-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let tensors = BTreeMap::from([
            ("keys".to_owned(), TensorData::new(vec![1.5f32, -2.0, 0.25, 4.0], [2, 2])),
            ("usage".to_owned(), TensorData::new(vec![3i64, 5_000_000_000], [2])),
        ]);
        let memories = BTreeMap::from([
            ("mint".to_owned(), Memory::new(tensors)),
            ("sar".to_owned(), Memory::default()),
        ]);
        assert!(load(&folder, "A").expect("nothing is no error").is_none());
        let mut saved = SavedMemories { images: 7, memories };
        save(&folder, "A", &saved).expect("the folder can be written");
        let loaded = load(&folder, "A").expect("the file is whole").expect("there is a file");
        assert_eq!((loaded.images, &loaded.memories), (7, &saved.memories));
        assert!(load(&folder, "R").expect("nothing is no error").is_none());
        let bytes = fs::read(path(&folder, "A")).expect("the file is there");
        save(&folder, "A", &saved).expect("the folder can be written");
        assert_eq!(fs::read(path(&folder, "A")).expect("the file is there"), bytes);

        let infinite = TensorData::new(vec![f32::INFINITY], [1]);
        let tensors = BTreeMap::from([("keys".to_owned(), infinite)]);
        saved.memories.insert("tda".to_owned(), Memory::new(tensors));
        save(&folder, "R", &saved).expect("the folder can be written");
        fs::write(path(&folder, "V"), b"something else").expect("the file can be written");
        for test_set in ["R", "V"] {
            let error = load(&folder, test_set).expect_err("that is no memory").to_string();
            assert!(error.contains(&format!("{test_set}-memory.safetensors")), "{error}");
        }
        fs::remove_dir_all(folder).expect("the folder can be removed");
    }
}
