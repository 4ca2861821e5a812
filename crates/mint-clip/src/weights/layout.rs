//! OpenAI's tensor names, and the model built from them.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::{RawTensor, StateDict, WeightsError};
use crate::attention::Attention;
use crate::block::Block;
use crate::clip::Clip;
use crate::config::{Activation, ClipConfig, HEAD_WIDTH, TextConfig, VisionConfig};
use crate::image_encoder::ImageEncoder;
use crate::lanes::Lanes;
use crate::linear::frozen_linear;
use crate::norm::LayerNorm;
use crate::text::TextTower;
use crate::text_encoder::TextEncoder;
use crate::vision::VisionTower;

/// What cannot be read off the tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Activation of the MLPs.
    pub activation: Activation,
}

/// Names that say nothing about the model and are passed over.
const IGNORED: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

pub(super) fn build(
    tensors: StateDict,
    options: LoadOptions,
    device: &Device,
    lanes: Lanes,
) -> Result<Clip, WeightsError> {
    let mut reader = Reader { tensors, problems: Vec::new(), device };
    let config = reader.config(options);
    let Some(config) = config.filter(|_| reader.problems.is_empty()) else {
        return Err(reader.into_error());
    };
    let vision = reader.vision(&config);
    let text = reader.text(&config);
    let logit_scale = reader.vector("logit_scale", &[]);
    reader.report_unused();
    let (Some(vision), Some(text), Some(logit_scale)) = (vision, text, logit_scale) else {
        return Err(reader.into_error());
    };
    if !reader.problems.is_empty() {
        return Err(reader.into_error());
    }
    Ok(Clip {
        image: ImageEncoder::new(vision, lanes.clone()),
        text: TextEncoder::new(text, lanes),
        logit_scale: logit_scale.values[0].exp(),
        config,
        device: device.clone(),
    })
}

/// Takes tensors out of a file and collects everything that does not fit.
struct Reader<'a> {
    tensors: StateDict,
    problems: Vec<String>,
    device: &'a Device,
}

