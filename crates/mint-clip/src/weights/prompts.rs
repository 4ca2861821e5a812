//! Learned prompts: the checkpoints that CoOp, CoCoOp and MaPLe write.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use burn::nn::Linear;
use burn::tensor::Device;

use super::blob::Blob;
use super::contents::{Contents, Unknown};
use super::{RawTensor, WeightsError, file};
use crate::linear::frozen_linear;

/// The learned part of a prompt method. Everything else in a checkpoint (optimizers, schedulers,
/// copies of the towers, and the embeddings of prefix and suffix) is skipped.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedPrompts {
    /// Context of the class prompts. Shape: `[context, text width]`.
    pub context: RawTensor,
    /// CoCoOp's network from image embeddings to a shift of the context.
    pub meta_net: Option<MetaNet>,
    /// MaPLe's coupling of the context to the image tower.
    pub maple: Option<Maple>,
}

/// A linear layer as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLinear {
    /// Shape: `[out, in]`.
    pub weight: RawTensor,
    /// Shape: `[out]`.
    pub bias: RawTensor,
}

/// Two layers with a ReLU between them.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaNet {
    /// Image embedding to hidden.
    pub first: StoredLinear,
    /// Hidden to text width.
    pub second: StoredLinear,
}

/// Prompts of both towers.
#[derive(Debug, Clone, PartialEq)]
pub struct Maple {
    /// Text width to image width, for the context of the first block.
    pub projection: StoredLinear,
    /// Prompts of the second block and those after it.
    pub layers: Vec<MapleLayer>,
}

/// Prompts of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct MapleLayer {
    /// Prompt in the text tower. Shape: `[context, text width]`.
    pub prompt: RawTensor,
    /// Makes the image tower's prompt of it.
    pub projection: StoredLinear,
}

impl StoredLinear {
    /// The layer on a device.
    pub fn load(&self, device: &Device) -> Linear {
        let weight = self.weight.clone().transposed();
        frozen_linear(weight.to_tensor(device), Some(self.bias.to_tensor(device)))
    }

    /// Lengths of input and output.
    pub fn dims(&self) -> [usize; 2] {
        [self.weight.shape[1], self.weight.shape[0]]
    }
}

impl LearnedPrompts {
    /// Reads a checkpoint: `.pth`, `.pt`, `.tar` of PyTorch, or safetensors.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds no learned prompts.
    pub fn open(file: &Path) -> Result<Self, WeightsError> {
        Reader::new(file, file::open(file, Unknown::KeepInert)?).read()
    }

    /// Reads a checkpoint that is in memory; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// Those of [`LearnedPrompts::open`].
    pub fn from_bytes(
        name: &Path,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, WeightsError> {
        let blob: Arc<Blob> = Blob::memory(name, bytes);
        Reader::new(name, file::read(&blob, Unknown::KeepInert)?).read()
    }
}

struct Reader<'a> {
    file: &'a Path,
    contents: Contents,
    /// What comes before the prompt learner's names.
    prefix: String,
}

impl<'a> Reader<'a> {
    fn new(file: &'a Path, contents: Contents) -> Self {
        let prefix = contents
            .tensors
            .keys()
            .filter_map(|name| name.strip_suffix("ctx"))
            .find(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .unwrap_or_default()
            .to_owned();
        Self { file, contents, prefix }
    }

    fn read(&self) -> Result<LearnedPrompts, WeightsError> {
        let Some(context) = self.tensor("ctx", 2)? else {
            let names: Vec<_> = self.contents.tensors.keys().take(3).cloned().collect();
            return Err(self.error(format!(
                "it has no tensor `ctx`, so it is not a trained context; it has `{}`",
                names.join("`, `")
            )));
        };
        let meta_net = match self.linear("meta_net.linear1")? {
            Some(first) => Some(MetaNet { first, second: self.need("meta_net.linear2")? }),
            None => None,
        };
        let maple = match self.linear("proj")? {
            Some(projection) => Some(Maple { projection, layers: self.layers()? }),
            None => None,
        };
        Ok(LearnedPrompts { context, meta_net, maple })
    }

    fn layers(&self) -> Result<Vec<MapleLayer>, WeightsError> {
        let mut layers = Vec::new();
        while let Some(prompt) =
            self.tensor(&format!("compound_prompts_text.{}", layers.len()), 2)?
        {
            let projection = self.need(&format!("compound_prompt_projections.{}", layers.len()))?;
            layers.push(MapleLayer { prompt, projection });
        }
        Ok(layers)
    }

    fn need(&self, name: &str) -> Result<StoredLinear, WeightsError> {
        self.linear(name)?.ok_or_else(|| self.error(format!("`{}{name}` is missing", self.prefix)))
    }

    fn linear(&self, name: &str) -> Result<Option<StoredLinear>, WeightsError> {
        let Some(weight) = self.tensor(&format!("{name}.weight"), 2)? else { return Ok(None) };
        let bias = self.tensor(&format!("{name}.bias"), 1)?;
        let bias = bias.filter(|bias| bias.shape[0] == weight.shape[0]);
        let bias = bias.ok_or_else(|| {
            self.error(format!(
                "`{}{name}.bias` is missing or does not fit its weight",
                self.prefix
            ))
        })?;
        Ok(Some(StoredLinear { weight, bias }))
    }

    fn tensor(&self, name: &str, axes: usize) -> Result<Option<RawTensor>, WeightsError> {
        let name = format!("{}{name}", self.prefix);
        let Some(stored) = self.contents.tensors.get(&name) else { return Ok(None) };
        let shape = stored.shape();
        if shape.len() != axes || shape.contains(&0) || !stored.number_type().is_float() {
            return Err(self.error(format!(
                "`{name}` is {} of the shape {shape:?}; {axes} axes of floats are needed",
                stored.number_type()
            )));
        }
        let file = self.file.to_owned();
        let tensor = stored.read().map_err(|source| WeightsError::Read { file, source })?;
        if tensor.values.iter().any(|value| !value.is_finite()) {
            return Err(self.error(format!("`{name}` has values that are not finite")));
        }
        Ok(Some(tensor))
    }

    fn error(&self, reason: String) -> WeightsError {
        WeightsError::Format { file: self.file.to_owned(), reason }
    }
}
