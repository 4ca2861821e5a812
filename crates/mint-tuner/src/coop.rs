//! CoOp: the clean view against prompts whose context was trained.
//!
//! Source: Zhou et al., *Learning to Prompt for Vision-Language Models* (2022).

use burn::tensor::Tensor;
use mint_clip::{Clip, ContextPlaces, PromptSet, Tokenizer};

use crate::image_views::ImageViews;
use crate::method::{Method, MethodError, Outcome, ViewDemand, read_scores};

/// Classifies view 0 with a trained context before the class name.
#[derive(Debug)]
pub struct CoOp {
    /// Shape: `[context, width]`.
    context: Tensor<2>,
    /// Shape: `[class, embed]`.
    features: Option<Tensor<2>>,
}

impl CoOp {
    /// With a trained context `[context, width]`.
    pub fn new(context: Tensor<2>) -> Self {
        Self { context, features: None }
    }
}

impl Method for CoOp {
    fn name(&self) -> &'static str {
        "coop"
    }

    fn view_demand(&self) -> ViewDemand {
        ViewDemand::Clean
    }

    fn start_test_set(
        &mut self,
        clip: &Clip,
        tokenizer: &Tokenizer,
        class_names: &[String],
    ) -> Result<(), MethodError> {
        let places = ContextPlaces { before: self.context.dims()[0], after: 0 };
        let prompts = PromptSet::with_context(tokenizer, class_names, places)?;
        self.features = Some(clip.text.forward(&prompts, Some(&self.context)));
        Ok(())
    }

    fn classify(&mut self, views: &ImageViews<'_>) -> Result<Outcome, MethodError> {
        let features = self.features.clone().expect("a test set was started");
        let logits = views.clip().logits(views.clean_embedding(), features);
        Ok(Outcome { scores: read_scores(logits)?, steps: Vec::new() })
    }
}
