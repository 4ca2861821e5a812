//! What methods start from, for another implementation to compare with.
//!
//! `start.safetensors` has what all images share, `image-0000.safetensors` and so on the views.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mint_augment::{ViewPixels, Views};
use mint_clip::burn::tensor::Tensor;
use mint_clip::prompt::class_text;
use mint_clip::{Clip, Tokenizer};
use mint_tuner::{Memory, MethodError, TEMPLATE};
use safetensors::tensor::{Dtype, TensorView};

use crate::write_whole::write_whole;

/// An export that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder has files of an earlier export, which would be taken for this one's.
    #[error("`{}` already holds an export; remove it or name another folder", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The tokens or the tensors cannot be had.
    #[error(transparent)]
    Method(#[from] MethodError),
}

/// Name of the file of what all images share.
const START: &str = "start.safetensors";

/// A folder of exported inputs.
#[derive(Debug)]
pub struct Export {
    folder: PathBuf,
}

/// What all images of a run share.
pub struct Start<'a> {
    /// The model.
    pub clip: &'a Clip,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Names of the classes.
    pub class_names: &'a [String],
    /// Where learned prompts start. Shape: `[context, width]`.
    pub context: Tensor<2>,
    /// MINT's memory before the first image, if it is run.
    pub memory: Option<&'a Memory>,
}

impl Export {
    /// Makes the folder and writes what all images share:
    ///
    /// | tensor | shape |
    /// | --- | --- |
    /// | `context` | `[context, width]` |
    /// | `context_ids` | `[class, place]`: start, one placeholder per context vector, name, full stop, end |
    /// | `template_ids` | `[class, place]`: `a photo of a NAME.` |
    /// | `keys`, `prompts` | `[slot, width]`, `[slot, 2, width]` |
    ///
    /// # Errors
    ///
    /// If the folder already holds an export or cannot be written, or a text is too long.
    pub fn create(folder: &Path, start: &Start<'_>) -> Result<Self, ExportError> {
        let error = |source| ExportError::Write { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(error)?;
        for entry in fs::read_dir(folder).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let name = name.to_string_lossy();
            let is_ours = name == START || name.starts_with("image-");
            if is_ours && name.ends_with(".safetensors") {
                return Err(ExportError::Exists { folder: folder.to_owned() });
            }
        }
        let export = Self { folder: folder.to_owned() };
        let placeholders = vec!["X"; start.context.dims()[0]].join(" ");
        let mut tensors = vec![
            floats("context", start.context.clone())?,
            ids("context_ids", start, |name| format!("{placeholders} {name}."))?,
            ids("template_ids", start, |name| TEMPLATE.replace("{}", name))?,
        ];
        if let Some(memory) = start.memory {
            tensors.push(floats("keys", memory.tensor::<2>("keys", &start.clip.device)?)?);
            tensors.push(floats("prompts", memory.tensor::<3>("prompts", &start.clip.device)?)?);
        }
        export.write(START, &tensors)?;
        Ok(export)
    }

    /// Writes the views of one image: `views [view, 3, row, column]`, 8-bit samples, or normalised
    /// floats where views were mixed after normalisation.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn image(&self, index: usize, views: &Views) -> Result<(), ExportError> {
        let side = views.size as usize;
        let (dtype, bytes) = match &views.pixels {
            ViewPixels::Rgb8(samples) => (Dtype::U8, samples.clone()),
            ViewPixels::Normalized(samples) => (Dtype::F32, little_endian(samples)),
        };
        let tensor =
            ExportedTensor { name: "views", dtype, shape: vec![views.count, 3, side, side], bytes };
        self.write(&format!("image-{index:04}.safetensors"), &[tensor])
    }

    fn write(&self, name: &str, tensors: &[ExportedTensor]) -> Result<(), ExportError> {
        let path = self.folder.join(name);
        let views = tensors.iter().map(|tensor| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            (tensor.name, view.expect("the bytes fill the shape"))
        });
        safetensors::serialize(views, None::<HashMap<String, String>>)
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(&path, &bytes))
            .map_err(|source| ExportError::Write { path, source })
    }
}

struct ExportedTensor {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn floats<const D: usize>(
    name: &'static str,
    tensor: Tensor<D>,
) -> Result<ExportedTensor, MethodError> {
    let shape = tensor.dims().to_vec();
    let values = mint_clip::read::<f32, _, _>(tensor)?;
    Ok(ExportedTensor { name, dtype: Dtype::F32, shape, bytes: little_endian(&values) })
}

/// Token ids of all classes, filled up with zeros.
fn ids(
    name: &'static str,
    start: &Start<'_>,
    text: impl Fn(&str) -> String,
) -> Result<ExportedTensor, MethodError> {
    let places = start.clip.config.text.context_length;
    let mut bytes = Vec::new();
    for class in start.class_names {
        let mut row = start.tokenizer.tokens(&text(&class_text(class)))?;
        row.resize(places, 0);
        bytes.extend(row.iter().flat_map(|id| id.to_le_bytes()));
    }
    let shape = vec![start.class_names.len(), places];
    Ok(ExportedTensor { name, dtype: Dtype::I32, shape, bytes })
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
