//! Fixed prompts of the classes and their embeddings, which methods without learning compare
//! images with.

use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::tokenizer::TokenizerError;
use mint_clip::{Clip, ContextPlaces, PromptSet, Tokenizer, normalize};

/// The template of the published zero-shot rows.
pub const TEMPLATE: &str = "a photo of a {}.";

/// Vectors that stand before the class name in a prompt. Clones share them.
#[derive(Debug, Clone)]
pub struct Context(Arc<Tensor<2>>);

/// What the texts of the classes are made of.
#[derive(Debug, Clone)]
pub enum ClassTexts {
    /// One template, with `{}` where the class name goes.
    Template(String),
    /// The mean over many templates, each normalised: the "ensemble" of Radford et al. (2021),
    /// section 3.1.4.
    Ensemble(Vec<String>),
    /// A trained context before the class name: CoOp, Zhou et al., *Learning to
    /// Prompt for Vision-Language Models* (2022).
    Context(Context),
}

impl Default for ClassTexts {
    fn default() -> Self {
        Self::Template(TEMPLATE.to_owned())
    }
}

impl ClassTexts {
    /// Embeddings of the classes, normalised. Shape: `[class, embed]`.
    ///
    /// # Errors
    ///
    /// If a text is too long for the model.
    ///
    /// # Panics
    ///
    /// If an ensemble has no templates.
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
                let context = context.tensor();
                let places = ContextPlaces::leading(context.dims()[0]);
                let prompts = PromptSet::with_context(tokenizer, class_names, places)?;
                Ok(normalize(clip.text.forward(&prompts, Some(&context))))
            }
        }
    }
}

impl ClassTexts {
    /// Whether both make the same texts of every class; contexts are compared by their values.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Context(one), Self::Context(other)) => one.is_same(other),
            _ => self.is_identical(other),
        }
    }

    /// [`ClassTexts::is_same`] as far as can be told without reading tensors back.
    pub(crate) fn is_identical(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Template(one), Self::Template(other)) => one == other,
            (Self::Ensemble(one), Self::Ensemble(other)) => one == other,
            (Self::Context(one), Self::Context(other)) => one.is_identical(other),
            _ => false,
        }
    }
}

impl From<Tensor<2>> for Context {
    /// Shape: `[context, width]`.
    fn from(vectors: Tensor<2>) -> Self {
        Self(Arc::new(vectors))
    }
}

impl Context {
    /// The vectors. Shape: `[context, width]`.
    pub fn tensor(&self) -> Tensor<2> {
        Tensor::clone(&self.0)
    }

    pub(crate) fn is_identical(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_identical(other) || self.0.to_data() == other.0.to_data()
    }
}