impl Reader<'_> {
    /// Dimensions, read off the shapes.
    fn config(&mut self, options: LoadOptions) -> Option<ClipConfig> {
        let patches = self.shape_of::<4>("visual.conv1.weight");
        let positions = self.shape_of::<2>("visual.positional_embedding");
        let projection = self.shape_of::<2>("visual.proj");
        let tokens = self.shape_of::<2>("token_embedding.weight");
        let context = self.shape_of::<2>("positional_embedding");
        let [vision_width, _, patch_size, _] = patches?;
        let [n_tokens, _] = positions?;
        let [_, embed_dim] = projection?;
        let [vocab_size, text_width] = tokens?;
        let [context_length, _] = context?;
        let grid = (n_tokens.saturating_sub(1) as f64).sqrt().round() as usize;
        if grid * grid + 1 != n_tokens {
            self.problems.push(format!(
                "`visual.positional_embedding` has {n_tokens} rows, which is no square of patches and a class token"
            ));
        }
        for (tower, width) in [("image", vision_width), ("text", text_width)] {
            if width == 0 || width % HEAD_WIDTH != 0 {
                self.problems.push(format!(
                    "the {tower} tower is {width} wide, which is no multiple of the head width {HEAD_WIDTH}"
                ));
            }
        }
        Some(ClipConfig {
            vision: VisionConfig {
                image_size: grid * patch_size,
                patch_size,
                width: vision_width,
                layers: self.count_blocks("visual.transformer.resblocks."),
                heads: vision_width / HEAD_WIDTH,
            },
            text: TextConfig {
                context_length,
                vocab_size,
                width: text_width,
                layers: self.count_blocks("transformer.resblocks."),
                heads: text_width / HEAD_WIDTH,
            },
            embed_dim,
            activation: options.activation,
        })
    }

    fn vision(&mut self, config: &ClipConfig) -> Option<VisionTower> {
        let VisionConfig { patch_size, width, layers, .. } = config.vision;
        let pixels = 3 * patch_size * patch_size;
        let conv = self.vector("visual.conv1.weight", &[width, 3, patch_size, patch_size]);
        let class_embedding = self.vector("visual.class_embedding", &[width]);
        let positions =
            self.vector("visual.positional_embedding", &[config.vision.tokens(), width]);
        let ln_pre = self.layer_norm("visual.ln_pre", width);
        let blocks = self.blocks("visual.transformer.resblocks.", layers, width, config.activation);
        let ln_post = self.layer_norm("visual.ln_post", width);
        let projection = self.vector("visual.proj", &[width, config.embed_dim]);
        Some(VisionTower {
            patch_embedding: frozen_linear(self.transposed(&conv?.values, width, pixels), None),
            class_embedding: Param::from_tensor(self.tensor(class_embedding?)),
            position_embedding: Param::from_tensor(self.tensor(positions?)),
            ln_pre: ln_pre?,
            blocks: blocks?,
            ln_post: ln_post?,
            projection: frozen_linear(self.tensor(projection?), None),
            patch_size,
        })
    }

    fn text(&mut self, config: &ClipConfig) -> Option<TextTower> {
        let TextConfig { context_length, vocab_size, width, layers, .. } = config.text;
        let tokens = self.vector("token_embedding.weight", &[vocab_size, width]);
        let positions = self.vector("positional_embedding", &[context_length, width]);
        let blocks = self.blocks("transformer.resblocks.", layers, width, config.activation);
        let ln_final = self.layer_norm("ln_final", width);
        let projection = self.vector("text_projection", &[width, config.embed_dim]);
        Some(TextTower {
            token_embedding: Param::from_tensor(self.tensor(tokens?)),
            position_embedding: Param::from_tensor(self.tensor(positions?)),
            blocks: blocks?,
            ln_final: ln_final?,
            projection: frozen_linear(self.tensor(projection?), None),
        })
    }

    /// All blocks, or nothing if any tensor is missing; problems of all of them are collected.
    fn blocks(
        &mut self,
        prefix: &str,
        layers: usize,
        width: usize,
        activation: Activation,
    ) -> Option<Vec<Block>> {
        let blocks: Vec<Option<Block>> = (0..layers)
            .map(|layer| self.block(&format!("{prefix}{layer}."), width, activation))
            .collect();
        blocks.into_iter().collect()
    }

    fn block(&mut self, prefix: &str, width: usize, activation: Activation) -> Option<Block> {
        let name = |part: &str| format!("{prefix}{part}");
        let ln_1 = self.layer_norm(&name("ln_1"), width);
        let in_weight = self.vector(&name("attn.in_proj_weight"), &[3 * width, width]);
        let in_bias = self.vector(&name("attn.in_proj_bias"), &[3 * width]);
        let output = self.linear(&name("attn.out_proj"), width, width);
        let ln_2 = self.layer_norm(&name("ln_2"), width);
        let mlp_in = self.linear(&name("mlp.c_fc"), width, 4 * width);
        let mlp_out = self.linear(&name("mlp.c_proj"), 4 * width, width);
        let (in_weight, in_bias) = (in_weight?, in_bias?);
        // Queries, keys and values are stacked in this order.
        let part = |index: usize| {
            let weight = &in_weight.values[index * width * width..][..width * width];
            let bias = in_bias.values[index * width..][..width].to_vec();
            let bias = self.tensor(RawTensor { shape: vec![width], values: bias });
            frozen_linear(self.transposed(weight, width, width), Some(bias))
        };
        Some(Block {
            ln_1: ln_1?,
            attention: Attention { query: part(0), key: part(1), value: part(2), output: output? },
            ln_2: ln_2?,
            mlp_in: mlp_in?,
            mlp_out: mlp_out?,
            activation,
        })
    }

    fn layer_norm(&mut self, name: &str, width: usize) -> Option<LayerNorm> {
        let weight = self.vector(&format!("{name}.weight"), &[width]);
        let bias = self.vector(&format!("{name}.bias"), &[width]);
        Some(LayerNorm {
            weight: Param::from_tensor(self.tensor(weight?)),
            bias: Param::from_tensor(self.tensor(bias?)),
        })
    }

    /// A linear layer that the file stores as `[out, in]`.
    fn linear(&mut self, name: &str, input: usize, output: usize) -> Option<Linear> {
        let weight = self.vector(&format!("{name}.weight"), &[output, input]);
        let bias = self.vector(&format!("{name}.bias"), &[output]);
        let weight = self.transposed(&weight?.values, output, input);
        Some(frozen_linear(weight, Some(self.tensor(bias?))))
    }

    /// Takes a tensor out of the file if it has the expected shape.
    fn vector(&mut self, name: &str, shape: &[usize]) -> Option<RawTensor> {
        let Some(tensor) = self.tensors.take(name) else {
            self.problems.push(format!("`{name}` is missing"));
            return None;
        };
        if tensor.shape != shape {
            let (found, expected) = (&tensor.shape, shape);
            self.problems.push(format!("`{name}` has the shape {found:?} instead of {expected:?}"));
            return None;
        }
        Some(tensor)
    }

    fn shape_of<const D: usize>(&mut self, name: &str) -> Option<[usize; D]> {
        let Some(tensor) = self.tensors.get(name) else {
            self.problems.push(format!("`{name}` is missing"));
            return None;
        };
        let shape = tensor.shape.as_slice().try_into().ok();
        if shape.is_none() {
            self.problems.push(format!("`{name}` has {} axes instead of {D}", tensor.shape.len()));
        }
        shape
    }

    fn count_blocks(&self, prefix: &str) -> usize {
        let index =
            |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        self.tensors.names().filter_map(index).max().map_or(0, |last| last + 1)
    }

    fn report_unused(&mut self) {
        let unused = self.tensors.names().filter(|name| !IGNORED.contains(name));
        self.problems.extend(unused.map(|name| format!("`{name}` is not used")));
    }

    fn tensor<const D: usize>(&self, raw: RawTensor) -> Tensor<D> {
        Tensor::from_data(TensorData::new(raw.values, raw.shape), self.device)
    }

    /// `[rows, columns]` in the file to `[columns, rows]` here.
    fn transposed(&self, values: &[f32], rows: usize, columns: usize) -> Tensor<2> {
        let mut transposed = Vec::<f32>::with_capacity(values.len());
        for column in 0..columns {
            transposed.extend(values.iter().skip(column).step_by(columns));
        }
        Tensor::from_data(TensorData::new(transposed, [columns, rows]), self.device)
    }

    fn into_error(self) -> WeightsError {
        WeightsError::Mismatch { file: self.tensors.file().to_owned(), problems: self.problems }
    }
}
