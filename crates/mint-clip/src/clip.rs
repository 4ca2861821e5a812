//! The model: both towers and the scale of their logits.

use burn::tensor::{Device, Tensor};

use crate::config::ClipConfig;
use crate::image_encoder::ImageEncoder;
use crate::precision::Precision;
use crate::text_encoder::TextEncoder;
use crate::tokenizer::Tokenizer;

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

    /// The tokenizer of CLIP, for texts as long as the model reads.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::clip(self.config.text.context_length)
    }

    /// The token embeddings of some words, such as `a photo of a`: a start for learned context.
    ///
    /// Shape: `[token, text width]`.
    pub fn context_of(&self, tokenizer: &Tokenizer, words: &str) -> Tensor<2> {
        self.text.tower().token_rows(&tokenizer.encode(words))
    }

    /// The model with towers of another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        let dtype = precision.dtype();
        let image = self.image.tower().clone().with_dtype(dtype);
        let text = self.text.tower().clone().with_dtype(dtype);
        Self {
            image: ImageEncoder::new(image, self.image.lanes().clone()),
            text: TextEncoder::new(text, self.text.lanes().clone()),
            ..self
        }
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
