//! The model: both towers and the scale of their logits.

use burn::tensor::{Device, Tensor};

use crate::config::ClipConfig;
use crate::image_encoder::ImageEncoder;
use crate::text_encoder::TextEncoder;

/// A frozen CLIP model.
#[derive(Debug, Clone)]
pub struct Clip {
    /// Images to embeddings.
    pub image: ImageEncoder,
    /// Texts to embeddings.
    pub text: TextEncoder,
    /// Factor of the cosine similarities (the exponential of the stored tensor).
    pub logit_scale: f32,
    /// Dimensions.
    pub config: ClipConfig,
    /// Where the weights are.
    pub device: Device,
}

impl Clip {
    /// Scaled cosine similarities of images and texts, which need not be normalised.
    ///
    /// Shapes: `[view, embed]`, `[class, embed]` -> `[view, class]`.
    pub fn logits(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<2> {
        scaled_cosines(images, texts, self.logit_scale)
    }
}

/// Cosine similarities of rows, times a factor. Shapes: those of [`Clip::logits`].
pub fn scaled_cosines(images: Tensor<2>, texts: Tensor<2>, scale: f32) -> Tensor<2> {
    normalize(images).matmul(normalize(texts).transpose()) * scale
}

/// Divides each row by its Euclidean length. Shape: `[row, width]`.
pub fn normalize(rows: Tensor<2>) -> Tensor<2> {
    let length = rows.clone().square().sum_dim(1).sqrt();
    rows / length
}
