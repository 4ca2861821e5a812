//! The memory of a run on disk, so that a run that was broken off can go on exactly.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mint_clip::burn::tensor::{Device, Tensor, TensorData};
use mint_tuner::MemoryBank;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::record::{RecordError, write_whole};

/// A bank and when it was saved.
pub struct SavedMemory {
    /// The test set that was being gone through.
    pub test_set: String,
    /// How many of its images had been seen.
    pub images: usize,
    /// Keys, prompts and usage.
    pub bank: MemoryBank,
}

/// The file of a method's memory in the folder of a run.
pub fn memory_path(folder: &Path, method: &str) -> PathBuf {
    folder.join(format!("memory-{method}.safetensors"))
}

/// Saves a bank, whole or not at all.
pub fn save(
    path: &Path,
    test_set: &str,
    images: usize,
    bank: &MemoryBank,
) -> Result<(), RecordError> {
    let write_error = |source| RecordError::Write { path: path.to_owned(), source };
    let device_error = |error: String| write_error(std::io::Error::other(error));
    let floats =
        |values: Result<Vec<f32>, _>| values.map_err(|error: DeviceError| device_error(error.0));
    let keys = floats(bank.keys.clone().try_into_vec_as().map_err(DeviceError::new))?;
    let prompts = floats(bank.prompts.clone().try_into_vec_as().map_err(DeviceError::new))?;
    let counts = bank.usage().counts().try_into_vec_as::<i64>();
    let counts = counts.map_err(|error| device_error(format!("{error:?}")))?;

    let keys_bytes: Vec<u8> = keys.iter().flat_map(|value| value.to_le_bytes()).collect();
    let prompts_bytes: Vec<u8> = prompts.iter().flat_map(|value| value.to_le_bytes()).collect();
    let counts_bytes: Vec<u8> = counts.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], bytes| {
        TensorView::new(dtype, shape.to_vec(), bytes).expect("the bytes fill the shape")
    };
    let tensors = [
        ("keys", view(Dtype::F32, &bank.keys.dims(), &keys_bytes)),
        ("prompts", view(Dtype::F32, &bank.prompts.dims(), &prompts_bytes)),
        ("usage", view(Dtype::I64, &[counts.len()], &counts_bytes)),
    ];
    let metadata = HashMap::from([
        ("test_set".to_owned(), test_set.to_owned()),
        ("images".to_owned(), images.to_string()),
    ]);
    let bytes = safetensors::serialize(tensors, Some(metadata));
    let bytes = bytes.map_err(|error| write_error(std::io::Error::other(error)))?;
    write_whole(path, &bytes).map_err(write_error)
}

/// Reads what [`save`] wrote; nothing if there is no file.
pub fn load(path: &Path, device: &Device) -> Result<Option<SavedMemory>, RecordError> {
    let damaged = |reason: String| RecordError::Damaged { path: path.to_owned(), reason };
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let read = || -> Option<SavedMemory> {
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let metadata = header.metadata().as_ref()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let floats = |name: &str| -> Option<TensorData> {
            let view = tensors.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
            let values =
                view.data().as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk));
            Some(TensorData::new(values.collect::<Vec<f32>>(), view.shape().to_vec()))
        };
        let (keys, prompts) = (floats("keys")?, floats("prompts")?);
        let usage = tensors.tensor("usage").ok().filter(|view| view.dtype() == Dtype::I64)?;
        let counts = usage.data().as_chunks::<8>().0.iter().map(|&chunk| i64::from_le_bytes(chunk));
        let counts: Vec<i64> = counts.collect();
        let slots_agree = keys.shape().first() == Some(&counts.len());
        if keys.shape().len() != 2 || prompts.shape().len() != 3 || !slots_agree {
            return None;
        }
        let (keys, prompts) = (Tensor::from_data(keys, device), Tensor::from_data(prompts, device));
        Some(SavedMemory {
            test_set: metadata.get("test_set")?.clone(),
            images: metadata.get("images")?.parse().ok()?,
            bank: MemoryBank::with_usage(keys, prompts, &counts),
        })
    };
    read().map(Some).ok_or_else(|| damaged("it holds no memory of a run".to_owned()))
}

/// A device's error in words.
struct DeviceError(String);

impl DeviceError {
    fn new(error: impl std::fmt::Debug) -> Self {
        Self(format!("{error:?}"))
    }
}
