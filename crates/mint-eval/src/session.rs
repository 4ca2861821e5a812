//! Images through methods, one after the other: what evaluation, prediction and checks share.

use std::time::Instant;

use image::RgbImage;
use mint_augment::{AugMix, ViewConfig, ViewError, ViewGenerator, ViewSeed, Views};
use mint_clip::burn::tensor::Tensor;
use mint_clip::{Clip, Tokenizer};
use mint_datasets::ImageSet;
use mint_tuner::{ClassSet, ImageViews, Method, MethodError, Outcome, Pending, Trace, ViewDemand};

use crate::config::RunConfig;
use crate::method_id::MethodId;
use crate::methods::ConfiguredMethod;
use crate::pixels::view_tensor;
use crate::views::view_config;

/// Methods that classify images among the classes of one test set.
///
/// Methods that learn from images do so in the order in which images are given. What they do not
/// remember beyond a test set is forgotten when a session begins.
pub struct Session<'a> {
    clip: &'a Clip,
    classes: ClassSet<'a>,
    methods: &'a mut [ConfiguredMethod],
    generator: ViewGenerator,
    seed: u64,
}

/// Why a session cannot begin, or an image cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The image has no pixels, or the configuration asks for no views.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A method cannot run.
    #[error("{} cannot run", method.title())]
    Method {
        /// The method.
        method: MethodId,
        /// Why not.
        source: MethodError,
    },
}

/// What methods say about an image, and how they came to it.
#[derive(Debug)]
pub struct Explanation {
    /// In the order of the methods, each with its own success.
    pub methods: Vec<Result<(Outcome, Trace), MethodError>>,
    /// What zero-shot CLIP says.
    pub zero_shot: Result<Outcome, MethodError>,
}

impl SessionError {
    fn of(method: MethodId) -> impl Fn(MethodError) -> Self {
        move |source| Self::Method { method, source }
    }
}

impl<'a> Session<'a> {
    /// Prepares the texts of the classes. `config` has the number of views and the seed.
    ///
    /// # Errors
    ///
    /// If a class name is too long for a method's prompts, or there are no views.
    pub fn new(
        clip: &'a Clip,
        tokenizer: &'a Tokenizer,
        class_names: &'a [String],
        methods: &'a mut [ConfiguredMethod],
        config: &RunConfig,
    ) -> Result<Self, SessionError> {
        Self::of_classes(ClassSet::new(clip, tokenizer, class_names), methods, config)
    }

    /// For images that belong to no test set, among classes that may know more than their names. The
    /// template is that of the configuration, if it has one.
    ///
    /// # Errors
    ///
    /// Those of [`Session::new`].
    pub fn of_classes(
        classes: ClassSet<'a>,
        methods: &'a mut [ConfiguredMethod],
        config: &RunConfig,
    ) -> Result<Self, SessionError> {
        Self::begin(with_template(classes, config), methods, config, config.mixes_views(None))
    }

    /// For the images of a test set: its classes and its template, and its views mixed by AugMix if
    /// the configuration says so.
    ///
    /// # Errors
    ///
    /// Those of [`Session::new`].
    pub fn of_set(
        clip: &'a Clip,
        tokenizer: &'a Tokenizer,
        set: &'a ImageSet,
        methods: &'a mut [ConfiguredMethod],
        config: &RunConfig,
    ) -> Result<Self, SessionError> {
        let classes = ClassSet::new(clip, tokenizer, &set.class_names);
        let classes = match set.test_set {
            Some(test_set) => classes
                .with_set(test_set.id())
                .with_template(test_set.template())
                .with_ensemble(test_set.ensemble()),
            None => with_template(classes, config),
        };
        let session = Self::begin(classes, methods, config, config.mixes_views(set.test_set))?;
        // A cache holds all views, whoever looks at them.
        if config.cache.is_some() { session.with_all_views(config) } else { Ok(session) }
    }

    fn begin(
        classes: ClassSet<'a>,
        methods: &'a mut [ConfiguredMethod],
        config: &RunConfig,
        mixes_views: bool,
    ) -> Result<Self, SessionError> {
        for ConfiguredMethod { id, method, .. } in methods.iter_mut() {
            method.next_test_set();
            method.prepare(&classes).map_err(SessionError::of(*id))?;
        }
        let views = if any_wants_all(methods, &classes) { config.views } else { 1 };
        let clip = classes.clip();
        let augmix = mixes_views.then(AugMix::default);
        let generator =
            ViewGenerator::new(ViewConfig { augmix, ..view_config(&clip.config, views) })?;
        Ok(Self { clip, classes, methods, generator, seed: config.seed })
    }

    fn with_all_views(self, config: &RunConfig) -> Result<Self, SessionError> {
        let views = ViewConfig { count: config.views, ..*self.generator.config() };
        Ok(Self { generator: ViewGenerator::new(views)?, ..self })
    }

