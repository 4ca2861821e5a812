//! Classifies pictures with class names of the user's.

mod calibrate;
mod classes;
mod explain;
mod inputs;
mod limits;
mod output;
mod prediction;
mod results;
mod told;

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, bail};
use mint_eval::{
    Album, Basis, CachePrecision, ConfiguredMethod, EmbeddingCache, Export, FileIndex,
    FittedAnswers, KeptPictures, LoadError, Loaded, MethodId, PictureRun, PictureSettings,
    RunConfig, Session, Start, TextCache, Versions,
};
use mint_tuner::{ClassSet, TEMPLATE};

use self::calibrate::Examples;
use self::classes::Classes;
use self::explain::Explanations;
use self::inputs::Inputs;
use self::limits::Limits;
use self::output::Form;
use self::results::Results;
use self::told::Told;
use crate::args::{OpenWorldArgs, PredictArgs, PredictFormat, TextsArg};
use crate::demo;
use crate::interrupt::{Interrupt, Stopped};
use crate::model::Model;
use crate::model_source::ModelSource;
use crate::output::{counted, note, result, shown};
use crate::progress::{Phase, PictureProgress};
use crate::settings::{loop_config, resolve_config, with_texts};

/// Classifies the pictures one after the other and writes the best classes of each.
///
/// A picture that cannot be read is named, and the others are classified all the same.
pub fn run(args: &PredictArgs) -> anyhow::Result<()> {
    check_places(args)?;
    results::check(args)?;
    args.explain.as_deref().map(explain::check).transpose()?;
    let classes = Classes::read(&args.classes)?;
    let class_names = &classes.given.names;
    let mut config = configured(args, &classes)?;
    let none = &args.open_world.none;
    let mut limits = Limits::typed(&args.open_world, &config)?;
    if args.memory.is_some() {
        Album::check(&config)?;
    }
    let calibrate = args.open_world.calibrate.as_deref();
    let examples =
        calibrate.map(|path| Examples::find(path, class_names, &args.open_world.none_folder));
    let examples = examples.transpose()?;
    let inputs = match &args.paths[..] {
        [] => Inputs::default(),
        paths => Inputs::find(paths)?,
    };
    let missing = inputs.missing;
    let set = Arc::new(inputs.into_set(class_names.clone()));
    let source = ModelSource::of(&args.model);
    let is_demo = source.is_demo();
    if is_demo {
        note(
            "warning: without `--weights` the demo's tiny model is used, which knows pictograms only",
        );
    }
    let prompts = source.trained_files(&config)?;
    let files = open_files(args)?;
    let model = match &files {
        // Where all embeddings are kept, no tower is needed.
        Some(files) if config.methods.iter().all(|&id| has_fixed_texts_alone(id)) => {
            Model::open(source, &args.model, config.precision, files.clone())?
        }
        _ => Model::load(source, &args.model, config.precision)?,
    };
    let mut methods = model.methods(&config)?;
    let template = config.template.clone();
    let template = template.as_deref().unwrap_or(TEMPLATE);
    let explained = |error| classes.explained(error, &model.tokenizer, template);
    model.prove_device(&config, class_names, template).map_err(explained)?;
    let cache = open_cache(args, &mut config, &model, &methods);

    let texts = Phase::start(format!("texts of the {} classes", class_names.len()));
    let class_set = ClassSet::new(&model.clip, &model.tokenizer, class_names);
    let class_set = match &cache {
        Some(cache) => {
            class_set.with_kept_texts(Rc::new(TextCache::open(cache, &model.clip.device)?))
        }
        None => class_set,
    };
    // Pictures to calibrate on are a stream of their own where there are no others.
    let expected = examples.as_ref().filter(|_| args.paths.is_empty()).map(Examples::len);
    let class_set = class_set.with_image_count(expected.unwrap_or(set.images.len()));
    let class_set = class_set.with_none(none).context("a text of `--none` cannot be used")?;
    let session = Session::of_classes(class_set, &mut methods, &config);
    let mut session = session.map_err(|error| explained(error.into()))?;
    texts.finish();
    let kept = match (&cache, files) {
        (Some(cache), Some(files)) => {
            Some(KeptPictures::open(cache, files, &session, config.seed)?)
        }
        _ => None,
    };

    let basis = Basis {
        weights: model.weights.clone(),
        prompts,
        classes: class_names.clone(),
        none: none.clone(),
        config: config.clone(),
        versions: Versions::default(),
        device: model.device_name.clone(),
    };
    let with_pictures = is_demo || args.explain.is_some();
    let loop_settings = loop_config(&args.model, false, &model.clip.device);
    let mut problems = Vec::new();
    let fitted = match (&examples, &args.open_world.calibration) {
        (Some(examples), file) => {
            let (kept, settings) = (kept.clone(), loop_settings);
            let settings = PictureSettings { config: &config, settings, kept, with_pictures };
            let usable =
                |path: &Path, loaded| if is_demo { pictogram(path, loaded) } else { Ok(loaded) };
            let (fitted, left_out) =
                examples.fit(&mut session, basis.clone(), &settings, usable)?;
            if left_out > 0 {
                let pictures = counted(left_out, "picture");
                problems.push(format!("{pictures} could not be used for the calibration"));
            }
            file.as_ref().map(|file| fitted.write(file)).transpose()?;
            let report = calibrate::report(&fitted);
            match args.format() {
                // Standard output is for the answers.
                _ if !args.paths.is_empty() => note(&report),
                PredictFormat::Text | PredictFormat::Csv => result(&report),
                PredictFormat::Json | PredictFormat::Jsonl => {
                    result(&serde_json::to_string(&fitted)?)
                }
            }
            Some(fitted)
        }
        (None, Some(file)) => Some(FittedAnswers::read(file, &basis)?),
        (None, None) => None,
    };
    if let Some(fitted) = &fitted {
        limits.take(fitted, &mut config);
    }
    if args.paths.is_empty() {
        return if problems.is_empty() { Ok(()) } else { bail!(problems.join("; ")) };
    }
    let config = &config;
    let mut album = match &args.memory {
        None => None,
        Some(file) => {
            let (methods, device) = (session.methods_mut(), &model.clip.device);
            let album = Album::open(file, basis.clone(), methods, device, args.resume)?;
            tell_of(&album, &model.device_name);
            Some(album)
        }
    };
    let seen_before = album.as_ref().map_or(0, Album::seen);
    let form = Form {
        limits: &limits,
        none,
        format: args.format(),
        class_names,
        top: args.top.get().min(class_names.len()),
        methods: &config.methods,
    };
    let mut results = Results::open(args, form, &basis, album.as_ref().map(Album::seen))?;
    if let Some(album) = &mut album {
        // So that there is one to go on with, however this run ends.
        album.save(session.methods_mut(), seen_before)?;
    }
    let is_left = |&index: &usize| !results.has(&set.images[index].path);
    let left: Vec<usize> = (0..set.images.len()).filter(is_left).collect();
    let is_quiet = args.output.is_none() && stdout().is_terminal();
    let progress = PictureProgress::start(left.len(), is_quiet);
    let mut told = Told::new(&set, config, results, progress);

    let export = match &args.export {
        None => None,
        Some(folder) => Some(begin_export(folder, &mut session, &model, config)?),
    };
    let explanations = args.explain.as_ref();
    let explanations = explanations
        .map(|file| Explanations::begin(file, &model, session.classes(), config, &limits));
    let mut explanations = explanations.transpose()?;
    let settings =
        PictureSettings { config, settings: loop_settings, kept: kept.clone(), with_pictures };
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let loader = settings.loader(set.clone(), &session, left);
    let mut run = PictureRun::new(&mut session, &settings);
    for (index, loaded) in loader {
        if interrupt.signal().is_some() {
            break;
        }
        let path = &set.images[index].path;
        let loaded = match loaded {
            Ok(loaded) if is_demo => pictogram(path, loaded),
            loaded => loaded,
        };
        let page = explanations.as_mut().filter(|_| loaded.is_ok());
        let page = page.and_then(Explanations::for_next);
        match loaded {
            // Whoever looks at a picture on its own.
            Ok(loaded) if export.is_some() || page.is_some() => {
                for classified in run.flush()? {
                    told.add(classified.index, classified.outcomes)?;
                }
                model.clip.image.ensure()?;
                let picture = page.is_some().then(|| loaded.picture().cloned()).flatten();
                let views = loaded.into_views().context("a cache has no views")?;
                if let Some(export) = &export {
                    export.image(index, &views)?;
                }
                let outcomes = match (page, &picture) {
                    (Some(page), Some(picture)) => {
                        page.classify(run.session(), path, picture, views)
                    }
                    _ => run.session().classify_views(views),
                };
                told.add(index, Ok(outcomes))?;
            }
            loaded => {
                for classified in run.accept(index, loaded)? {
                    told.add(classified.index, classified.outcomes)?;
                }
            }
        }
        if let Some(album) = album.as_mut().filter(|album| album.is_due()) {
            for classified in run.flush()? {
                told.add(classified.index, classified.outcomes)?;
            }
            album.save(run.session().methods_mut(), seen_before + told.done())?;
        }
    }
    for classified in run.flush()? {
        told.add(classified.index, classified.outcomes)?;
    }
    let (failed, done) = told.finish()?;
    if let Some(album) = &mut album {
        album.save(session.methods_mut(), seen_before + done)?;
    }
    explanations.map(Explanations::finish).transpose()?;
    warn_of_cache(kept.as_ref());
    if let Some(signal) = interrupt.signal() {
        let what = format!("stopped after {done} of {}", set.title);
        let is_forgotten = args.memory.is_none() && !config.remembering().is_empty();
        let can_go_on = args.output.is_some() && results::can_go_on(args.format()) && !is_forgotten;
        let hint = can_go_on.then(|| "the same command with `--resume` goes on".to_owned());
        return Err(Stopped { signal, what, hint }.into());
    }
    if failed > 0 {
        problems.push(format!("{failed} of {} could not be classified", set.title));
    }
    if missing > 0 {
        problems
            .push(format!("{} could not be found or read", counted(missing, "folder or pattern")));
    }
    if !problems.is_empty() {
        bail!(problems.join("; "));
    }
    Ok(())
}

