//! CLIP weights of a published size with random values: the same arithmetic as the real ones.

use std::collections::BTreeMap;
use std::str::FromStr;

use ::safetensors::tensor::{Dtype, TensorView};
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Normal;

/// The size of a model with random values.
#[derive(Debug, Clone, Copy)]
pub struct ModelSize {
    vision_width: usize,
    vision_layers: usize,
    patch: usize,
    text_width: usize,
    embed: usize,
}

const IMAGE_SIZE: usize = 224;
const TEXT_LAYERS: usize = 12;
const CONTEXT_LENGTH: usize = 77;
const VOCABULARY: usize = 49_408;
/// Logarithm of the published scale of the logits, 100.
const LOGIT_SCALE: f32 = 4.605_170_2;

impl ModelSize {
    /// ViT-B/16.
    pub const VIT_B_16: Self =
        Self { vision_width: 768, vision_layers: 12, patch: 16, text_width: 512, embed: 512 };

    /// No published size: the smallest that has every part, for trials.
    pub const TINY: Self =
        Self { vision_width: 64, vision_layers: 3, patch: 32, text_width: 64, embed: 64 };
}

/// A name that is not that of a published size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of ViT-B/32, ViT-B/16, ViT-L/14")]
pub struct UnknownSize(String);

impl FromStr for ModelSize {
    type Err = UnknownSize;

    fn from_str(name: &str) -> Result<Self, UnknownSize> {
        match name {
            "ViT-B/32" => Ok(Self { patch: 32, ..Self::VIT_B_16 }),
            "ViT-B/16" => Ok(Self::VIT_B_16),
            "ViT-L/14" => Ok(Self {
                vision_width: 1024,
                vision_layers: 24,
                patch: 14,
                text_width: 768,
                embed: 768,
            }),
            _ => Err(UnknownSize(name.to_owned())),
        }
    }
}

/// A safetensors file in half precision with OpenAI's tensor names.
#[expect(clippy::missing_panics_doc, reason = "the tensors are made to fit")]
pub fn random_weights(size: ModelSize, seed: u64) -> Vec<u8> {
    let mut weights = Weights { rng: ChaCha8Rng::seed_from_u64(seed), tensors: BTreeMap::new() };
    weights.model(size);
    let views = weights.tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
        (name.clone(), view.expect("the bytes fill the shape"))
    });
    ::safetensors::serialize(views, None).expect("the tensors are distinct and whole")
}

struct Weights {
    rng: ChaCha8Rng,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Weights {
    /// The scales are those of CLIP's initialisation.
    fn model(&mut self, size: ModelSize) {
        let ModelSize { vision_width, vision_layers, patch, text_width, embed } = size;
        let scale = (vision_width as f32).powf(-0.5);
        let tokens = (IMAGE_SIZE / patch).pow(2) + 1;
        self.normal("visual.class_embedding", &[vision_width], scale);
        self.normal("visual.positional_embedding", &[tokens, vision_width], scale);
        let pixels = 3 * patch * patch;
        self.normal(
            "visual.conv1.weight",
            &[vision_width, 3, patch, patch],
            (pixels as f32).powf(-0.5),
        );
        self.layer_norm("visual.ln_pre", vision_width);
        self.layer_norm("visual.ln_post", vision_width);
        self.normal("visual.proj", &[vision_width, embed], scale);
        self.blocks("visual.transformer", vision_layers, vision_width);

        self.normal("token_embedding.weight", &[VOCABULARY, text_width], 0.02);
        self.normal("positional_embedding", &[CONTEXT_LENGTH, text_width], 0.01);
        self.blocks("transformer", TEXT_LAYERS, text_width);
        self.layer_norm("ln_final", text_width);
        self.normal("text_projection", &[text_width, embed], (text_width as f32).powf(-0.5));
        self.constant("logit_scale", &[], LOGIT_SCALE);
    }

    fn blocks(&mut self, tower: &str, layers: usize, width: usize) {
        let residual = (2.0 * layers as f32).powf(-0.5);
        let scale = (width as f32).powf(-0.5);
        for layer in 0..layers {
            let name = |part: &str| format!("{tower}.resblocks.{layer}.{part}");
            self.layer_norm(&name("ln_1"), width);
            self.layer_norm(&name("ln_2"), width);
            self.normal(&name("attn.in_proj_weight"), &[3 * width, width], scale);
            self.normal(&name("attn.in_proj_bias"), &[3 * width], 0.01);
            self.linear(&name("attn.out_proj"), width, width, scale * residual);
            self.linear(&name("mlp.c_fc"), 4 * width, width, (2.0 * width as f32).powf(-0.5));
            self.linear(&name("mlp.c_proj"), width, 4 * width, scale * residual);
        }
    }

    fn linear(&mut self, name: &str, output: usize, input: usize, scale: f32) {
        self.normal(&format!("{name}.weight"), &[output, input], scale);
        self.normal(&format!("{name}.bias"), &[output], 0.01);
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.constant(&format!("{name}.weight"), &[width], 1.0);
        self.normal(&format!("{name}.bias"), &[width], 0.01);
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) {
        self.insert(name, shape, |_| value);
    }

    fn normal(&mut self, name: &str, shape: &[usize], scale: f32) {
        let normal = Normal::new(0.0, scale).expect("the scale is finite");
        self.insert(name, shape, |rng| rng.sample(normal));
    }

    fn insert(
        &mut self,
        name: &str,
        shape: &[usize],
        mut value: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) {
        let count: usize = shape.iter().product();
        let mut bytes = Vec::with_capacity(2 * count);
        for _ in 0..count {
            bytes.extend(f16::from_f32(value(&mut self.rng)).to_le_bytes());
        }
        self.tensors.insert(name.to_owned(), (shape.to_vec(), bytes));
    }
}
