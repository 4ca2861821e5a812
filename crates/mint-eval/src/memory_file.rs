//! What methods remember, on disk, so that a run that was broken off can go on exactly.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use mint_clip::burn::tensor::{DType, TensorData};
use mint_tuner::Memory;
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::record::{RecordError, write_whole};

/// The memories of all methods at one point of a run.
#[derive(Debug, Default)]
pub struct SavedMemories {
    /// The test set that was being gone through.
    pub test_set: String,
    /// How many of its images had been seen.
    pub images: usize,
    /// By the name of the method.
    pub memories: BTreeMap<String, Memory>,
}

/// The file in the folder of a run.
fn path(folder: &Path) -> PathBuf {
    folder.join("memory.safetensors")
}

/// Saves memories, all or none.
pub fn save(folder: &Path, saved: &SavedMemories) -> Result<(), RecordError> {
    let path = path(folder);
    let tensors = saved.memories.iter().flat_map(|(method, memory)| {
        let named = move |(name, data)| (format!("{method}.{name}"), Saved(data));
        memory.tensors().iter().map(named)
    });
    let metadata = HashMap::from([
        ("test_set".to_owned(), saved.test_set.clone()),
        ("images".to_owned(), saved.images.to_string()),
        ("methods".to_owned(), saved.memories.keys().cloned().collect::<Vec<_>>().join(",")),
    ]);
    safetensors::serialize(tensors, Some(metadata))
        .map_err(std::io::Error::other)
        .and_then(|bytes| write_whole(&path, &bytes))
        .map_err(|source| RecordError::Write { path, source })
}

/// Reads what [`save`] wrote; nothing if there is no file.
pub fn load(folder: &Path) -> Result<Option<SavedMemories>, RecordError> {
    let path = path(folder);
    let damaged = |reason: &str| RecordError::Damaged { path: path.clone(), reason: reason.into() };
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| damaged(&error.to_string()))?;
    read(&bytes).map(Some).ok_or_else(|| damaged("it holds no memory of a run"))
}

fn read(bytes: &[u8]) -> Option<SavedMemories> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    let methods = metadata.get("methods")?.split(',').filter(|name| !name.is_empty());
    let mut tensors: BTreeMap<String, BTreeMap<String, TensorData>> =
        methods.map(|method| (method.to_owned(), BTreeMap::new())).collect();
    for (name, view) in SafeTensors::deserialize(bytes).ok()?.tensors() {
        let (method, name) = name.split_once('.')?;
        let data = match view.dtype() {
            Dtype::F32 => data(view.data(), view.shape(), f32::from_le_bytes),
            Dtype::I64 => data(view.data(), view.shape(), i64::from_le_bytes),
            _ => return None,
        };
        tensors.get_mut(method)?.insert(name.to_owned(), data);
    }
    let memories = tensors.into_iter().map(|(method, tensors)| (method, Memory::new(tensors)));
    Some(SavedMemories {
        test_set: metadata.get("test_set")?.clone(),
        images: metadata.get("images")?.parse().ok()?,
        memories: memories.collect(),
    })
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
        assert!(load(&folder).expect("nothing is no error").is_none());
        let saved = SavedMemories { test_set: "A".to_owned(), images: 7, memories };
        save(&folder, &saved).expect("the folder can be written");
        let loaded = load(&folder).expect("the file is whole").expect("there is a file");
        assert_eq!((loaded.test_set.as_str(), loaded.images), ("A", 7));
        assert_eq!(loaded.memories, saved.memories);

        fs::write(path(&folder), b"something else").expect("the file can be written");
        let error = load(&folder).expect_err("that is no memory").to_string();
        assert!(error.contains("memory.safetensors"), "{error}");
        fs::remove_dir_all(folder).expect("the folder can be removed");
    }
}
