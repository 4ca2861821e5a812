//! From what was typed to a configuration and a model.

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, bail};
use mint_clip::burn::tensor::Device;
use mint_clip::weights::{LearnedPrompts, Origin};
use mint_clip::{Activation, Checkpoint, Clip, LoadOptions, Precision, Tokenizer};
use mint_eval::{
    ConfiguredMethod, ContextStart, HashedFile, LoopConfig, MethodId, RunConfig, StartContext,
    TrainedFiles, TrainedPrompts, WeightsInfo, build_methods, cocoop_prompts, maple_prompts,
};

use serde_json::json;

use crate::args::{ActivationArg, LoadArgs, Methods, ModelArgs, parse_methods, precision};
use crate::backend::{self, Compute};
use crate::demo;
use crate::output::{self, Explained};
use crate::progress::Phase;

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
    if let Some(context) = &args.context {
        config.context = Some(parse_context(context)?);
    }
    if let Some(ContextStart::File(file)) = &mut config.context {
        *file = full(file)?;
    }
    config.cocoop = args.cocoop.clone().or(config.cocoop).as_deref().map(full).transpose()?;
    config.maple = args.maple.clone().or(config.maple).as_deref().map(full).transpose()?;
    config.views = args.views.unwrap_or(config.views);
    if let Some(steps) = args.steps {
        config.mint.steps = steps;
        config.tpt.steps = steps;
        config.sar.steps = steps;
    }
    config.seed = args.seed.unwrap_or(config.seed);
    config.precision = args.precision.map_or(config.precision, precision);
    config.temperature = args.temperature.map_or(config.temperature, f64::from);
    match parse_methods(&args.method)? {
        Methods::Configured => {}
        Methods::Named(methods) => config.methods = methods,
        Methods::All => config.methods = runnable_methods(&config, args.weights.is_empty()),
    }
    config.check()?;
    Ok(config)
}

/// A record is read from another folder too.
fn full(file: &Path) -> anyhow::Result<PathBuf> {
    absolute(file).with_context(|| format!("`{}` has no absolute path", file.display()))
}

/// Checksums of the trained prompts that the methods start from; those of the demo's, if nothing
/// else was given for its model.
pub fn trained_files(config: &RunConfig, embedded: bool) -> anyhow::Result<TrainedFiles> {
    let hashed = |file: Option<&PathBuf>, what: &str, option: &str, name: &str| match file {
        Some(file) => HashedFile::read(file).map(Some).with_context(|| {
            format!("cannot read {what} `{}`, which `{option}` names", file.display())
        }),
        None if embedded => Ok(Some(HashedFile::embedded(name, &demo::trained(name)?))),
        None => Ok(None),
    };
    let context = match &config.context {
        Some(ContextStart::File(file)) => {
            hashed(Some(file), "the trained context", "--context", demo::CONTEXT)?
        }
        Some(_) => None,
        None => hashed(None, "the trained context", "--context", demo::CONTEXT)?,
    };
    let cocoop = config.cocoop.as_ref();
    let maple = config.maple.as_ref();
    Ok(TrainedFiles {
        context,
        cocoop: hashed(cocoop, "CoCoOp's checkpoint", "--cocoop", demo::COCOOP)?,
        maple: hashed(maple, "MaPLe's checkpoint", "--maple", demo::MAPLE)?,
    })
}

/// Every method that has what it needs; says which are left out. The demo has everything.
fn runnable_methods(config: &RunConfig, embedded: bool) -> Vec<MethodId> {
    let lacking = |id: MethodId| match id {
        MethodId::Coop if config.context.is_none() => Some("--context"),
        MethodId::Cocoop if config.cocoop.is_none() => Some("--cocoop"),
        MethodId::Maple if config.maple.is_none() => Some("--maple"),
        _ => None,
    };
    let (methods, left_out): (Vec<_>, Vec<_>) =
        MethodId::ALL.into_iter().partition(|&id| embedded || lacking(id).is_none());
    for id in left_out {
        let option = lacking(id).unwrap_or_default();
        output::note(&format!(
            "note: {} is left out, since no trained prompts were given for it (`{option} FILE`)",
            id.title()
        ));
    }
    methods
}

/// What decides speed and patience on a device.
pub fn loop_config(args: &ModelArgs, strict: bool, device: &Device) -> LoopConfig {
    let default = LoopConfig::for_device(device);
    let loader_threads = args.loader_threads.unwrap_or(default.loader_threads);
    LoopConfig { loader_threads, strict, ..default }
}

impl Model {
    /// Loads the given weights, or the demo's, into towers of some precision.
    pub fn load(args: &ModelArgs, precision: Precision) -> anyhow::Result<Self> {
        // First, since what is missing for a GPU should not wait for weights to be read.
        let compute = backend::resolve(args.chosen())?;
        check_precision(&compute, precision)?;
        let loading = Phase::start("loading the model");
        let options = load_options(args.load);
        let embedded = args.weights.is_empty();
        let (checkpoint, files) = if embedded {
            let bytes = demo::weights()?;
            let files = vec![HashedFile::embedded(demo::WEIGHTS, &bytes)];
            (Checkpoint::from_bytes(Path::new(demo::WEIGHTS), bytes, options)?, files)
        } else {
            args.weights.iter().try_for_each(|file| check_weight_file(file))?;
            let checkpoint = Checkpoint::open(&args.weights, options)?;
            checkpoint.check_vocabulary()?;
            let files = checksums(&checkpoint)?;
            (checkpoint, files)
        };
        if !embedded && checkpoint.logit_scale()?.1 == Origin::Assumed {
            output::note(
                "note: the weight files do not state the scale of the logits; 100 is assumed, as in all published models (`--logit-scale` overrides)",
            );
        }
        if !embedded && checkpoint.activation().1 == &Origin::Assumed {
            output::note(
                "note: nothing states the activation; QuickGELU is assumed, as in OpenAI's models (keep the model's configuration beside the file, or give `--activation`)",
            );
        }
        let clip = checkpoint.load(&compute.device, compute.lanes)?.with_precision(precision);
        loading.finish();
        let weights = WeightsInfo {
            files,
            activation: clip.config.activation.to_string(),
            logit_scale: clip.logit_scale,
            model: json!({
                "vision": clip.config.vision,
                "text": clip.config.text,
                "preprocessing": clip.config.preprocessing,
            }),
        };
        tracing::info!(weights = %weights.names(), config = ?clip.config, "model loaded");
        let tokenizer = Tokenizer::clip(clip.config.text.context_length);
        Ok(Self { clip, tokenizer, weights, device_name: compute.name, embedded })
    }

