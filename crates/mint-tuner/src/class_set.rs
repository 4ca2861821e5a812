//! The classes of a test set, and what methods have made of their names.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::prompt::Item;
use mint_clip::{Clip, PromptSet, Tokenizer, normalize};

use crate::class_texts::{ClassTexts, Context, TextMeans};
use crate::error::MethodError;
use crate::prompt_learner::PromptLearner;

/// The classes of a test set on a model. What methods make of the names is computed once, when
/// first asked for.
pub struct ClassSet<'a> {
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    names: &'a [String],
    none_texts: Vec<String>,
    /// Embeddings of the texts that stand for none of the classes, not normalised. Shape:
    /// `[text, embed]`.
    none: Option<Tensor<2>>,
    set: Option<String>,
    template: Option<String>,
    ensemble: Option<Vec<String>>,
    image_count: Option<usize>,
    kept: Option<Rc<dyn KeptTexts>>,
    features: RefCell<Vec<(ClassTexts, TextFeatures)>>,
    learners: RefCell<Vec<(Context, Rc<PromptLearner>)>>,
    derived: RefCell<Vec<(CacheKey, Rc<dyn Any>)>>,
}

/// Embeddings of texts that are kept from run to run.
pub trait KeptTexts {
    /// Those of fixed texts of the classes, as [`ClassTexts::features`] makes them; `None` if they are
    /// not there.
    fn read(&self, texts: &ClassTexts, class_names: &[String]) -> Option<(Tensor<2>, TextMeans)>;

    /// Keeps what was made.
    fn keep(&self, texts: &ClassTexts, class_names: &[String], features: &(Tensor<2>, TextMeans));
}

/// Embeddings of the classes' texts, normalised, which methods share.
#[derive(Debug, Clone)]
pub struct TextFeatures(Arc<(Tensor<2>, TextMeans)>);

/// Names what one method derives from class sets; see [`ClassSet::derived`]. Clones are equal.
#[derive(Debug, Clone, Default)]
pub struct CacheKey(Arc<()>);

impl<'a> ClassSet<'a> {
    /// The classes with these names.
    pub fn new(clip: &'a Clip, tokenizer: &'a Tokenizer, names: &'a [String]) -> Self {
        Self {
            clip,
            tokenizer,
            names,
            none_texts: Vec::new(),
            none: None,
            set: None,
            template: None,
            ensemble: None,
            image_count: None,
            kept: None,
            features: RefCell::default(),
            learners: RefCell::default(),
            derived: RefCell::default(),
        }
    }

    /// With texts that stand for none of the classes. Methods see each of them as one more class, after
    /// the others; no template, context or description is put around it.
    ///
    /// # Errors
    ///
    /// If a text is too long for the model.
    pub fn with_none(self, texts: &[String]) -> Result<Self, MethodError> {
        if texts.is_empty() {
            return Ok(self);
        }
        let items = |text: &String| {
            let tokens = self.tokenizer.tokens(text)?;
            Ok::<_, MethodError>(tokens.into_iter().map(Item::Token).collect())
        };
        let prompts = PromptSet::new(texts.iter().map(items).collect::<Result<_, _>>()?);
        self.clip.text.ensure()?;
        let none = Some(self.clip.text.forward(&prompts, None));
        Ok(Self { none, none_texts: texts.to_vec(), ..self })
    }

    /// Embeddings of the classes' texts `[class, embed]`, not normalised, and after them those of the
    /// texts that stand for none of the classes.
    pub(crate) fn with_none_after(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.none {
            None => features,
            Some(none) => Tensor::cat(vec![features, none.clone()], 0),
        }
    }

    /// With the name of the test set, for methods whose official code has constants for each set:
    /// `I`, `A`, `V`, `R`, `K` for ImageNet and its siblings, `dtd`, `pets` and so on.
    pub fn with_set(self, set: impl Into<String>) -> Self {
        Self { set: Some(set.into()), ..self }
    }

