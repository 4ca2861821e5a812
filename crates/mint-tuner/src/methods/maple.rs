//! MaPLe: trained prompts in the first blocks of both towers, coupled by projections.
//!
//! Source: Khattak et al., *MaPLe: Multi-modal Prompt Learning* (2023), section 3.2.

use std::rc::Rc;

use burn::nn::Linear;
use burn::tensor::Tensor;
use mint_clip::{PromptSet, Tokenizer};

use crate::class_set::{CacheKey, ClassSet};
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;

/// What follows the learned tokens: training starts from the words `a photo of a`, of which
/// the first two are learned and the others stay.
const REST_OF_TEMPLATE: &str = "of a {}.";

/// What MaPLe's training leaves.
#[derive(Debug, Clone)]
pub struct MaplePrompts {
    /// Prompts of the first blocks, in order.
    pub blocks: Vec<CoupledPrompt>,
}

/// The prompt of one block in the text tower, and what makes the image tower's of it.
#[derive(Debug, Clone)]
pub struct CoupledPrompt {
    /// Shape: `[prompt, text width]`.
    pub text: Tensor<2>,
    /// `[text width] -> [image width]`
    pub projection: Linear,
}

/// Compares view 0, seen with prompts, with texts of prompts.
#[derive(Debug)]
pub struct Maple {
    prompts: MaplePrompts,
    image_prompts: Vec<Tensor<2>>,
    key: CacheKey,
}

impl MaplePrompts {
    /// Prompts of the text tower's first blocks. Shapes: `[prompt, text width]`.
    pub fn text(&self) -> Vec<Tensor<2>> {
        self.blocks.iter().map(|block| block.text.clone()).collect()
    }

    /// Prompts of the image tower's first blocks. Shapes: `[prompt, image width]`.
    pub fn image(&self) -> Vec<Tensor<2>> {
        self.blocks.iter().map(|block| block.projection.forward(block.text.clone())).collect()
    }

    /// The classes' texts with places for the prompts of the first block.
    ///
    /// # Errors
    ///
    /// If a text is too long for the model.
    pub fn texts(&self, tokenizer: &Tokenizer, names: &[String]) -> Result<PromptSet, MethodError> {
        let n_prompts = self.blocks.first().map_or(0, |block| block.text.dims()[0]);
        Ok(PromptSet::with_leading_context(tokenizer, names, n_prompts, REST_OF_TEMPLATE)?)
    }
}

impl Maple {
    /// With trained prompts.
    pub fn new(prompts: MaplePrompts) -> Self {
        Self { image_prompts: prompts.image(), prompts, key: CacheKey::default() }
    }

    /// Shape: `[class, embed]`.
    fn features(&self, classes: &ClassSet<'_>) -> Result<Rc<Tensor<2>>, MethodError> {
        classes.derived(&self.key, || {
            let texts = self.prompts.texts(classes.tokenizer(), classes.names())?;
            let encoder = &classes.clip().text;
            let features = encoder.forward_with_deep_prompts(&texts, &self.prompts.text());
            Ok(classes.with_none_after(features))
        })
    }
}

impl Method for Maple {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::Clean
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.features(classes).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let clip = views.clip();
        let image = clip.image.forward_with_deep_prompts(views.clean_pixels(), &self.image_prompts);
        let features = self.features(classes)?;
        Ok(Pending::logits(clip.logits(image, Tensor::clone(&features))))
    }
}
