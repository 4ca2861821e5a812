//! Fixed prompts of the classes and their embeddings, which methods without learning compare
//! images with.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
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
    /// The mean over the templates of the class set, which [`crate::ClassSet::with_ensemble`] says;
    /// without any [`TEMPLATE`].
    EnsembleOfSet,
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

/// The mean of each class's text embeddings.
#[derive(Debug, Clone)]
pub struct TextMeans {
    /// Means of unit vectors, not normalised again. Shape: `[class, embed]`.
    pub means: Tensor<2>,
    /// Texts of each class. Length: class.
    pub counts: Vec<usize>,
}

impl TextMeans {
    /// The sum of each class's unit vectors. Shape: `[class, embed]`.
    pub fn sums(&self) -> Tensor<2> {
        let counts: Vec<f32> = self.counts.iter().map(|&count| count as f32).collect();
        let counts = TensorData::new(counts, [self.counts.len(), 1]);
        self.means.clone() * Tensor::from_data(counts, &self.means.device())
    }
}

impl ClassTexts {
    /// Embeddings of the classes, normalised `[class, embed]`, and the means that they are made of.
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
    ) -> Result<(Tensor<2>, TextMeans), MethodError> {
        let embed = |prompts: &PromptSet, context: Option<&Tensor<2>>| {
            normalize(clip.text.forward(prompts, context))
        };
        let of_template = |template: &str| {
            let prompts = PromptSet::from_template(tokenizer, class_names, template)?;
            Ok::<_, MethodError>(embed(&prompts, None))
        };
        let one = |features: Tensor<2>| {
            (features.clone(), TextMeans { means: features, counts: vec![1; class_names.len()] })
        };
        let counts = self.counts(class_names)?;
        let many = |means: Tensor<2>| (normalize(means.clone()), TextMeans { means, counts });
        Ok(match self {
            Self::OfSet | Self::EnsembleOfSet => one(of_template(TEMPLATE)?),
            Self::PerClass(lists) => {
                let of_class = |name: &String| {
                    let texts = lists.of(name)?;
                    let prompts = PromptSet::from_template(tokenizer, texts, "{}")?;
                    Ok(embed(&prompts, None).mean_dim(0))
                };
                let of_classes = class_names.iter().map(of_class);
                many(Tensor::cat(of_classes.collect::<Result<_, MethodError>>()?, 0))
            }
            Self::Template(template) => one(of_template(template)?),
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
                many(sum / templates.len() as f64)
            }
            Self::Context(context) => {
                let context = context.tensor();
                let places = ContextPlaces::leading(context.dims()[0]);
                let prompts = PromptSet::with_context(tokenizer, class_names, places)?;
                one(embed(&prompts, Some(&context)))
            }
        })
    }
}

impl ClassTexts {
    /// How many texts each class has.
    ///
    /// # Errors
    ///
    /// If a class has none.
    pub fn counts(&self, class_names: &[String]) -> Result<Vec<usize>, MethodError> {
        let count = |name: &String| match self {
            Self::PerClass(lists) => lists.of(name).map(<[_]>::len),
            Self::Ensemble(templates) => Ok(templates.len()),
            _ => Ok(1),
        };
        class_names.iter().map(count).collect()
    }

    /// What the texts are, in words that no other texts have; `None` if they are made of vectors.
    pub fn identity(&self) -> Option<String> {
        match self {
            Self::Context(_) => None,
            words => Some(format!("{words:?}")),
        }
    }

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
            (Self::OfSet, Self::OfSet) | (Self::EnsembleOfSet, Self::EnsembleOfSet) => true,
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

    /// From what tells each class from others, such as `a long tail`: the texts `{name}, which ..`
    /// that TPS and Menon and Vondrick, *Visual Classification via Description from Large Language
    /// Models* (2023), make of them.
    ///
    /// # Errors
    ///
    /// Those of [`ClassTextLists::new`].
    pub fn of_descriptors(
        lists: impl IntoIterator<Item = (String, Vec<String>)>,
    ) -> Result<Self, MethodError> {
        Self::new(lists.into_iter().map(|(name, descriptors)| {
            let shown = name.replace('_', " ");
            let text = |descriptor: String| match descriptor.trim() {
                "" => descriptor,
                _ => format!("{shown}, {}", clause(&descriptor)),
            };
            let texts = descriptors.into_iter().map(text).collect();
            (name, texts)
        }))
    }

    fn of(&self, name: &str) -> Result<&[String], MethodError> {
        let texts = self.texts.get(&plain(name)).map(Vec::as_slice);
        texts.ok_or_else(|| {
            MethodError::Config(format!("the class texts have none for the class `{name}`"))
        })
    }
}

/// A descriptor as a relative clause. As in the official code, any word with a small `a` at its start
/// stands for an article, and a capital letter for neither.
fn clause(descriptor: &str) -> String {
    let starts = |words: &[&str]| words.iter().any(|word| descriptor.starts_with(word));
    if starts(&["a", "used"]) {
        format!("which is {descriptor}")
    } else if starts(&["has", "often", "typically", "may", "can"]) {
        format!("which {descriptor}")
    } else {
        format!("which has {descriptor}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_become_clauses_by_their_first_letters() {
        for (descriptor, text) in [
            ("a long tail", "which is a long tail"),
            ("arranged in rows", "which is arranged in rows"),
            ("used for digging", "which is used for digging"),
            ("has whiskers", "which has whiskers"),
            ("hash marks", "which hash marks"),
            ("often red", "which often red"),
            ("typically small", "which typically small"),
            ("may bark", "which may bark"),
            ("can fly", "which can fly"),
            ("four legs", "which has four legs"),
            ("A long tail", "which has A long tail"),
            ("Can fly", "which has Can fly"),
        ] {
            let name = "tabby_Cat".to_owned();
            let lists = ClassTextLists::of_descriptors([(name, vec![descriptor.to_owned()])]);
            let lists = lists.expect("it has a descriptor");
            assert_eq!(lists.of("Tabby cat").expect("known"), [format!("tabby Cat, {text}")]);
        }
    }

    #[test]
    fn a_class_without_descriptors_or_with_an_empty_one_is_refused() {
        for descriptors in [vec![], vec!["four legs".to_owned(), " ".to_owned()]] {
            let lists = ClassTextLists::of_descriptors([("cat".to_owned(), descriptors)]);
            let message = lists.expect_err("refused").to_string();
            assert!(message.starts_with("the class `cat` has"), "{message}");
        }
    }
}
