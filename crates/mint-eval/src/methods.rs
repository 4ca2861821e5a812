//! From a configuration to methods that can run.

use mint_clip::burn::tensor::Tensor;
use mint_clip::{Clip, Tokenizer};
use mint_datasets::ImageNet;
use mint_tuner::{
    AngleDirection, Atpt, AtptConfig, Boostadapter, ClassTexts, Cocoop, Ctpt, CtptConfig, Dota,
    Dpe, Maple, Method, MethodError, Mint, MintConfig, Mta, Oga, Onzeta, Sar, Tda, Tps, TpsConfig,
    TpsPrototypes, Tpt, TptConfig, Uncertainty, Vte, Zero, ZeroShot,
};

use crate::config::{ContextStart, LearnedStart, RunConfig};
use crate::method_id::MethodId;
use crate::prompts::{PromptsError, StartContext, TrainedPrompts};
use crate::texts::Texts;

/// A configuration that does not fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Trained prompts cannot be used.
    #[error(transparent)]
    Prompts(#[from] PromptsError),
    /// CoOp, or texts from a context, without one.
    #[error("CoOp, and texts from a context, need a trained context")]
    NoTrainedContext,
    /// Texts of each class without their file.
    #[error("the texts `class-texts` need a file of texts for each class")]
    NoClassTexts,
    /// TPS with prototypes of descriptors, without their file.
    #[error("TPS's `prototypes` need a file of descriptors of each class")]
    NoDescriptors,
    /// A method without the checkpoint of its training.
    #[error("{} needs a checkpoint of its training", .0.title())]
    NoPrompts(MethodId),
    /// The configuration does not fit the model.
    #[error(transparent)]
    Method(#[from] MethodError),
}

/// A method that can run, with what its row says about it.
pub struct ConfiguredMethod {
    /// Its name.
    pub id: MethodId,
    /// The method.
    pub method: Box<dyn Method>,
    /// What decides its results besides views and seed.
    pub setup: Setup,
}

/// What decides a row's results besides the method, views and seed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Setup {
    /// What classes are compared as, or what learned prompts start from: `template`,
    /// `80 templates`, `words`, `context`, `checkpoint`.
    pub start: String,
    /// Share of the views that count, if the method chooses some.
    pub share: Option<f64>,
    /// Steps of adaptation for each image.
    pub steps: usize,
}

/// The configured methods with prompts that were trained before.
///
/// # Errors
///
/// If a method lacks trained prompts, or its settings do not fit the model.
pub fn build_methods(
    config: &RunConfig,
    clip: &Clip,
    tokenizer: &Tokenizer,
    prompts: &TrainedPrompts,
) -> Result<Vec<ConfiguredMethod>, SetupError> {
    let builder = Builder { config, clip, tokenizer, prompts };
    config.methods.iter().map(|&id| builder.method(id)).collect()
}

struct Builder<'a> {
    config: &'a RunConfig,
    clip: &'a Clip,
    tokenizer: &'a Tokenizer,
    prompts: &'a TrainedPrompts,
}