    /// The configured methods on this model.
    pub fn methods(&self, config: &RunConfig) -> anyhow::Result<Vec<ConfiguredMethod>> {
        let wants = |id: MethodId| config.methods.contains(&id);
        let cocoop = match &config.cocoop {
            _ if !wants(MethodId::Cocoop) => None,
            Some(file) => Some((LearnedPrompts::open(file)?, file.display().to_string())),
            None if self.embedded => Some((demo::cocoop()?, demo::COCOOP.to_owned())),
            None => None,
        };
        let maple = match &config.maple {
            _ if !wants(MethodId::Maple) => None,
            Some(file) => Some((LearnedPrompts::open(file)?, file.display().to_string())),
            None if self.embedded => Some((demo::maple()?, demo::MAPLE.to_owned())),
            None => None,
        };
        let cocoop = cocoop.map(|(prompts, file)| cocoop_prompts(prompts, &file, &self.clip));
        let maple = maple.map(|(prompts, file)| maple_prompts(prompts, &file, &self.clip));
        let prompts = TrainedPrompts {
            context: self.context(config)?,
            cocoop: cocoop.transpose()?,
            maple: maple.transpose()?,
        };
        Ok(build_methods(config, &self.clip, &self.tokenizer, &prompts)?)
    }

    /// What `context` in a row's start means.
    pub fn start(&self, config: &RunConfig) -> String {
        match &config.context {
            Some(ContextStart::File(file)) => format!("context `{}`", file.display()),
            Some(ContextStart::Words(words)) => format!("words `{words}`"),
            Some(ContextStart::Random(seed)) => format!("random context, seed {seed}"),
            None if self.embedded => "the demo's trained context".to_owned(),
            None => "words `a photo of a`".to_owned(),
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
        Ok(match &config.context {
            Some(start) => Some(StartContext::new(start, &self.clip, &self.tokenizer)?),
            None if self.embedded => {
                Some(StartContext::trained(demo::context()?, demo::CONTEXT, &self.clip)?)
            }
            None => None,
        })
    }
}

/// A device that cannot compute in a type says so, and one that is slow at it too.
pub fn check_precision(compute: &Compute, precision: Precision) -> Result<(), Explained> {
    if !compute.device.supports_dtype(precision.dtype()) {
        return Err(Explained {
            problem: format!("`{}` cannot compute with {precision}", compute.name),
            detail: "the device does not have that type of numbers".to_owned(),
            hint: "choose another with `--precision`".to_owned(),
        });
    }
    if compute.device == Device::flex() && precision != Precision::F32 {
        output::note(&format!(
            "note: the CPU is several times slower with {precision} than with f32"
        ));
    }
    Ok(())
}

fn parse_context(text: &str) -> anyhow::Result<ContextStart> {
    if let Some(words) = text.strip_prefix("words:") {
        return Ok(ContextStart::Words(words.to_owned()));
    }
    if let Some(seed) = text.strip_prefix("random:") {
        let seed = seed.parse().with_context(|| format!("`{seed}` is no seed"))?;
        return Ok(ContextStart::Random(seed));
    }
    if text == "words" {
        bail!(
            "`--context words` names no words; write them, as in `--context \"words:a photo of a\"`"
        );
    }
    Ok(ContextStart::File(Path::new(text).to_owned()))
}

/// Overrides of a weight file, as they were typed.
pub fn load_options(args: LoadArgs) -> LoadOptions {
    let activation = args.activation.map(|activation| match activation {
        ActivationArg::QuickGelu => Activation::QuickGelu,
        ActivationArg::Gelu => Activation::Gelu,
    });
    LoadOptions { activation, logit_scale: args.logit_scale }
}

/// The checksum of every file that a checkpoint's numbers are in.
pub fn checksums(checkpoint: &Checkpoint) -> anyhow::Result<Vec<HashedFile>> {
    let checksum = |file: &Path| {
        HashedFile::read(file)
            .with_context(|| format!("cannot read the weights `{}`", file.display()))
    };
    checkpoint.sources().into_iter().map(checksum).collect()
}

/// People type the names of models where files are meant.
fn check_weight_file(file: &Path) -> Result<(), Explained> {
    let name = file.display().to_string();
    if file.exists() || !name.to_ascii_lowercase().starts_with("vit-") {
        return Ok(());
    }
    Err(Explained {
        problem: format!("there is no file `{name}`"),
        detail: "`--weights` takes a file of weights, and this looks like the name of a model"
            .to_owned(),
        hint: format!(
            "`cargo xtask fetch weights {name}` in a checkout of this project fetches OpenAI's, if it is one of theirs; docs/weights.md names others"
        ),
    })
}
