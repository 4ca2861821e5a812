//! Fixed prompts of the classes and their embeddings, which methods without learning compare
//! images with.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::{Clip, ContextPlaces, PromptSet, Tokenizer, normalize};

use crate::error::MethodError;

/// The template of the published zero-shot rows.
pub const TEMPLATE: &str = "a photo of a {}.";

/// Vectors that stand before the class name in a prompt. Clones share them.
#[derive(Debug, Clone)]
pub struct Context(Arc<Tensor<2>>);

/// Texts of each class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassTextLists {
    texts: BTreeMap<String, Vec<String>>,
}

/// What the texts of the classes are made of.
#[derive(Debug, Clone)]
pub enum ClassTexts {
    /// One template, with `{}` where the class name goes.
    Template(String),
    /// The template of the class set, which [`crate::ClassSet::with_template`] says; without one
    /// [`TEMPLATE`].
    OfSet,
    /// Texts of each class, the mean of them normalised: descriptions as Pratt et al., *What Does a
    /// Platypus Look Like?* (2023), have a language model write them.
    PerClass(Arc<ClassTextLists>),
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
    /// If a text is too long for the model, or a class has no texts.
    ///
    /// # Panics
    ///
    /// If an ensemble has no templates.
    pub fn features(
        &self,
        clip: &Clip,
        tokenizer: &Tokenizer,
        class_names: &[String],
    ) -> Result<Tensor<2>, MethodError> {
        let of_template = |template: &String| {
            let prompts = PromptSet::from_template(tokenizer, class_names, template)?;
            Ok::<_, MethodError>(normalize(clip.text.forward(&prompts, None)))
        };
        match self {
            Self::OfSet => of_template(&TEMPLATE.to_owned()),
            Self::PerClass(lists) => {
                let of_class = |name: &String| {
                    let texts = lists.of(name)?;
                    let prompts = PromptSet::from_template(tokenizer, texts, "{}")?;
                    let features = normalize(clip.text.forward(&prompts, None));
                    Ok(normalize(features.mean_dim(0)))
                };
                let features = class_names.iter().map(of_class);
                Ok(Tensor::cat(features.collect::<Result<_, MethodError>>()?, 0))
            }
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
            (Self::OfSet, Self::OfSet) => true,
            (Self::PerClass(one), Self::PerClass(other)) => one == other,
            (Self::Template(one), Self::Template(other)) => one == other,
            (Self::Ensemble(one), Self::Ensemble(other)) => one == other,
            (Self::Context(one), Self::Context(other)) => one.is_identical(other),
            _ => false,
        }
    }
}

impl ClassTextLists {
    /// From the texts of each class. Names are compared as CLIP reads them: without case, and with
    /// `_` as a blank.
    ///
    /// # Errors
    ///
    /// If a class has no texts or an empty one, or two names are the same.
    pub fn new(
        lists: impl IntoIterator<Item = (String, Vec<String>)>,
    ) -> Result<Self, MethodError> {
        let mut texts = BTreeMap::new();
        for (name, list) in lists {
            if list.is_empty() {
                return Err(MethodError::Config(format!("the class `{name}` has no texts")));
            }
            if list.iter().any(|text| text.trim().is_empty()) {
                return Err(MethodError::Config(format!("the class `{name}` has an empty text")));
            }
            if texts.insert(plain(&name), list).is_some() {
                return Err(MethodError::Config(format!("the class `{name}` has texts twice")));
            }
        }
        Ok(Self { texts })
    }

    fn of(&self, name: &str) -> Result<&[String], MethodError> {
        let texts = self.texts.get(&plain(name)).map(Vec::as_slice);
        texts.ok_or_else(|| {
            MethodError::Config(format!("the class texts have none for the class `{name}`"))
        })
    }
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace('_', " ")
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
