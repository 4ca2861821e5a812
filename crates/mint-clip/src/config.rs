//! Dimensions of a CLIP model.

use serde::Serialize;

/// What a CLIP model is made of. Read off the weights by [`crate::weights`].
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Width of the space that images and texts share.
    pub embed_dim: usize,
    /// Activation of the MLPs in both towers.
    pub activation: Activation,
    /// How pictures become the pixels that the image tower was trained on.
    pub preprocessing: Preprocessing,
}

/// How pictures become the pixels that an image tower was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Preprocessing {
    /// Mean of each channel, for samples scaled to 0..1.
    pub image_mean: [f32; 3],
    /// Standard deviation of each channel.
    pub image_std: [f32; 3],
    /// How a picture is brought to the model's size, always with the bicubic filter.
    pub resize: ResizeMode,
}

impl Default for Preprocessing {
    /// OpenAI's, which most models after it have as well.
    #[allow(clippy::excessive_precision, reason = "these are the published digits")]
    fn default() -> Self {
        Self {
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
            resize: ResizeMode::Shortest,
        }
    }
}

/// How a picture is brought to a model's size. The names are OpenCLIP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// The short side to the size, then the centre square.
    Shortest,
    /// Both sides to the size.
    Squash,
}

impl std::fmt::Display for ResizeMode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Shortest => "shortest",
            Self::Squash => "squash",
        })
    }
}

/// Dimensions of the image tower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VisionConfig {
    /// Side of the input in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of the MLPs' inner layer.
    pub mlp_width: usize,
}

impl VisionConfig {
    /// Number of tokens of one image: one a patch and the class token.
    pub fn tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

/// Dimensions of the text tower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextConfig {
    /// Longest text in tokens, start and end included.
    pub context_length: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of the MLPs' inner layer.
    pub mlp_width: usize,
}

/// Width of one attention head in OpenAI's models and most others.
pub const HEAD_WIDTH: usize = 64;

/// Added to the variance in every LayerNorm of every published CLIP.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;

/// The factor of QuickGELU.
pub(crate) const QUICK_GELU: f64 = 1.702;

/// Activation of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`: OpenAI, DFN and MetaCLIP weights.
    #[default]
    QuickGelu,
    /// `x * Phi(x)`: LAION and DataComp weights.
    Gelu,
}

impl std::fmt::Display for Activation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        })
    }
}
