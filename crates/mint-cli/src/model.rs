//! A loaded model, and the methods that run on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mint_clip::{Clip, Precision, Tokenizer, WeightsError};
use mint_eval::{
    ConfiguredMethod, ContextStart, FileIndex, LoopConfig, MethodId, PromptsError, RunConfig,
    StartContext, TrainedPrompts, WeightsInfo, build_methods, cocoop_prompts, maple_prompts,
    read_class_texts, read_descriptors,
};
use mint_tuner::{MintConfig, ProofShapes};
use serde_json::json;

use crate::args::ModelArgs;
use crate::demo;
use crate::model_source::ModelSource;
use crate::output;
use crate::progress::Phase;
use crate::proof::Unproven;
use crate::settings::chosen_device;

/// A loaded model with its tokenizer.
pub struct Model {
    /// The towers.
    pub clip: Clip,
    /// For class prompts.
    pub tokenizer: Tokenizer,
    /// Which weights they are.
    pub weights: WeightsInfo,
    /// The device that runs it, in words.
    pub device_name: String,
    unproven: Option<Unproven>,
    source: ModelSource,
}

impl Model {
    /// Loads the weights into towers of some precision.
    pub fn load(
        source: ModelSource,
        args: &ModelArgs,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let loading = Phase::start("loading the model");
        let model = Self::new(source, args, precision, None, |clip| {
            clip.image.ensure()?;
            clip.text.ensure()
        })?;
        loading.finish();
        Ok(model)
    }

    /// Opens the weights; the towers are read when they are first needed. `known` may have the
    /// checksums of their files.
    pub fn open(
        source: ModelSource,
        args: &ModelArgs,
        precision: Precision,
        known: Arc<FileIndex>,
    ) -> anyhow::Result<Self> {
        Self::new(source, args, precision, Some(known), |_| Ok(()))
    }

    /// `read` reads towers while checksums are computed.
    fn new(
        source: ModelSource,
        args: &ModelArgs,
        precision: Precision,
        known: Option<Arc<FileIndex>>,
        read: impl FnOnce(&Clip) -> Result<(), WeightsError>,
    ) -> anyhow::Result<Self> {
        // First, since what is missing for a GPU should not wait for weights to be read.
        let compute = chosen_device(args).open(precision)?;
        compute.notes.iter().for_each(|note| output::note(note));
        let (checkpoint, checksums) = source.checkpoint(args.load.into(), known)?;
        let unproven = Unproven::new(&checkpoint, &compute, precision);
        let clip = checkpoint.load_when_needed(&compute.device, compute.lanes, precision)?;
        read(&clip)?;
        let weights = WeightsInfo {
            files: checksums.finish()?,
            activation: clip.config.activation.to_string(),
            logit_scale: clip.logit_scale,
            model: json!({
                "vision": clip.config.vision,
                "text": clip.config.text,
                "preprocessing": clip.config.preprocessing,
            }),
        };
        tracing::info!(weights = %weights.names(), config = ?clip.config, "model opened");
        let tokenizer = clip.tokenizer();
        Ok(Self { clip, tokenizer, weights, device_name: compute.name, unproven, source })
    }

    /// The kind of device whose rounding the model has: `cpu`, or the name of the GPU.
    pub fn device_kind(&self) -> String {
        let name = self.device_name.split_once(" (").map(|(_, name)| name.trim_end_matches(')'));
        name.unwrap_or(&self.device_name).to_owned()
    }

    /// Makes sure that a device other than the CPU computes what the CPU does, for these methods
    /// among these classes.
    pub fn prove_device(
        &self,
        config: &RunConfig,
        class_names: &[String],
        template: &str,
    ) -> anyhow::Result<()> {
        let Some(unproven) = &self.unproven else { return Ok(()) };
        let runs = |method: &MethodId| config.methods.contains(method);
        // Whoever does more than zero-shot CLIP may take gradients; to prove too much costs little.
        let is_zero_shot =
            |id: &MethodId| matches!(id, MethodId::Clip | MethodId::Ensemble | MethodId::Coop);
        let default = MintConfig::default();
        // MINT's settings need not fit where it does not run.
        let mint = if runs(&MethodId::Mint) { &config.mint } else { &default };
        let chosen = match config.methods.iter().all(is_zero_shot) {
            true => 0,
            false => mint.confident_share.count(config.views).unwrap_or(1),
        };
        let has_context = config.methods.iter().any(|method| method.texts().is_none());
        let context = match has_context {
            true => self.start_context(config)?.context.dims()[0],
            false => 0,
        };
        let shapes =
            ProofShapes { views: config.views, chosen, context, mint, class_names, template };
        unproven.require(&self.tokenizer, shapes)?;
        // Clean views go through the image tower in groups where nothing else is looked at.
        let clean = LoopConfig::for_device(&self.clip.device).clean_views_at_once;
        if clean == config.views {
            return Ok(());
        }
        let shapes = ProofShapes { views: clean, chosen: 0, context: 0, ..shapes };
        unproven.require(&self.tokenizer, shapes)
    }

    /// The configured methods on this model.
    pub fn methods(&self, config: &RunConfig) -> anyhow::Result<Vec<ConfiguredMethod>> {
        let prompts = |id: MethodId, given: &Option<_>, of_demo: &str| {
            if config.methods.contains(&id) {
                self.source.prompts(given.as_deref(), of_demo)
            } else {
                Ok(None)
            }
        };
        let cocoop = prompts(MethodId::Cocoop, &config.cocoop, demo::COCOOP)?
            .map(|(prompts, file)| cocoop_prompts(prompts, &file, &self.clip));
        let maple = prompts(MethodId::Maple, &config.maple, demo::MAPLE)?
            .map(|(prompts, file)| maple_prompts(prompts, &file, &self.clip));
        let lists = |file: &Option<PathBuf>, read: fn(&Path) -> Result<_, PromptsError>| {
            file.as_deref().map(read).transpose().map(|lists| lists.map(Arc::new))
        };
        let prompts = TrainedPrompts {
            context: self.context(config)?,
            cocoop: cocoop.transpose()?,
            maple: maple.transpose()?,
            class_texts: lists(&config.class_texts, read_class_texts)?,
            descriptors: lists(&config.descriptors, read_descriptors)?,
        };
        Ok(build_methods(config, &self.clip, &self.tokenizer, &prompts)?)
    }

    /// What `context` in a row's start means.
    pub fn start(&self, config: &RunConfig) -> String {
        match &config.context {
            Some(ContextStart::File(file)) => format!("context `{}`", file.display()),
            Some(ContextStart::Words(words)) => format!("words `{words}`"),
            Some(ContextStart::Random(seed)) => format!("random context, seed {seed}"),
            None if self.source.is_demo() => "the demo's trained context".to_owned(),
            None => format!("words `{}`", ContextStart::WORDS),
        }
    }

    /// The context that MINT starts from.
    pub fn start_context(&self, config: &RunConfig) -> anyhow::Result<StartContext> {
        match self.context(config)? {
            Some(context) => Ok(context),
            None => Ok(StartContext::new(&ContextStart::default(), &self.clip, &self.tokenizer)?),
        }
    }

    fn context(&self, config: &RunConfig) -> anyhow::Result<Option<StartContext>> {
        if let Some(start) = &config.context {
            return Ok(Some(StartContext::new(start, &self.clip, &self.tokenizer)?));
        }
        let trained = self.source.prompts(None, demo::CONTEXT)?;
        let context =
            trained.map(|(prompts, file)| StartContext::trained(prompts, &file, &self.clip));
        Ok(context.transpose()?)
    }
}
