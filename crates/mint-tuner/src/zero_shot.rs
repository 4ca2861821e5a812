//! Zero-shot CLIP: the clean view against a template.

use burn::tensor::Tensor;
use mint_clip::{Clip, PromptSet, Tokenizer};

use crate::image_views::ImageViews;
use crate::method::{Method, MethodError, Outcome, ViewDemand, read_scores};

/// The template of the published zero-shot rows.
pub const TEMPLATE: &str = "a photo of a {}.";

/// Classifies view 0 with the prompts `"a photo of a {}."`.
#[derive(Debug, Default)]
pub struct ZeroShot {
    /// Shape: `[class, embed]`.
    features: Option<Tensor<2>>,
}

impl Method for ZeroShot {
    fn name(&self) -> &'static str {
        "clip"
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
        let prompts = PromptSet::from_template(tokenizer, class_names, TEMPLATE)?;
        self.features = Some(clip.text.forward(&prompts, None));
        Ok(())
    }

    fn classify(&mut self, views: &ImageViews<'_>) -> Result<Outcome, MethodError> {
        let features = self.features.clone().expect("a test set was started");
        let logits = views.clip().logits(views.clean_embedding(), features);
        Ok(Outcome { scores: read_scores(logits)?, steps: Vec::new() })
    }
}