    /// Says how many images will come, which some methods must know (OnZeta).
    pub fn with_image_count(self, images: usize) -> Self {
        Self { classes: self.classes.with_image_count(images), ..self }
    }

    /// The classes.
    pub fn classes(&self) -> &ClassSet<'a> {
        &self.classes
    }

    /// The methods, in the order of their outcomes.
    pub fn methods(&self) -> &[ConfiguredMethod] {
        self.methods
    }

    /// The methods, to save and restore what they remember.
    pub fn methods_mut(&mut self) -> &mut [ConfiguredMethod] {
        self.methods
    }

    /// What makes the views that the methods look at.
    pub fn generator(&self) -> ViewGenerator {
        self.generator
    }

    /// The views of an image. `index` is its place in the test set, which decides the random views.
    ///
    /// # Errors
    ///
    /// If the image has no pixels.
    pub fn views(&self, image: &RgbImage, index: usize) -> Result<Views, ViewError> {
        self.generator.views(image, ViewSeed { seed: self.seed, image: index as u64 })
    }

    /// Classifies an image by every method. `index` is that of [`Session::views`].
    ///
    /// # Errors
    ///
    /// If the image has no pixels, or a method fails.
    pub fn classify(
        &mut self,
        image: &RgbImage,
        index: usize,
    ) -> Result<Vec<Outcome>, SessionError> {
        let views = self.views(image, index)?;
        let outcomes = self.classify_views(views).into_iter();
        let methods = self.methods.iter().map(|method| method.id);
        outcomes.zip(methods).map(|(outcome, id)| outcome.map_err(SessionError::of(id))).collect()
    }

    /// Classifies the views of an image by every method, each with its own success.
    pub fn classify_views(&mut self, views: Views) -> Vec<Result<Outcome, MethodError>> {
        let views = ImageViews::new(self.clip, self.pixels(views));
        let classes = &self.classes;
        let methods = self.methods.iter_mut();
        methods.map(|method| method.method.classify(classes, &views)).collect()
    }

    /// [`Session::classify_views`], and what happened on the way: the same answers, and the same
    /// memory. `zero_shot` is asked last, so that it reads what the methods computed.
    pub fn explain_views(&mut self, views: Views, zero_shot: &mut dyn Method) -> Explanation {
        let views = ImageViews::new(self.clip, self.pixels(views));
        let classes = &self.classes;
        let methods = self.methods.iter_mut();
        let methods = methods.map(|method| method.method.explain(classes, &views)).collect();
        Explanation { methods, zero_shot: zero_shot.classify(classes, &views) }
    }

    /// Views on the device, normalised. Shape: `[view, channel, row, column]`.
    pub fn pixels(&self, views: Views) -> Tensor<4> {
        view_tensor(views, &self.generator.config().normalization, &self.clip.device)
    }

    /// Starts every method on the views of an image; with the seconds that each took so far.
    ///
    /// # Errors
    ///
    /// If a method fails.
    pub fn launch(&mut self, views: &ImageViews<'_>) -> Result<Vec<(Pending, f64)>, SessionError> {
        let classes = &self.classes;
        let launch = |ConfiguredMethod { id, method, .. }: &mut ConfiguredMethod| {
            let clock = Instant::now();
            let outcome = method.launch(classes, views).map_err(SessionError::of(*id))?;
            Ok((outcome, clock.elapsed().as_secs_f64()))
        };
        self.methods.iter_mut().map(launch).collect()
    }

    /// Starts every method on several images, in their order; for each image and method its own
    /// success.
    pub fn launch_each(
        &mut self,
        images: &[ImageViews<'_>],
    ) -> Vec<Vec<Result<Pending, MethodError>>> {
        let classes = &self.classes;
        let mut of_images: Vec<_> = images.iter().map(|_| Vec::new()).collect();
        for ConfiguredMethod { method, .. } in self.methods.iter_mut() {
            let launched = method.launch_each(classes, images);
            of_images.iter_mut().zip(launched).for_each(|(of_image, one)| of_image.push(one));
        }
        of_images
    }

    /// Whether no method looks at more than the clean view.
    pub fn looks_at_clean_views_alone(&self) -> bool {
        !any_wants_all(self.methods, &self.classes)
    }

    /// Whether a run can be interrupted here and resumed: no method is within a batch of images.
    pub fn is_at_rest(&mut self) -> bool {
        self.methods
            .iter_mut()
            .all(|method| method.method.remembers().is_none_or(|memory| memory.is_at_rest()))
    }
}

/// Classes of no test set, with the configuration's template.
fn with_template<'a>(classes: ClassSet<'a>, config: &RunConfig) -> ClassSet<'a> {
    match &config.template {
        Some(template) => classes.with_template(template),
        None => classes,
    }
}

/// Whether some method looks at more than the clean view.
fn any_wants_all(methods: &[ConfiguredMethod], classes: &ClassSet<'_>) -> bool {
    methods.iter().any(|method| method.method.view_demand(classes) == ViewDemand::All)
}
