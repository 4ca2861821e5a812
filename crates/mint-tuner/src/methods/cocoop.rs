//! CoCoOp: a trained context that a small network shifts for each image.
//!
//! Source: Zhou et al., *Conditional Prompt Learning for Vision-Language Models* (2022),
//! section 3.2.

use std::rc::Rc;

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use mint_clip::{ContextPlaces, PromptSet, normalize};

use crate::class_set::{CacheKey, ClassSet};
use crate::error::MethodError;
use crate::image_views::ImageViews;
use crate::method::{Method, ViewDemand};
use crate::pending::Pending;

/// What CoCoOp's training leaves.
#[derive(Debug, Clone)]
pub struct CocoopPrompts {
    /// Context before it is shifted. Shape: `[context, text width]`.
    pub context: Tensor<2>,
    /// `[embed] -> [hidden]`
    pub meta_net_in: Linear,
    /// `[hidden] -> [text width]`
    pub meta_net_out: Linear,
}

/// Compares view 0 with texts that are made for it.
#[derive(Debug)]
pub struct Cocoop {
    prompts: CocoopPrompts,
    key: CacheKey,
}

impl CocoopPrompts {
    /// The context for one image: `v_m + h(x)` for every vector, where `h` is the network and `x`
    /// the image's normalised embedding.
    ///
    /// Shapes: `[1, embed] -> [context, text width]`.
    pub fn context_of(&self, embedding: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.meta_net_in.forward(normalize(embedding)));
        self.context.clone() + self.meta_net_out.forward(hidden)
    }
}

impl Cocoop {
    /// With trained prompts.
    pub fn new(prompts: CocoopPrompts) -> Self {
        Self { prompts, key: CacheKey::default() }
    }

    fn texts(&self, classes: &ClassSet<'_>) -> Result<Rc<PromptSet>, MethodError> {
        classes.derived(&self.key, || {
            let places = ContextPlaces::leading(self.prompts.context.dims()[0]);
            Ok(PromptSet::with_context(classes.tokenizer(), classes.names(), places)?)
        })
    }
}

impl Method for Cocoop {
    fn view_demand(&self, _classes: &ClassSet<'_>) -> ViewDemand {
        ViewDemand::Clean
    }

    fn needs_pixels(&self) -> bool {
        false
    }

    fn prepare(&self, classes: &ClassSet<'_>) -> Result<(), MethodError> {
        self.texts(classes).map(drop)
    }

    fn run(
        &mut self,
        classes: &ClassSet<'_>,
        views: &ImageViews<'_>,
    ) -> Result<Pending, MethodError> {
        let (clip, image) = (views.clip(), views.clean_embedding());
        let context = self.prompts.context_of(image.clone());
        let texts = self.texts(classes)?;
        let features = classes.with_none_after(clip.text.forward(&texts, Some(&context)));
        Ok(Pending::logits(clip.logits(image, features)))
    }
}