impl Builder<'_> {
    fn method(&self, id: MethodId) -> Result<ConfiguredMethod, SetupError> {
        let config = self.config;
        let mut setup = Setup::default();
        let method: Box<dyn Method> = match id {
            MethodId::Clip | MethodId::Ensemble | MethodId::Coop => {
                Box::new(ZeroShot::new(self.texts(id, &mut setup)?))
            }
            MethodId::Cocoop => {
                setup.start = "checkpoint".to_owned();
                let prompts = self.prompts.cocoop.clone().ok_or(SetupError::NoPrompts(id))?;
                Box::new(Cocoop::new(prompts))
            }
            MethodId::Maple => {
                setup.start = "checkpoint".to_owned();
                let prompts = self.prompts.maple.clone().ok_or(SetupError::NoPrompts(id))?;
                Box::new(Maple::new(prompts))
            }
            MethodId::Tpt => {
                let TptConfig { steps, confident_share, .. } = config.tpt;
                let context = self.start(config.starts.tpt, &mut setup)?;
                (setup.steps, setup.share) = (steps, Some(confident_share.get()));
                Box::new(Tpt::new(config.tpt.clone(), context))
            }
            MethodId::Sar => {
                setup.steps = config.sar.steps;
                let texts = self.texts(id, &mut setup)?;
                Box::new(Sar::new(config.sar.clone(), self.clip, texts)?)
            }
            MethodId::Mta => Box::new(Mta::new(config.mta.clone(), self.texts(id, &mut setup)?)),
            MethodId::Zero => {
                setup.share = Some(config.zero.confident_share.get());
                let texts = self.texts(id, &mut setup)?;
                if let Uncertainty::Tsallis(order) = config.zero.uncertainty {
                    setup.start += &format!(", Tsallis {order}");
                }
                Box::new(Zero::new(config.zero.clone(), texts))
            }
            MethodId::Mint => {
                let MintConfig { steps, confident_share, .. } = config.mint;
                let context = self.start(config.starts.mint, &mut setup)?;
                (setup.steps, setup.share) = (steps, Some(confident_share.get()));
                Box::new(Mint::new(config.mint.clone(), self.clip, context)?)
            }
            MethodId::Tda => {
                setup.share = Some(config.tda.confident_share.get());
                Box::new(Tda::new(config.tda.clone(), self.texts(id, &mut setup)?))
            }
            MethodId::Vte => {
                setup.share = Some(config.vte.confident_share.get());
                Box::new(Vte::new(config.vte.clone(), self.texts(id, &mut setup)?))
            }
            MethodId::Onzeta => {
                Box::new(Onzeta::new(config.onzeta.clone(), self.texts(id, &mut setup)?))
            }
            MethodId::Ctpt => {
                let CtptConfig { steps, confident_share, .. } = config.ctpt;
                let context = self.start(config.starts.ctpt, &mut setup)?;
                (setup.steps, setup.share) = (steps, Some(confident_share.get()));
                Box::new(Ctpt::new(config.ctpt.clone(), context))
            }
            MethodId::Atpt => {
                let AtptConfig { steps, confident_share, .. } = config.atpt;
                let context = self.start(config.starts.atpt, &mut setup)?;
                setup.start += match config.atpt.direction {
                    AngleDirection::Scripts => ", the scripts' signs",
                    AngleDirection::Together => ", together",
                    AngleDirection::Apart => ", apart",
                };
                (setup.steps, setup.share) = (steps, Some(confident_share.get()));
                Box::new(Atpt::new(config.atpt.clone(), context))
            }
            MethodId::Tps => {
                let TpsConfig { steps, confident_share, prototypes, .. } = config.tps;
                let texts = self.texts(id, &mut setup)?;
                let descriptors = self.prompts.descriptors.clone();
                match prototypes {
                    TpsPrototypes::Texts => {}
                    _ if descriptors.is_none() => return Err(SetupError::NoDescriptors),
                    TpsPrototypes::Descriptors => setup.start = "descriptors".to_owned(),
                    TpsPrototypes::Micro => setup.start += " + descriptors",
                    TpsPrototypes::Macro => setup.start += " + each descriptor",
                }
                (setup.steps, setup.share) = (steps, Some(confident_share.get()));
                Box::new(Tps::new(config.tps.clone(), texts, descriptors))
            }
            MethodId::Boostadapter => {
                setup.share = Some(config.boostadapter.confident_share.get());
                let texts = self.texts(id, &mut setup)?;
                Box::new(Boostadapter::new(config.boostadapter.clone(), texts))
            }
            MethodId::Dota => {
                setup.share = Some(config.dota.confident_share.get());
                Box::new(Dota::new(config.dota.clone(), self.texts(id, &mut setup)?))
            }
            MethodId::Oga => Box::new(Oga::new(config.oga.clone(), self.texts(id, &mut setup)?)),
            MethodId::Dpe => {
                setup.share = Some(config.dpe.confident_share.get());
                setup.steps = 1;
                let texts = self.texts(id, &mut setup)?;
                let mut descriptions = None;
                if config.dpe.with_class_texts {
                    setup.start += " + class texts";
                    let lists = self.prompts.class_texts.clone();
                    descriptions = Some(lists.ok_or(SetupError::NoClassTexts)?);
                }
                Box::new(Dpe::new(config.dpe.clone(), texts, descriptions))
            }
        };
        Ok(ConfiguredMethod { id, method, setup })
    }

    /// The fixed texts of a method, by what tables call them: the trained context where there is no
    /// choice.
    fn texts(&self, id: MethodId, setup: &mut Setup) -> Result<ClassTexts, SetupError> {
        let facts = ImageNet::facts();
        let (texts, label) = match self.config.texts.of(id).unwrap_or(Texts::Context) {
            Texts::Template => (ClassTexts::default(), "template"),
            Texts::SetTemplate => (ClassTexts::OfSet, "set template"),
            Texts::SetEnsemble => (ClassTexts::EnsembleOfSet, "set ensemble"),
            Texts::ClassTexts => {
                let lists = self.prompts.class_texts.clone().ok_or(SetupError::NoClassTexts)?;
                (ClassTexts::PerClass(lists), "class texts")
            }
            Texts::Templates7 => (ClassTexts::Ensemble(facts.templates_7.clone()), "7 templates"),
            Texts::Templates80 => {
                (ClassTexts::Ensemble(facts.templates_80.clone()), "80 templates")
            }
            Texts::Context => {
                let StartContext { context, label } =
                    self.prompts.context.clone().ok_or(SetupError::NoTrainedContext)?;
                (ClassTexts::Context(context.into()), label)
            }
        };
        setup.start = label.to_owned();
        Ok(texts)
    }

    /// What a learned context starts from.
    fn start(&self, start: LearnedStart, setup: &mut Setup) -> Result<Tensor<2>, SetupError> {
        let StartContext { context, label } = match (start, &self.prompts.context) {
            (LearnedStart::Context, Some(context)) => context.clone(),
            _ => StartContext::new(&ContextStart::default(), self.clip, self.tokenizer)?,
        };
        setup.start = label.to_owned();
        Ok(context)
    }
}