    /// The name of the test set; `None` for images that are of none.
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }

    /// With the templates whose mean the set's texts are, for [`ClassTexts::EnsembleOfSet`].
    pub fn with_ensemble(self, templates: impl Into<Vec<String>>) -> Self {
        Self { ensemble: Some(templates.into()), ..self }
    }

    /// With the set's own template, `{}` where the class name goes, for [`ClassTexts::OfSet`].
    pub fn with_template(self, template: impl Into<String>) -> Self {
        Self { template: Some(template.into()), ..self }
    }

    /// With the number of images that will be classified.
    pub fn with_image_count(self, images: usize) -> Self {
        Self { image_count: Some(images), ..self }
    }

    /// With embeddings of texts that are kept from run to run.
    pub fn with_kept_texts(self, kept: Rc<dyn KeptTexts>) -> Self {
        Self { kept: Some(kept), ..self }
    }

    /// How many images will be classified; `None` if that is not known.
    pub fn image_count(&self) -> Option<usize> {
        self.image_count
    }

    /// The model.
    pub fn clip(&self) -> &'a Clip {
        self.clip
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Names of the classes, without the texts that stand for none of them.
    pub fn names(&self) -> &'a [String] {
        self.names
    }

    /// The texts that stand for none of the classes, whose scores come after those of the classes.
    pub fn none_texts(&self) -> &[String] {
        &self.none_texts
    }

    /// The embeddings of fixed texts.
    ///
    /// # Errors
    ///
    /// If a text is too long for the model, or a class has no texts.
    pub fn features(&self, texts: &ClassTexts) -> Result<TextFeatures, MethodError> {
        let of_set;
        let texts = match (texts, &self.template, &self.ensemble) {
            (ClassTexts::OfSet, Some(template), _) => {
                of_set = ClassTexts::Template(template.clone());
                &of_set
            }
            (ClassTexts::EnsembleOfSet, _, Some(templates)) => {
                of_set = ClassTexts::Ensemble(templates.clone());
                &of_set
            }
            _ => texts,
        };
        let known = find(&self.features, |other| other.is_identical(texts));
        if let Some(features) = known {
            return Ok(features);
        }
        // Equal contexts in different tensors can only be told by reading them back.
        let features = match find(&self.features, |other| other.is_same(texts)) {
            Some(features) => features,
            None => {
                let features = self.without_none(texts)?;
                TextFeatures(Arc::new(match &self.none {
                    None => features,
                    Some(none) => and_none(features, normalize(none.clone())),
                }))
            }
        };
        self.features.borrow_mut().push((texts.clone(), features.clone()));
        Ok(features)
    }

    /// The embeddings of fixed texts of the classes alone.
    fn without_none(&self, texts: &ClassTexts) -> Result<(Tensor<2>, TextMeans), MethodError> {
        if let Some(features) = self.kept.as_ref().and_then(|kept| kept.read(texts, self.names)) {
            return Ok(features);
        }
        self.clip.text.ensure()?;
        let features = texts.features(self.clip, self.tokenizer, self.names)?;
        if let Some(kept) = &self.kept {
            kept.keep(texts, self.names, &features);
        }
        Ok(features)
    }

    /// Learned prompts that start from a context.
    ///
    /// # Errors
    ///
    /// If a prompt is too long for the model.
    pub fn learner(&self, start: &Context) -> Result<Rc<PromptLearner>, MethodError> {
        if let Some(learner) = find(&self.learners, |other| other.is_identical(start)) {
            return Ok(learner);
        }
        let learner = match find(&self.learners, |other| other.is_same(start)) {
            Some(learner) => learner,
            None => {
                let start = start.tensor();
                let learner = PromptLearner::new(self.clip, self.tokenizer, self.names, start)?;
                Rc::new(match &self.none {
                    None => learner,
                    Some(none) => learner.with_fixed(none.clone()),
                })
            }
        };
        self.learners.borrow_mut().push((start.clone(), learner.clone()));
        Ok(learner)
    }

    /// What a method makes of the classes for itself, made when it first asks with this key.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    ///
    /// # Panics
    ///
    /// If the same key was used for another type.
    pub fn derived<T: 'static>(
        &self,
        key: &CacheKey,
        make: impl FnOnce() -> Result<T, MethodError>,
    ) -> Result<Rc<T>, MethodError> {
        let known = find(&self.derived, |other| Arc::ptr_eq(&other.0, &key.0));
        let value = match known {
            Some(value) => value,
            None => {
                let value: Rc<dyn Any> = Rc::new(make()?);
                self.derived.borrow_mut().push((key.clone(), value.clone()));
                value
            }
        };
        Ok(value.downcast().expect("a key stands for one type"))
    }
}

/// The texts of classes, and after them texts `[text, embed]` of one embedding each.
fn and_none((features, means): (Tensor<2>, TextMeans), none: Tensor<2>) -> (Tensor<2>, TextMeans) {
    let TextMeans { means, mut counts } = means;
    counts.resize(counts.len() + none.dims()[0], 1);
    let both = |rows: Tensor<2>| Tensor::cat(vec![rows, none.clone()], 0);
    (both(features), TextMeans { means: both(means), counts })
}

/// The value of the first key that matches.
fn find<K, V: Clone>(known: &RefCell<Vec<(K, V)>>, matches: impl Fn(&K) -> bool) -> Option<V> {
    known.borrow().iter().find(|(key, _)| matches(key)).map(|(_, value)| value.clone())
}

impl TextFeatures {
    /// Shape: `[class, embed]`.
    pub fn tensor(&self) -> Tensor<2> {
        self.0.0.clone()
    }

    /// The means of the texts' embeddings, which are normalised in [`TextFeatures::tensor`].
    pub fn means(&self) -> &TextMeans {
        &self.0.1
    }

    /// Whether both were embedded by the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
