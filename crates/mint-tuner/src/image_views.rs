//! One image as the methods see it: its views, and what has been computed of them.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use burn::tensor::Tensor;
use mint_clip::{Clip, PassConfig, UnpromptedPass};

use crate::class_set::TextFeatures;
use crate::confidence::entropies;
use crate::error::MethodError;
use crate::trace::Trace;

/// The views of one image. What several methods read is computed once, when first asked for.
pub struct ImageViews<'a> {
    clip: &'a Clip,
    /// `None` where the embeddings come from elsewhere.
    pixels: Option<Tensor<4>>,
    passes: RefCell<Vec<(PassConfig, Rc<UnpromptedPass>)>>,
    embeddings: OnceCell<Tensor<2>>,
    clean_embedding: OnceCell<Tensor<2>>,
    logits: RefCell<Vec<(TextFeatures, ViewLogits)>>,
    /// `None` unless somebody wants to know what a method does.
    trace: RefCell<Option<Trace>>,
}

/// All views compared with fixed texts.
#[derive(Debug, Clone)]
pub struct ViewLogits {
    /// Shape: `[view, class]`.
    pub logits: Tensor<2>,
    /// Entropy of each view's class distribution, in nats. Shape: `[view]`.
    pub entropies: Tensor<1>,
}

impl<'a> ImageViews<'a> {
    /// Normalised pixels of all views, the clean one first. Shape: `[view, channel, row, column]`.
    pub fn new(clip: &'a Clip, pixels: Tensor<4>) -> Self {
        Self { pixels: Some(pixels), ..Self::empty(clip) }
    }

    /// Embeddings of all views, not normalised, which were computed before; for methods that need
    /// no pixels. Shape: `[view, embed]`.
    pub fn of_embeddings(clip: &'a Clip, embeddings: Tensor<2>) -> Self {
        Self { embeddings: OnceCell::from(embeddings), ..Self::empty(clip) }
    }

    fn empty(clip: &'a Clip) -> Self {
        Self {
            clip,
            pixels: None,
            passes: RefCell::default(),
            embeddings: OnceCell::new(),
            clean_embedding: OnceCell::new(),
            logits: RefCell::default(),
            trace: RefCell::default(),
        }
    }

    /// Lets a method note what it does; nothing happens unless [`Method::explain`] asks for it.
    ///
    /// # Errors
    ///
    /// Those of `note`.
    ///
    /// [`Method::explain`]: crate::Method::explain
    pub fn trace(
        &self,
        note: impl FnOnce(&mut Trace) -> Result<(), MethodError>,
    ) -> Result<(), MethodError> {
        self.trace.borrow_mut().as_mut().map_or(Ok(()), note)
    }

    /// Notes are wanted from now on.
    pub(crate) fn begin_trace(&self) {
        *self.trace.borrow_mut() = Some(Trace::default());
    }

    /// What was noted; no more notes are wanted.
    pub(crate) fn end_trace(&self) -> Trace {
        self.trace.take().unwrap_or_default()
    }

    /// With the embedding of view 0 `[1, embed]`, which was computed together with those of other
    /// images.
    pub fn with_clean_embedding(self, embedding: Tensor<2>) -> Self {
        Self { clean_embedding: OnceCell::from(embedding), ..self }
    }

    /// The model that looks at the views.
    pub fn clip(&self) -> &'a Clip {
        self.clip
    }

    /// Pixels of all views. Shape: `[view, channel, row, column]`.
    ///
    /// # Panics
    ///
    /// If there are only embeddings: for methods whose [`Method::needs_pixels`] says `true` there
    /// must be pixels.
    ///
    /// [`Method::needs_pixels`]: crate::Method::needs_pixels
    pub fn pixels(&self) -> Tensor<4> {
        self.pixels.clone().expect("a method that needs pixels says so")
    }

    /// Pixels of view 0. Shape: `[1, channel, row, column]`.
    ///
    /// # Panics
    ///
    /// If there are only embeddings.
    pub fn clean_pixels(&self) -> Tensor<4> {
        self.pixels().narrow(0, 0, 1)
    }

    /// The pass of all views without prompts.
    ///
    /// # Panics
    ///
    /// If there are only embeddings.
    pub fn pass(&self, config: &PassConfig) -> Rc<UnpromptedPass> {
        let mut known = self.passes.borrow_mut();
        if let Some((_, pass)) = known.iter().find(|(other, _)| other == config) {
            return pass.clone();
        }
        let pass = self.clip.image.unprompted_pass(self.pixels(), config);
        let pass = Rc::new(pass);
        known.push((config.clone(), pass.clone()));
        pass
    }

    /// Embeddings of all views, not normalised. Shape: `[view, embed]`.
    pub fn embeddings(&self) -> Tensor<2> {
        self.known_embeddings().unwrap_or_else(|| {
            let encode = || self.clip.image.forward(self.pixels());
            self.embeddings.get_or_init(encode).clone()
        })
    }

    /// The embeddings of all views; `None` if nobody has asked for them.
    pub fn known_embeddings(&self) -> Option<Tensor<2>> {
        let of_pass = self.passes.borrow().first().map(|(_, pass)| pass.embeddings.clone());
        of_pass.or_else(|| self.embeddings.get().cloned())
    }

    /// All views compared with fixed texts.
    pub fn logits(&self, texts: &TextFeatures) -> ViewLogits {
        let mut known = self.logits.borrow_mut();
        if let Some((_, logits)) = known.iter().find(|(other, _)| other.is_same(texts)) {
            return logits.clone();
        }
        let logits = self.clip.logits(self.embeddings(), texts.tensor());
        let logits = ViewLogits { entropies: entropies(logits.clone()), logits };
        known.push((texts.clone(), logits.clone()));
        logits
    }

    /// Embedding of view 0, not normalised. Shape: `[1, embed]`.
    pub fn clean_embedding(&self) -> Tensor<2> {
        if let Some(embeddings) = self.known_embeddings() {
            return embeddings.narrow(0, 0, 1);
        }
        let encode = || self.clip.image.forward(self.clean_pixels());
        self.clean_embedding.get_or_init(encode).clone()
    }
}
