//! Fixed prompts of the classes and their embeddings, which methods without learning compare
//! images with.

use burn::tensor::Tensor;
use mint_clip::tokenizer::TokenizerError;
use mint_clip::{Clip, ContextPlaces, PromptSet, Tokenizer, normalize};

/// The template of the published zero-shot rows.
pub const TEMPLATE: &str = "a photo of a {}.";

/// What the texts of the classes are made of.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each method, not many")]
pub enum ClassTexts {
    /// One template, with `{}` where the class name goes.
    Template(String),
    /// The mean over many templates, each normalised: the "ensemble" of Radford et al. (2021),
    /// section 3.1.4.
    Ensemble(Vec<String>),
    /// A trained context `[context, width]` before the class name: CoOp, Zhou et al., *Learning to
    /// Prompt for Vision-Language Models* (2022).
    Context(Tensor<2>),
}

impl Default for ClassTexts {
    fn default() -> Self {
        Self::Template(TEMPLATE.to_owned())
    }
}

impl ClassTexts {
    /// Embeddings of the classes, normalised. Shape: `[class, embed]`.
    pub fn features(
        &self,
        clip: &Clip,
        tokenizer: &Tokenizer,
        class_names: &[String],
    ) -> Result<Tensor<2>, TokenizerError> {
        let of_template = |template: &String| {
            let prompts = PromptSet::from_template(tokenizer, class_names, template)?;
            Ok(normalize(clip.text.forward(&prompts, None)))
        };
        match self {
            Self::Template(template) => of_template(template),
            Self::Ensemble(templates) => {
                let mut sum: Option<Tensor<2>> = None;
                for template in templates {
                    let features = of_template(template)?;
                    sum = Some(match sum {
                        None => features,
                        Some(sum) => sum + features,
                    });
                }
                let sum = sum.expect("an ensemble has templates");
                Ok(normalize(sum / templates.len() as f64))
            }
            Self::Context(context) => {
                let places = ContextPlaces { before: context.dims()[0], after: 0 };
                let prompts = PromptSet::with_context(tokenizer, class_names, places)?;
                Ok(normalize(clip.text.forward(&prompts, Some(context))))
            }
        }
    }
}

impl ClassTexts {
    /// Whether both make the same texts of every class.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Template(one), Self::Template(other)) => one == other,
            (Self::Ensemble(one), Self::Ensemble(other)) => one == other,
            (Self::Context(one), Self::Context(other)) => one.to_data() == other.to_data(),
            _ => false,
        }
    }
}
