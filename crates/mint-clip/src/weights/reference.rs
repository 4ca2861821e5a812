//! Compares a loaded model with outputs that another implementation recorded for it.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};

use super::contents::{Contents, Unknown};
use super::dimensions::Tower;
use super::{Checkpoint, Origin, RawTensor, WeightsError, file};
use crate::clip::{normalize, scaled_cosines};
use crate::image_encoder::ImageEncoder;
use crate::lanes::Lanes;
use crate::prompt::{Item, PromptSet};
use crate::text_encoder::TextEncoder;
use crate::vision::PassConfig;

/// Inputs and outputs of a model, in a safetensors file.
///
/// | tensor | shape |
/// | --- | --- |
/// | `pixel_values` | `[image, 3, row, column]`, normalised |
/// | `input_ids` | `[text, place]`; the largest id of a row ends its text |
/// | `image_embeds`, `text_embeds` | `[image, embed]`, `[text, embed]` |
/// | `image_embeds_norm`, `text_embeds_norm` | the same, each row divided by its length |
/// | `vision_class_tokens` | `[block, image, width]`, the class token after each block |
/// | `logits_per_image` | `[image, text]` |
///
/// Outputs that are not there are not compared, nor are logits whose scale is only assumed; inputs are needed for the towers that are there.
#[derive(Debug)]
pub struct Reference {
    file: PathBuf,
    contents: Contents,
    prefix: String,
}

/// How far an output is from the recorded one.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Name of the output in the reference.
    pub output: String,
    /// The largest absolute difference.
    pub largest: f32,
    /// The largest absolute value that was recorded.
    pub magnitude: f32,
    /// Number of values that were compared.
    pub values: usize,
}

impl Reference {
    /// Opens a file of recordings. Outputs are looked for under `prefix` and their name.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has no inputs.
    pub fn open(file: &Path, prefix: &str) -> Result<Self, WeightsError> {
        let contents = file::open(file, Unknown::Refuse)?;
        Ok(Self { file: file.to_owned(), contents, prefix: prefix.to_owned() })
    }

    /// Runs the recorded inputs through the towers of a checkpoint and compares the outputs.
    ///
    /// Differences that are NaN count as infinite.
    ///
    /// # Errors
    ///
    /// If the inputs do not fit the model, or a tensor cannot be read.
    pub fn compare(
        &self,
        checkpoint: &Checkpoint,
        device: &Device,
        lanes: &Lanes,
    ) -> Result<Vec<Difference>, WeightsError> {
        let mut outputs: Vec<(&str, Vec<usize>, Vec<f32>)> = Vec::new();
        let mut images = None;
        if checkpoint.towers().contains(&Tower::Image) {
            let tower = checkpoint.vision_tower(device)?;
            let levels = (0..tower.blocks.len()).collect();
            let encoder = ImageEncoder::new(tower, lanes.clone());
            let pixels = self.pixels(checkpoint, device)?;
            let pass = encoder.unprompted_pass(pixels, &PassConfig { levels, prompted_block: 0 });
            let class_tokens = Tensor::stack::<3>(pass.class_tokens, 0);
            outputs.push(output("vision_class_tokens", class_tokens));
            outputs.push(output("image_embeds", pass.embeddings.clone()));
            outputs.push(output("image_embeds_norm", normalize(pass.embeddings.clone())));
            images = Some(pass.embeddings);
        }
        if checkpoint.towers().contains(&Tower::Text) {
            let encoder = TextEncoder::new(checkpoint.text_tower(device)?, lanes.clone());
            let texts = encoder.forward(&self.prompts(checkpoint)?, None);
            outputs.push(output("text_embeds", texts.clone()));
            outputs.push(output("text_embeds_norm", normalize(texts.clone())));
            if let Some(images) = images {
                // A scale that no file states says nothing about how the file was read.
                let (scale, origin) = checkpoint.logit_scale()?;
                if origin != Origin::Assumed {
                    let logits = scaled_cosines(images, texts, scale);
                    outputs.push(output("logits_per_image", logits));
                }
            }
        }
        let compared = outputs.into_iter().map(|output| self.difference(output));
        let differences: Vec<Difference> =
            compared.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if differences.is_empty() {
            return Err(self.error(format!(
                "it has none of the outputs of these towers (such as `{}image_embeds`)",
                self.prefix
            )));
        }
        Ok(differences)
    }

