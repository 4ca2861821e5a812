//! From what was typed to a configuration and a model.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_clip::burn::tensor::{Device, Tensor};
use mint_clip::{Clip, Lanes, LoadOptions, StateDict, Tokenizer};
use mint_eval::{
    ContextStart, LoopConfig, NamedMethod, RunConfig, WeightsInfo, build_methods, read_context,
    start_context,
};
use sha2::{Digest, Sha256};

use crate::args::{Backend, ModelArgs, parse_methods};
use crate::demo;

/// A loaded model with its tokenizer.
pub struct Model {
    /// The towers.
    pub clip: Clip,
    /// For class prompts.
    pub tokenizer: Tokenizer,
    /// Which weights they are.
    pub weights: WeightsInfo,
    /// Whether they are the demo's.
    embedded: bool,
}

/// The configuration: `start`, changed by the file, changed by the options.
pub fn resolve_config(args: &ModelArgs, start: RunConfig) -> anyhow::Result<RunConfig> {
    let mut config = match &args.config {
        None => start,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
            toml::from_str(&text)
                .with_context(|| format!("the configuration `{}` is wrong", file.display()))?
        }
    };
    if let Some(methods) = parse_methods(&args.method)? {
        config.methods = methods;
    }
    if let Some(context) = &args.context {
        config.context = Some(parse_context(context)?);
    }
    config.views = args.views.unwrap_or(config.views);
    config.mint.steps = args.steps.unwrap_or(config.mint.steps);
    config.seed = args.seed.unwrap_or(config.seed);
    if config.methods.is_empty() {
        bail!("no method is left to run; name one with `--method`");
    }
    Ok(config)
}

/// What decides speed and patience.
pub fn loop_config(args: &ModelArgs, strict: bool) -> LoopConfig {
    let default = LoopConfig::default();
    let loader_threads = args.loader_threads.unwrap_or(default.loader_threads);
    LoopConfig { loader_threads, strict, ..default }
}

impl Model {
    /// Loads the given weights, or the demo's.
    pub fn load(args: &ModelArgs) -> anyhow::Result<Self> {
        let (file, bytes): (PathBuf, Cow<'static, [u8]>) = match &args.weights {
            None => (demo::WEIGHTS.into(), demo::weights()?),
            Some(file) => {
                let bytes = std::fs::read(file)
                    .with_context(|| format!("cannot read the weights `{}`", file.display()))?;
                (file.clone(), bytes.into())
            }
        };
        let tensors = StateDict::from_safetensors(&file, &bytes)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        drop(bytes);
        let device = match args.backend {
            Backend::Cpu => Device::flex(),
        };
        let lanes = args.threads.map_or_else(Lanes::per_core, Lanes::new);
        let clip = Clip::from_state_dict(tensors, LoadOptions::default(), &device, lanes)?;
        tracing::info!(weights = %file.display(), config = ?clip.config, "model loaded");
        let tokenizer = Tokenizer::clip(clip.config.text.context_length);
        let weights = WeightsInfo { file: file.display().to_string(), sha256 };
        Ok(Self { clip, tokenizer, weights, embedded: args.weights.is_none() })
    }

    /// The configured methods on this model.
    pub fn methods(&self, config: &RunConfig) -> anyhow::Result<Vec<NamedMethod>> {
        let context = self.context(config)?;
        Ok(build_methods(config, &self.clip, &self.tokenizer, context)?)
    }

    /// Where learned prompts start, in words.
    pub fn start(&self, config: &RunConfig) -> String {
        match &config.context {
            Some(ContextStart::File(file)) => format!("context `{}`", file.display()),
            Some(ContextStart::Words(words)) => format!("words `{words}`"),
            Some(ContextStart::Random(seed)) => format!("random context, seed {seed}"),
            None if self.embedded => "the demo's trained context".to_owned(),
            None => "words `a photo of a`".to_owned(),
        }
    }

    fn context(&self, config: &RunConfig) -> anyhow::Result<Option<Tensor<2>>> {
        match &config.context {
            Some(start) => Ok(Some(start_context(start, &self.clip, &self.tokenizer)?)),
            None if self.embedded => {
                let width = self.clip.config.text.width;
                Ok(Some(read_context(demo::context()?, width, &self.clip.device)?))
            }
            None => Ok(None),
        }
    }
}

fn parse_context(text: &str) -> anyhow::Result<ContextStart> {
    if let Some(words) = text.strip_prefix("words:") {
        return Ok(ContextStart::Words(words.to_owned()));
    }
    if let Some(seed) = text.strip_prefix("random:") {
        let seed = seed.parse().with_context(|| format!("`{seed}` is no seed"))?;
        return Ok(ContextStart::Random(seed));
    }
    Ok(ContextStart::File(Path::new(text).to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
