//! From a configuration to methods that can run.

use mint_clip::{Clip, Tokenizer};
use mint_datasets::ImageNet;
use mint_tuner::{
    ClassTexts, Cocoop, Maple, Method, MethodError, Mint, Mta, Onzeta, Sar, Tda, Tpt, Vte, Zero,
    ZeroShot,
};

use crate::config::{ContextStart, LearnedStart, RunConfig, Texts};
use crate::method_id::MethodId;
use crate::prompts::{PromptsError, StartContext, TrainedPrompts};

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
    pub start: &'static str,
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
        let RunConfig { texts, starts, mint, tpt, sar, mta, zero, tda, vte, onzeta, .. } =
            self.config;
        let setup = |start| Setup { start, ..Setup::default() };
        let chosen = |start, share| Setup { start, share: Some(share), steps: 0 };
        let (method, setup): (Box<dyn Method>, Setup) = match id {
            MethodId::Clip => self.zero_shot(texts.clip)?,
            MethodId::Ensemble => self.zero_shot(texts.ensemble)?,
            MethodId::Coop => self.zero_shot(Texts::Context)?,
            MethodId::Cocoop => {
                let prompts = self.prompts.cocoop.clone().ok_or(SetupError::NoPrompts(id))?;
                (Box::new(Cocoop::new(prompts)), setup("checkpoint"))
            }
            MethodId::Maple => {
                let prompts = self.prompts.maple.clone().ok_or(SetupError::NoPrompts(id))?;
                (Box::new(Maple::new(prompts)), setup("checkpoint"))
            }
            MethodId::Tpt => {
                let StartContext { context, label } = self.start(starts.tpt)?;
                let setup = Setup { steps: tpt.steps, ..chosen(label, tpt.confident_share.get()) };
                (Box::new(Tpt::new(tpt.clone(), context)), setup)
            }
            MethodId::Sar => {
                let (texts, label) = self.texts(texts.sar)?;
                let setup = Setup { steps: sar.steps, ..setup(label) };
                (Box::new(Sar::new(sar.clone(), self.clip, texts)?), setup)
            }
            MethodId::Mta => {
                let (texts, label) = self.texts(texts.mta)?;
                (Box::new(Mta::new(mta.clone(), texts)), setup(label))
            }
            MethodId::Zero => {
                let (texts, label) = self.texts(texts.zero)?;
                (
                    Box::new(Zero::new(zero.clone(), texts)),
                    chosen(label, zero.confident_share.get()),
                )
            }
            MethodId::Mint => {
                let StartContext { context, label } = self.start(starts.mint)?;
                let setup =
                    Setup { steps: mint.steps, ..chosen(label, mint.confident_share.get()) };
                (Box::new(Mint::new(mint.clone(), self.clip, context)?), setup)
            }
            MethodId::Tda => {
                let (texts, label) = self.texts(texts.tda)?;
                (Box::new(Tda::new(tda.clone(), texts)), chosen(label, tda.confident_share.get()))
            }
            MethodId::Vte => {
                let (texts, label) = self.texts(texts.vte)?;
                (Box::new(Vte::new(vte.clone(), texts)), chosen(label, vte.confident_share.get()))
            }
            MethodId::Onzeta => {
                let (texts, label) = self.texts(texts.onzeta)?;
                (Box::new(Onzeta::new(onzeta.clone(), texts)), setup(label))
            }
        };
        Ok(ConfiguredMethod { id, method, setup })
    }

    fn zero_shot(&self, texts: Texts) -> Result<(Box<dyn Method>, Setup), SetupError> {
        let (texts, start) = self.texts(texts)?;
        let method = Box::new(ZeroShot::new(texts));
        Ok((method, Setup { start, ..Setup::default() }))
    }

    /// Fixed texts and what tables call them.
    fn texts(&self, texts: Texts) -> Result<(ClassTexts, &'static str), SetupError> {
        let facts = ImageNet::facts();
        Ok(match texts {
            Texts::Template => (ClassTexts::default(), "template"),
            Texts::SetTemplate => (ClassTexts::OfSet, "set template"),
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
        })
    }

    fn start(&self, start: LearnedStart) -> Result<StartContext, SetupError> {
        match (start, &self.prompts.context) {
            (LearnedStart::Context, Some(context)) => Ok(context.clone()),
            _ => self.words(),
        }
    }

    fn words(&self) -> Result<StartContext, SetupError> {
        Ok(StartContext::new(&ContextStart::default(), self.clip, self.tokenizer)?)
    }
}
