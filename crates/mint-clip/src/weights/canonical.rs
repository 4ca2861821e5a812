//! Writes a checkpoint in one canonical form: safetensors with OpenAI's names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use ::safetensors::tensor::{Dtype, TensorView};

use super::model_settings::{
    ACTIVATION, IMAGE_HEADS, IMAGE_MEAN, IMAGE_STD, RESIZE_MODE, TEXT_HEADS,
};
use super::names::{self, LOGIT_SCALE};
use super::{Checkpoint, NumberType, Origin, StoredTensor, WeightsError};
use crate::config::Preprocessing;

/// A tensor that is about to be written.
struct Output {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// Writes both towers to a new file, whole or not at all.
    ///
    /// Numbers keep their type (double precision becomes single precision). The activation, the
    /// numbers of heads and the preprocessing go into the file's metadata, after what `metadata`
    /// has; what is only assumed stays out.
    ///
    /// # Errors
    ///
    /// If a tower is missing, a tensor cannot be read, or the file cannot be written or exists.
    #[expect(clippy::missing_panics_doc, reason = "the bytes are made to fill the shapes")]
    pub fn write(
        &self,
        file: &Path,
        mut metadata: HashMap<String, String>,
    ) -> Result<(), WeightsError> {
        let config = self.config()?;
        metadata.insert("format".to_owned(), "pt".to_owned());
        if self.activation().1 != &Origin::Assumed {
            metadata.insert(ACTIVATION.to_owned(), config.activation.to_string());
        }
        let (Preprocessing { image_mean, image_std, resize }, origin) = self.preprocessing();
        if origin != &Origin::Assumed {
            metadata.insert(IMAGE_MEAN.to_owned(), format!("{image_mean:?}"));
            metadata.insert(IMAGE_STD.to_owned(), format!("{image_std:?}"));
            metadata.insert(RESIZE_MODE.to_owned(), resize.to_string());
        }
        metadata.insert(IMAGE_HEADS.to_owned(), config.vision.heads.to_string());
        metadata.insert(TEXT_HEADS.to_owned(), config.text.heads.to_string());
        let outputs = self.outputs()?;
        let views = outputs.iter().map(|(name, output)| {
            let view = TensorView::new(output.dtype, output.shape.clone(), &output.bytes);
            (name.as_str(), view.expect("the bytes fill the shape"))
        });
        write_new(file, |partial| {
            ::safetensors::serialize_to_file(views, Some(metadata), partial)
                .map_err(|error| std::io::Error::other(error.to_string()))
        })
        .map_err(|source| WeightsError::Write { file: file.to_owned(), source })
    }

    fn outputs(&self) -> Result<BTreeMap<String, Output>, WeightsError> {
        self.examine()?;
        let mut outputs: BTreeMap<String, Output> = BTreeMap::new();
        for name in self.names().filter(|&name| name != LOGIT_SCALE) {
            let (name, parts) = match names::stack_of(name) {
                None => (name.to_owned(), vec![name.to_owned()]),
                Some((stack, _)) if outputs.contains_key(&stack) => continue,
                Some((stack, _)) => {
                    let parts = names::parts_of(&stack);
                    (stack, parts)
                }
            };
            let parts: Vec<_> = parts.iter().filter_map(|part| self.stored(part)).collect();
            outputs.insert(name, stack(&parts)?);
        }
        let (scale, origin) = self.logit_scale()?;
        if origin == Origin::Assumed {
            return Ok(outputs);
        }
        let stored = self.stored(LOGIT_SCALE).filter(|_| !self.overrides_logit_scale());
        let scale = match stored {
            Some(stored) => Output { shape: Vec::new(), ..stack(&[stored])? },
            None => Output {
                dtype: Dtype::F32,
                shape: Vec::new(),
                bytes: scale.ln().to_le_bytes().to_vec(),
            },
        };
        outputs.insert(LOGIT_SCALE.to_owned(), scale);
        Ok(outputs)
    }
}

/// Joins tensors along the first axis.
fn stack(parts: &[&StoredTensor]) -> Result<Output, WeightsError> {
    let mut shape = parts[0].shape().to_vec();
    if parts.len() > 1 {
        shape[0] = parts.iter().map(|part| part.shape()[0]).sum();
    }
    let number = parts[0].number_type();
    let dtype = match number {
        NumberType::F16 => Dtype::F16,
        NumberType::Bf16 => Dtype::BF16,
        _ => Dtype::F32,
    };
    // As they are stored, or in single precision where their types differ.
    let keep = number != NumberType::F64 && parts.iter().all(|part| part.number_type() == number);
    let mut bytes = Vec::new();
    for part in parts {
        let read = |source| WeightsError::Read { file: part.file().to_owned(), source };
        if keep {
            bytes.extend(part.read_bytes().map_err(read)?);
        } else {
            let values = part.read().map_err(read)?.values;
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    Ok(Output { dtype: if keep { dtype } else { Dtype::F32 }, shape, bytes })
}

/// Writes a file that does not exist yet under another name, then renames it. Nothing is left of a
/// file that cannot be written.
///
/// # Errors
///
/// If there is a file of that name, or `write` fails.
pub fn write_new(
    file: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    if file.exists() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            "a file of that name is there already; remove it or choose another name",
        ));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let partial = file.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let written = write(&partial).and_then(|()| fs::rename(&partial, file));
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}