    /// Shape: `[image, channel, row, column]`.
    fn pixels(&self, checkpoint: &Checkpoint, device: &Device) -> Result<Tensor<4>, WeightsError> {
        let pixels = self.floats("pixel_values")?;
        let side = checkpoint.dimensions().vision.as_ref().map_or(0, |vision| vision.image_size);
        if pixels.shape.len() != 4 || pixels.shape[0] == 0 || pixels.shape[1..] != [3, side, side] {
            return Err(self.error(format!(
                "`pixel_values` has the shape {:?}, but the model needs [images, 3, {side}, {side}]",
                pixels.shape
            )));
        }
        Ok(Tensor::from_data(TensorData::new(pixels.values, pixels.shape), device))
    }

    fn prompts(&self, checkpoint: &Checkpoint) -> Result<PromptSet, WeightsError> {
        let name = "input_ids";
        let stored = self.contents.tensors.get(name);
        let stored = stored.ok_or_else(|| self.error(format!("it has no tensor `{name}`")))?;
        let read = |source| WeightsError::Read { file: self.file.clone(), source };
        let ids = stored.read_integers().map_err(read)?;
        let text = checkpoint.dimensions().text.as_ref();
        let (length, vocabulary) =
            text.map_or((0, 0), |text| (text.context_length, text.vocab_size));
        let (ids, columns) = match (ids, stored.shape()) {
            (Some(ids), &[rows, columns])
                if rows > 0
                    && (1..=length).contains(&columns)
                    && ids.iter().all(|&id| (0..vocabulary as i64).contains(&id)) =>
            {
                (ids, columns)
            }
            _ => {
                return Err(self.error(format!(
                    "`{name}` is {} of the shape {:?}, but the model needs [texts, {length}] of integers below {vocabulary}",
                    stored.number_type(),
                    stored.shape()
                )));
            }
        };
        let prompt = |row: &[i64]| {
            let largest = row.iter().max();
            let end = row.iter().position(|id| Some(id) == largest).unwrap_or(0);
            row[..=end].iter().map(|&id| Item::Token(id as u32)).collect()
        };
        Ok(PromptSet::new(ids.chunks(columns).map(prompt).collect()))
    }

    fn difference(
        &self,
        (name, shape, values): (&str, Vec<usize>, Vec<f32>),
    ) -> Result<Option<Difference>, WeightsError> {
        let output = format!("{}{name}", self.prefix);
        if !self.contents.tensors.contains_key(&output) {
            return Ok(None);
        }
        let recorded = self.floats(&output)?;
        if recorded.shape != shape {
            return Err(self.error(format!(
                "`{output}` has the shape {:?}, but the model's has {shape:?}",
                recorded.shape
            )));
        }
        let largest = |values: &mut dyn Iterator<Item = f32>| {
            values.fold(0.0, |largest: f32, value| {
                largest.max(if value.is_nan() { f32::INFINITY } else { value.abs() })
            })
        };
        let pairs = values.iter().zip(&recorded.values);
        Ok(Some(Difference {
            output,
            largest: largest(&mut pairs.map(|(computed, recorded)| computed - recorded)),
            magnitude: largest(&mut recorded.values.iter().copied()),
            values: values.len(),
        }))
    }

    fn floats(&self, name: &str) -> Result<RawTensor, WeightsError> {
        let stored = self.contents.tensors.get(name);
        let stored = stored.filter(|stored| stored.number_type().is_float());
        let stored = stored.ok_or_else(|| self.error(format!("it has no floats `{name}`")))?;
        stored.read().map_err(|source| WeightsError::Read { file: self.file.clone(), source })
    }

    fn error(&self, reason: String) -> WeightsError {
        WeightsError::Format { file: self.file.clone(), reason }
    }
}

fn output<const D: usize>(name: &str, tensor: Tensor<D>) -> (&str, Vec<usize>, Vec<f32>) {
    let shape = tensor.dims().to_vec();
    (name, shape, tensor.into_data().try_into_vec().expect("outputs are floats"))
}
