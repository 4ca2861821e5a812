//! The classes of a test set, and what methods have made of their names.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::{Clip, Tokenizer};

use crate::class_texts::{ClassTexts, Context};
use crate::error::MethodError;
use crate::prompt_learner::PromptLearner;

/// The classes of a test set on a model. What methods make of the names is computed once, when
/// first asked for.
pub struct ClassSet<'a> {
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    names: &'a [String],
    template: Option<String>,
    image_count: Option<usize>,
    features: RefCell<Vec<(ClassTexts, TextFeatures)>>,
    learners: RefCell<Vec<(Context, Rc<PromptLearner>)>>,
    derived: RefCell<Vec<(CacheKey, Rc<dyn Any>)>>,
}

/// Embeddings of the classes' texts, normalised, which methods share.
#[derive(Debug, Clone)]
pub struct TextFeatures(Arc<Tensor<2>>);

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
            template: None,
            image_count: None,
            features: RefCell::default(),
            learners: RefCell::default(),
            derived: RefCell::default(),
        }
    }

    /// With the set's own template, `{}` where the class name goes, for [`ClassTexts::OfSet`].
    pub fn with_template(self, template: impl Into<String>) -> Self {
        Self { template: Some(template.into()), ..self }
    }

    /// With the number of images that will be classified.
    pub fn with_image_count(self, images: usize) -> Self {
        Self { image_count: Some(images), ..self }
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

    /// Names of the classes.
    pub fn names(&self) -> &'a [String] {
        self.names
    }

    /// The embeddings of fixed texts.
    ///
    /// # Errors
    ///
    /// If a text is too long for the model, or a class has no texts.
    pub fn features(&self, texts: &ClassTexts) -> Result<TextFeatures, MethodError> {
        let of_set;
        let texts = match (texts, &self.template) {
            (ClassTexts::OfSet, Some(template)) => {
                of_set = ClassTexts::Template(template.clone());
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
                let features = texts.features(self.clip, self.tokenizer, self.names)?;
                TextFeatures(Arc::new(features))
            }
        };
        self.features.borrow_mut().push((texts.clone(), features.clone()));
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
                Rc::new(PromptLearner::new(self.clip, self.tokenizer, self.names, start)?)
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

/// The value of the first key that matches.
fn find<K, V: Clone>(known: &RefCell<Vec<(K, V)>>, matches: impl Fn(&K) -> bool) -> Option<V> {
    known.borrow().iter().find(|(key, _)| matches(key)).map(|(_, value)| value.clone())
}

impl TextFeatures {
    /// Shape: `[class, embed]`.
    pub fn tensor(&self) -> Tensor<2> {
        Tensor::clone(&self.0)
    }

    /// Whether both were embedded by the same call.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
