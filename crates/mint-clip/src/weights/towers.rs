//! Builds the towers from an opened checkpoint.

use std::sync::Arc;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::dimensions::Tower;
use super::names::Layout;
use super::{Checkpoint, RawTensor, WeightsError};
use crate::attention::Attention;
use crate::block::Block;
use crate::clip::Clip;
use crate::config::{ClipConfig, TextConfig, VisionConfig};
use crate::image_encoder::ImageEncoder;
use crate::lanes::Lanes;
use crate::linear::frozen_linear;
use crate::norm::LayerNorm;
use crate::precision::Precision;
use crate::text::TextTower;
use crate::text_encoder::TextEncoder;
use crate::vision::VisionTower;

impl Checkpoint {
    /// Reads both towers.
    ///
    /// # Errors
    ///
    /// If a tower is missing, or a tensor cannot be read or holds a number that is not finite.
    pub fn load(&self, device: &Device, lanes: Lanes) -> Result<Clip, WeightsError> {
        let config = self.config()?;
        let (logit_scale, _) = self.logit_scale()?;
        Ok(Clip {
            image: ImageEncoder::new(self.vision_tower(device)?, lanes.clone()),
            text: TextEncoder::new(self.text_tower(device)?, lanes),
            logit_scale,
            config,
            device: device.clone(),
        })
    }

    /// The model, whose towers are read when they are first needed, and then have numbers of this
    /// precision.
    ///
    /// Whoever needs a tower calls [`ImageEncoder::ensure`] or [`TextEncoder::ensure`] first, which
    /// say what is wrong with the files; everything else panics then.
    ///
    /// # Errors
    ///
    /// If a tower is missing, or the scale of the logits cannot be read.
    pub fn load_when_needed(
        self,
        device: &Device,
        lanes: Lanes,
        precision: Precision,
    ) -> Result<Clip, WeightsError> {
        let config = self.config()?;
        let (logit_scale, _) = self.logit_scale()?;
        let of_image = Arc::new(self);
        let of_text = of_image.clone();
        let (image_device, text_device) = (device.clone(), device.clone());
        let dtype = precision.dtype();
        Ok(Clip {
            image: ImageEncoder::later(
                move || Ok(of_image.vision_tower(&image_device)?.with_dtype(dtype)),
                lanes.clone(),
            ),
            text: TextEncoder::later(
                move || Ok(of_text.text_tower(&text_device)?.with_dtype(dtype)),
                lanes,
            ),
            logit_scale,
            config,
            device: device.clone(),
        })
    }

    /// Dimensions of the model; an error if a tower is missing.
    ///
    /// # Errors
    ///
    /// If a tower is missing.
    pub fn config(&self) -> Result<ClipConfig, WeightsError> {
        Ok(ClipConfig {
            vision: self.vision()?.clone(),
            text: self.text()?.clone(),
            embed_dim: self.dimensions().embed_dim,
            activation: self.activation().0,
            preprocessing: self.preprocessing().0,
        })
    }

    /// Reads the image tower.
    ///
    /// # Errors
    ///
    /// If the tower is missing, or a tensor cannot be read.
    pub fn vision_tower(&self, device: &Device) -> Result<VisionTower, WeightsError> {
        let &VisionConfig { patch_size, layers, heads, .. } = self.vision()?;
        let reader = Reader { checkpoint: self, device };
        Ok(VisionTower {
            patch_embedding: frozen_linear(reader.patch_embedding()?, None),
            class_embedding: Param::from_tensor(reader.tensor("visual.class_embedding")?),
            position_embedding: Param::from_tensor(reader.tensor("visual.positional_embedding")?),
            ln_pre: reader.layer_norm("visual.ln_pre")?,
            blocks: reader.blocks(Tower::Image, layers, heads)?,
            ln_post: reader.layer_norm("visual.ln_post")?,
            projection: frozen_linear(reader.tensor("visual.proj")?, None),
            patch_size,
        })
    }

