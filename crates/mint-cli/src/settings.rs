//! From what was typed to a configuration.

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, bail};
use mint_clip::burn::tensor::Device;
use mint_device::{Backend, Chosen};
use mint_eval::{ContextStart, LoopConfig, MethodId, MethodTexts, RunConfig};

use crate::args::{ModelArgs, OrientationArg, TextArgs, TextsArg};
use crate::output;

/// The configuration: `start`, changed by the file, changed by the options.
pub fn resolve_config(args: &ModelArgs, start: RunConfig) -> anyhow::Result<RunConfig> {
    let mut config = match &args.config {
        None => start,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
            let wrong = || format!("the configuration `{}` is wrong", file.display());
            let mut config: RunConfig = toml::from_str(&text).with_context(wrong)?;
            // What commands have defaults of their own for.
            let stated: toml::Table = toml::from_str(&text).with_context(wrong)?;
            if !stated.contains_key("methods") {
                config.methods = start.methods;
            }
            if !stated.contains_key("exif-orientation") {
                config.exif_orientation = start.exif_orientation;
            }
            config
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
        config.ctpt.steps = steps;
        config.atpt.steps = steps;
        config.tps.steps = steps;
        config.sar.steps = steps;
    }
    config.seed = args.seed.unwrap_or(config.seed);
    config.precision = args.precision.map_or(config.precision, Into::into);
    config.exif_orientation =
        args.exif_orientation.map_or(config.exif_orientation, |typed| typed == OrientationArg::On);
    config.temperature = args.temperature.map_or(config.temperature, f64::from);
    match parse_methods(&args.method)? {
        Methods::Configured => {}
        Methods::Named(methods) => config.methods = methods,
        Methods::All => config.methods = runnable_methods(&config, args.weights.is_empty()),
    }
    config.check()?;
    Ok(config)
}

/// What was typed about the texts that images are compared with.
pub fn with_texts(args: &TextArgs, mut config: RunConfig) -> anyhow::Result<RunConfig> {
    // A file of texts is for methods to compare with, unless the configuration says which do.
    let has_place = config.uses_class_texts();
    let meant = args.class_texts.as_ref().filter(|_| !has_place).map(|_| TextsArg::ClassTexts);
    let texts = args.texts.or(meant);
    if let Some(texts) = texts {
        if args.class_texts.is_some() && !has_place && texts != TextsArg::ClassTexts {
            bail!("`--class-texts` is for `--texts class-texts`");
        }
        if !config.methods.iter().any(|method| method.texts().is_some()) {
            bail!("`--texts` is for methods with fixed texts, and none of those that run has");
        }
        config.texts = MethodTexts::all(texts.into());
    }
    let class_texts = args.class_texts.as_ref().or(config.class_texts.as_ref());
    config.class_texts = class_texts.map(|file| full(file)).transpose()?;
    let descriptors = args.descriptors.as_ref().or(config.descriptors.as_ref());
    config.descriptors = descriptors.map(|file| full(file)).transpose()?;
    Ok(config)
}

/// A record is read from another folder too.
pub fn full(file: &Path) -> anyhow::Result<PathBuf> {
    absolute(file).with_context(|| format!("`{}` has no absolute path", file.display()))
}

/// Which methods are asked for.
enum Methods {
    /// Those that the configuration names.
    Configured,
    /// Every one that has what it needs.
    All,
    /// Just these.
    Named(Vec<MethodId>),
}

/// The methods that were typed.
fn parse_methods(names: &[String]) -> anyhow::Result<Methods> {
    if names.iter().any(|name| name.trim().eq_ignore_ascii_case("all")) {
        return Ok(Methods::All);
    }
    let methods = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
    Ok(if methods.is_empty() { Methods::Configured } else { Methods::Named(methods) })
}

/// Every method that has what it needs; says which are left out. The demo has everything.
fn runnable_methods(config: &RunConfig, has_demo: bool) -> Vec<MethodId> {
    let lacking = |id: MethodId| match id {
        MethodId::Coop if config.context.is_none() => Some("--context"),
        MethodId::Cocoop if config.cocoop.is_none() => Some("--cocoop"),
        MethodId::Maple if config.maple.is_none() => Some("--maple"),
        _ => None,
    };
    let mut methods = Vec::new();
    for id in MethodId::all() {
        match lacking(id).filter(|_| !has_demo) {
            None => methods.push(id),
            Some(option) => output::note(&format!(
                "note: {} is left out, since no trained prompts were given for it (`{option} FILE`)",
                id.title()
            )),
        }
    }
    methods
}

/// What is to run the model.
pub fn chosen_device(args: &ModelArgs) -> Chosen {
    let backend = args.backend.unwrap_or(Backend::Cpu);
    Chosen { backend, gpu: args.gpu, threads: args.threads }
}

/// What decides speed and patience on a device.
pub fn loop_config(args: &ModelArgs, strict: bool, device: &Device) -> LoopConfig {
    let default = LoopConfig::for_device(device);
    let loader_threads = args.loader_threads.unwrap_or(default.loader_threads);
    LoopConfig { loader_threads, strict, ..default }
}

fn parse_context(text: &str) -> anyhow::Result<ContextStart> {
    if let Some(words) = text.strip_prefix("words:") {
        return Ok(ContextStart::Words(words.to_owned()));
    }
    if let Some(seed) = text.strip_prefix("random:") {
        let seed = seed.parse().with_context(|| format!("`{seed}` is not a valid seed"))?;
        return Ok(ContextStart::Random(seed));
    }
    if text == "words" {
        bail!(
            "`--context words` names no words; write them, as in `--context \"words:a photo of a\"`"
        );
    }
    Ok(ContextStart::File(Path::new(text).to_owned()))
}
