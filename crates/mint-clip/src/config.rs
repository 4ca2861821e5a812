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