/// Refuses two files in one place, of which one would be lost.
fn check_places(args: &PredictArgs) -> anyhow::Result<()> {
    let OpenWorldArgs { calibrate, calibration, .. } = &args.open_world;
    let written = [
        ("`--output`", args.output.clone()),
        ("`--output`", args.output.as_deref().map(results::header_path)),
        ("`--explain`", args.explain.clone()),
        ("`--memory`", args.memory.clone()),
        ("`--calibration`", calibration.clone().filter(|_| calibrate.is_some())),
    ];
    let read = [
        ("`--classes`", Some(PathBuf::from(&args.classes))),
        ("`--calibration`", calibration.clone().filter(|_| calibrate.is_none())),
        ("`--calibrate`", calibrate.clone()),
        ("`--config`", args.model.config.clone()),
    ];
    let weights = args.model.weights.iter().map(|file| ("`--weights`", file.clone()));
    let pictures = args.paths.iter().map(|path| ("the pictures", path.clone()));
    let present = |(what, path): (&'static str, Option<PathBuf>)| Some((what, path?));
    let written: Vec<(&str, PathBuf)> = written.into_iter().filter_map(present).collect();
    let read = read.into_iter().filter_map(present).chain(weights).chain(pictures);
    let others: Vec<(&str, PathBuf)> = read.filter(|(_, path)| path.is_file()).collect();
    let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    for (number, (option, path)) in written.iter().enumerate() {
        let is_same = |(_, other): &&(&str, PathBuf)| {
            place(path).is_some_and(|it| place(other).is_some_and(|other| it == other))
        };
        let mut all = written[..number].iter().chain(&others);
        if let Some((other, _)) = all.find(is_same).filter(|_| path.is_file() || !path.exists()) {
            bail!("`{}` cannot be for {option} and for {other}; name another file", shown(path));
        }
    }
    Ok(())
}

/// Every setting, from what was typed.
fn configured(args: &PredictArgs, classes: &Classes) -> anyhow::Result<RunConfig> {
    // What a method that remembers says of a picture depends on the pictures before it.
    let methods = vec![MethodId::Clip];
    let start = RunConfig { methods, exif_orientation: true, ..RunConfig::default() };
    let mut config = resolve_config(&args.model, start)?;
    if config.fit_temperature.is_some() {
        bail!(
            "`fit-temperature` needs images whose classes are known; `predict` takes `temperature`"
        );
    }
    let has_fixed_texts = config.methods.iter().any(|method| method.texts().is_some());
    let mut texts = args.texts.clone();
    if let Some(file) = &classes.texts {
        if texts.class_texts.is_some() || texts.texts.is_some() || args.template.is_some() {
            bail!(
                "`--classes {}` has the texts of each class already; leave `--class-texts`, `--texts` and `--template` out, or give names alone",
                shown(file)
            );
        }
        texts.class_texts = Some(file.clone()).filter(|_| has_fixed_texts);
        if !has_fixed_texts {
            note(
                "note: the names of the classes are used, and not their texts: no method that runs has fixed texts",
            );
        }
    }
    if let Some(template) = &args.template {
        if !has_fixed_texts {
            bail!("`--template` is for methods with fixed texts, and none of those that run has");
        }
        match texts.texts {
            None if texts.class_texts.is_none() => texts.texts = Some(TextsArg::SetTemplate),
            Some(TextsArg::SetTemplate) => {}
            _ => bail!(
                "`--template` takes the place of `--texts` and `--class-texts`; give one of them"
            ),
        }
        config.template = Some(template.clone());
    }
    let config = with_texts(&texts, config)?;
    config.check()?;
    let remembering = config.remembering();
    if let (true, None, [method, ..]) = (args.resume, &args.memory, &remembering[..]) {
        bail!(
            "`--resume`: {} remembers the pictures before, which are kept with `--memory` only; run it in one go, or use a method that does not remember",
            method.title()
        );
    }
    Ok(config)
}

/// Whether a method compares embeddings with fixed texts and does nothing else with the model before
/// the first picture.
fn has_fixed_texts_alone(method: MethodId) -> bool {
    method.texts().is_some() && method != MethodId::Sar
}

/// What is known of files, if there is a cache.
fn open_files(args: &PredictArgs) -> anyhow::Result<Option<Arc<FileIndex>>> {
    let Some(folder) = &args.cache else { return Ok(None) };
    let files = FileIndex::open(folder)
        .with_context(|| format!("cannot read the cache `{}`", shown(folder)))?;
    Ok(Some(Arc::new(files)))
}

/// The cache, for methods that need no pixels; its precision goes into the configuration.
fn open_cache(
    args: &PredictArgs,
    config: &mut RunConfig,
    model: &Model,
    methods: &[ConfiguredMethod],
) -> Option<EmbeddingCache> {
    config.cache = None;
    let folder = args.cache.as_ref()?;
    let needs_pixels = |method: &&ConfiguredMethod| method.method.needs_pixels();
    let with_pixels: Vec<&str> =
        methods.iter().filter(needs_pixels).map(|method| method.id.name()).collect();
    let reason = match (&with_pixels[..], &args.export, &args.explain) {
        ([], None, None) => None,
        ([], Some(_), _) => Some("`--export` writes views".to_owned()),
        ([], _, Some(_)) => Some("`--explain` shows views".to_owned()),
        (names, ..) => Some(format!("pixels are needed by {}", names.join(", "))),
    };
    if let Some(reason) = reason {
        note(&format!("note: the cache is not used, since {reason}"));
        return None;
    }
    let precision = args.cache_precision.map_or(CachePrecision::F32, CachePrecision::from);
    config.cache = Some(precision);
    let kind = model.device_kind();
    let cache = EmbeddingCache::new(folder, &model.weights, config.precision, &kind, precision);
    Some(cache.with_orientation(config.orientation()))
}

/// What was wrong with the cache, which makes no result wrong.
fn warn_of_cache(kept: Option<&KeptPictures>) {
    let Some(kept) = kept else { return };
    if kept.damaged() > 0 {
        let damaged = counted(kept.damaged(), "damaged entry");
        note(&format!(
            "warning: the cache has {damaged}; `mint-cli cache prune --damaged` mends it"
        ));
    }
    if let Some(reason) = kept.write_error() {
        note(&format!("warning: embeddings are no longer kept: {reason}"));
    }
}

/// Refuses what the demo's model knows nothing of.
fn pictogram(path: &Path, loaded: Loaded) -> Result<Loaded, LoadError> {
    if let Some(picture) = loaded.picture() {
        demo::check_pictogram(path, picture)
            .map_err(|refused| LoadError::Refused(refused.into()))?;
    }
    Ok(loaded)
}

/// Says that methods go on from what they remember.
fn tell_of(album: &Album, device: &str) {
    let pictures = album.begun() + album.seen();
    if pictures > 0 {
        note(&format!("note: going on from the memory of {}", counted(pictures as u64, "picture")));
    }
    if let Some(other) = album.other_device() {
        note(&format!(
            "warning: the memory is from `{other}` and goes on on `{device}`, which rounds differently"
        ));
    }
}

/// Begins to write what methods start from.
fn begin_export(
    folder: &Path,
    session: &mut Session<'_>,
    model: &Model,
    config: &RunConfig,
) -> anyhow::Result<Export> {
    let mint = session.methods_mut().iter_mut().find(|method| method.id == MethodId::Mint);
    let memory = mint.and_then(|mint| mint.method.remembers());
    let memory = memory.map(|memory| memory.save()).transpose()?;
    let start = Start {
        clip: &model.clip,
        tokenizer: &model.tokenizer,
        class_names: session.classes().names(),
        context: model.start_context(config)?.context,
        memory: memory.as_ref(),
    };
    Ok(Export::create(folder, &start)?)
}