    /// Reads the text tower.
    ///
    /// # Errors
    ///
    /// If the tower is missing, or a tensor cannot be read.
    pub fn text_tower(&self, device: &Device) -> Result<TextTower, WeightsError> {
        let &TextConfig { layers, heads, .. } = self.text()?;
        let reader = Reader { checkpoint: self, device };
        Ok(TextTower {
            token_embedding: Param::from_tensor(reader.tensor("token_embedding.weight")?),
            position_embedding: Param::from_tensor(reader.tensor("positional_embedding")?),
            blocks: reader.blocks(Tower::Text, layers, heads)?,
            ln_final: reader.layer_norm("ln_final")?,
            projection: frozen_linear(reader.tensor("text_projection")?, None),
        })
    }

    fn vision(&self) -> Result<&VisionConfig, WeightsError> {
        self.dimensions().vision.as_ref().ok_or_else(|| self.without(Tower::Image))
    }

    fn text(&self) -> Result<&TextConfig, WeightsError> {
        self.dimensions().text.as_ref().ok_or_else(|| self.without(Tower::Text))
    }

    fn without(&self, tower: Tower) -> WeightsError {
        let file = self.files().first().map(|(file, _)| file.clone()).unwrap_or_default();
        WeightsError::TowerMissing { file, tower }
    }
}

/// Makes tensors on a device of the numbers in a checkpoint.
struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
}

impl Reader<'_> {
    /// A convolution whose windows do not overlap is a linear layer. Shape: `[pixel, width]`.
    fn patch_embedding(&self) -> Result<Tensor<2>, WeightsError> {
        let RawTensor { shape, values } = self.checkpoint.read("visual.conv1.weight")?;
        let weight = RawTensor { shape: vec![shape[0], shape[1..].iter().product()], values };
        Ok(self.on_device(weight.transposed()))
    }

    /// Blocks are read on all cores.
    fn blocks(
        &self,
        tower: Tower,
        layers: usize,
        heads: usize,
    ) -> Result<Vec<Block>, WeightsError> {
        let prefix = tower.blocks(Layout::OpenAi);
        let block = |layer| self.block(&format!("{prefix}{layer}."), heads);
        (0..layers).into_par_iter().map(block).collect()
    }

    fn block(&self, prefix: &str, heads: usize) -> Result<Block, WeightsError> {
        let linear = |part: &str| self.linear(&format!("{prefix}{part}"));
        Ok(Block {
            ln_1: self.layer_norm(&format!("{prefix}ln_1"))?,
            attention: Attention {
                query: linear("attn.q_proj")?,
                key: linear("attn.k_proj")?,
                value: linear("attn.v_proj")?,
                output: linear("attn.out_proj")?,
                heads,
            },
            ln_2: self.layer_norm(&format!("{prefix}ln_2"))?,
            mlp_in: linear("mlp.c_fc")?,
            mlp_out: linear("mlp.c_proj")?,
            activation: self.checkpoint.activation().0,
        })
    }

    fn layer_norm(&self, name: &str) -> Result<LayerNorm, WeightsError> {
        Ok(LayerNorm {
            weight: Param::from_tensor(self.tensor(&format!("{name}.weight"))?),
            bias: Param::from_tensor(self.tensor(&format!("{name}.bias"))?),
        })
    }

    /// A linear layer that the table has as `[out, in]`.
    fn linear(&self, name: &str) -> Result<Linear, WeightsError> {
        let weight = self.checkpoint.read_transposed(&format!("{name}.weight"))?;
        Ok(frozen_linear(self.on_device(weight), Some(self.tensor(&format!("{name}.bias"))?)))
    }

    fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>, WeightsError> {
        Ok(self.on_device(self.checkpoint.read(name)?))
    }

    fn on_device<const D: usize>(&self, raw: RawTensor) -> Tensor<D> {
        Tensor::from_data(TensorData::new(raw.values, raw.shape), self.device)
    }
}
