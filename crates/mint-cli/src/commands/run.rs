//! Evaluates test sets; without any named, the demo.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;
use mint_datasets::ImageSet;
use mint_device::Explained;
use mint_eval::{
    Arguments, CachePrecision, ConfiguredMethod, EarlierRun, EmbeddingCache, EvalError, Evaluation,
    Host, Meter, MethodId, Record, Row, RunConfig, RunInfo, Stages, TestSetInfo, Versions,
};
use mint_report::{TableStyle, table};
use mint_tuner::TEMPLATE;

use crate::args::{RunArgs, TableFormat};
use crate::demo;
use crate::interrupt::{Interrupt, Stopped};
use crate::model::Model;
use crate::model_source::ModelSource;
use crate::output;
use crate::progress::Progress;
use crate::settings::{full, loop_config, resolve_config, with_texts};
use crate::test_sets::{self, is_demo};

/// Runs the evaluation and prints its table.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let meter = Meter::start();
    let earlier = match &args.output {
        Some(folder) if args.resume || (args.begin_or_resume && EarlierRun::is_in(folder)) => {
            Some(EarlierRun::open(folder)?)
        }
        _ => None,
    };
    let args = &match &earlier {
        Some(earlier) => Cow::Owned(completed(args, earlier.info())?),
        None => Cow::Borrowed(args),
    };
    let mut sets = find_sets(args)?;
    let source = ModelSource::of(&args.model);
    let all_demo = sets.iter().all(is_demo);
    if !all_demo && source.is_demo() {
        let detail = "only the embedded demo has weights of its own".to_owned();
        let hint = "give CLIP's weights with `--weights FILE` (ONNX, safetensors or PyTorch; `cargo xtask fetch weights` gets some)";
        let problem = "no weights were given".to_owned();
        bail!(Explained { problem, detail, hint: hint.to_owned() });
    }
    let start = match &earlier {
        Some(earlier) => earlier.info().config.clone(),
        None if all_demo => demo::default_config(),
        None => RunConfig::default(),
    };
    let mut config = with_run_options(args, resolve_config(&args.model, start)?)?;
    if config.official_food101 {
        let sets_of = sets.into_iter().map(ImageSet::with_official_food101);
        sets = sets_of.collect::<Result<_, _>>()?;
    }
    let mut images = 0;
    for set in &sets {
        images += Evaluation::select(&config, set)?.len();
    }
    let prompts = source.trained_files(&config)?;
    let loading = Instant::now();
    let model = Model::load(source, &args.model, config.precision)?;
    let loading = loading.elapsed().as_secs_f64();
    let methods = model.methods(&config)?;
    for set in &sets {
        let template = set.test_set.map_or(TEMPLATE, |test_set| test_set.template());
        model.prove_device(&config, &set.class_names, template)?;
    }
    let cache = cache(args, &mut config, &model, &methods)?;
    let mut evaluation = Evaluation::new(&model.clip, &model.tokenizer, &config, methods);
    if let Some(cache) = cache {
        evaluation = evaluation.with_cache(cache);
    }
    if config.shard.is_some() {
        warn_of_memories(&config);
    }
    let info = RunInfo {
        arguments: arguments(args)?,
        config: config.clone(),
        weights: model.weights.clone(),
        prompts,
        test_sets: sets.iter().map(TestSetInfo::new).collect(),
        versions: Versions::default(),
        host: Host::current(),
        device: model.device_name.clone(),
    };
    let (record, mut rows) = open_record(args, all_demo, earlier, info)?;

    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let mut progress = Progress::new(&config.methods, images, interrupt.clone());
    let usage = |evaluation: &Evaluation<'_>, progress: &Progress| {
        let stages = Stages { model: loading, ..evaluation.stages() };
        meter.usage(&model.device_name, progress.done() as u64, stages)
    };
    let mut unreadable = Vec::new();
    for set in sets {
        if rows.iter().any(|row| row.test_set == set.id) {
            progress.skip(evaluation.skip(&set)?);
            continue;
        }
        let settings = loop_config(&args.model, args.strict, &model.clip.device);
        let title = set.title.clone();
        let of_set = evaluation.run(&Arc::new(set), record.as_ref(), settings, &mut progress);
        let of_set = match (of_set, interrupt.signal()) {
            (Ok(rows), _) => rows,
            (Err(error @ EvalError::Stopped { .. }), Some(signal)) => {
                if let Some(record) = &record {
                    record.update(&rows, &usage(&evaluation, &progress))?;
                }
                let hint = record.as_ref().map(|record| {
                    format!(
                        "resume it with `mint-cli --resume --output {}`",
                        record.folder().display()
                    )
                });
                let what = match hint {
                    Some(_) => error.to_string(),
                    None => format!("{error}; nothing is recorded without `--output`"),
                };
                return Err(Stopped { signal, what, hint }.into());
            }
            (Err(error), _) => return Err(error.into()),
        };
        if of_set.iter().all(|row| row.images == 0) {
            unreadable.push(format!("no image of {title} could be read"));
            continue; // there is no accuracy to speak of
        }
        rows.extend(of_set);
        if let Some(record) = &record {
            record.update(&rows, &usage(&evaluation, &progress))?;
        }
    }
    if let Some(record) = record.as_ref().filter(|_| unreadable.is_empty()) {
        record.finish(&rows, &usage(&evaluation, &progress))?;
    }
    if !rows.is_empty() {
        print(&rows, args, all_demo, &config, &model)?;
    }
    if let Some(record) = &record {
        output::note(&format!("record: `{}`", record.folder().display()));
    }
    let some: u64 = of_each_set(&rows).map(|row| row.unreadable).sum();
    if some > 0 {
        let images = output::counted(some, "image");
        unreadable.push(format!("{images} could not be read and took no part in the percentages"));
    }
    if !unreadable.is_empty() {
        bail!(unreadable.join("; "));
    }
    Ok(())
}

/// The cache that was asked for; whether embeddings are read from it goes into the configuration.
fn cache(
    args: &RunArgs,
    config: &mut RunConfig,
    model: &Model,
    methods: &[ConfiguredMethod],
) -> anyhow::Result<Option<EmbeddingCache>> {
    let Some(folder) = &args.cache else {
        config.cache = None;
        return Ok(None);
    };
    let typed = args.cache_precision.map(CachePrecision::from);
    let precision = typed.or(config.cache).unwrap_or_default();
    let needs_pixels = |method: &&ConfiguredMethod| method.method.needs_pixels();
    let with_pixels: Vec<&str> =
        methods.iter().filter(needs_pixels).map(|method| method.id.name()).collect();
    config.cache = with_pixels.is_empty().then_some(precision);
    if !with_pixels.is_empty() {
        output::note(&format!(
            "note: the cache is only added to, since pixels are needed by {}",
            with_pixels.join(", ")
        ));
    }
    let kind = model.device_kind();
    let cache = EmbeddingCache::new(folder, &model.weights, config.precision, &kind, precision);
    Ok(Some(cache.with_orientation(config.orientation())))
}

/// What a method remembers of its own part of the images is not what it would remember of all.
fn warn_of_memories(config: &RunConfig) {
    let remembering: Vec<&str> = config.remembering().into_iter().map(MethodId::title).collect();
    if !remembering.is_empty() {
        output::note(&format!(
            "warning: {} will remember the images of this part only: the parts of a set together are another experiment than one run over it",
            remembering.join(", ")
        ));
    }
}

/// One row of each test set.
fn of_each_set(rows: &[Row]) -> impl Iterator<Item = &Row> {
    let is_first = |&(index, row): &(usize, &Row)| {
        rows[..index].iter().all(|earlier| earlier.test_set != row.test_set)
    };
    rows.iter().enumerate().filter(is_first).map(|(_, row)| row)
}

fn print(
    rows: &[Row],
    args: &RunArgs,
    all_demo: bool,
    config: &RunConfig,
    model: &Model,
) -> anyhow::Result<()> {
    let style = match args.format {
        TableFormat::Json => {
            output::result(&json(rows, config, model)?);
            return Ok(());
        }
        TableFormat::Markdown => TableStyle::Markdown,
        TableFormat::Text => TableStyle::Text,
        TableFormat::Long => TableStyle::Long,
    };
    if style != TableStyle::Markdown {
        output::result(&headline(all_demo, config, model));
    }
    output::result(&table(rows, style));
    if style == TableStyle::Text && of_each_set(rows).count() > 1 {
        output::note("intervals, calibration and times: `--format long`");
    }
    Ok(())
}

fn find_sets(args: &RunArgs) -> anyhow::Result<Vec<ImageSet>> {
    test_sets::find(&test_sets::Typed {
        test_sets: args.test_sets.as_deref(),
        image_folders: &args.image_folder,
        image_lists: &args.image_list,
        class_names: args.class_names.as_deref(),
        data: &data_folder(args),
    })
}

/// What was typed, what the environment says, or `data`.
fn data_folder(args: &RunArgs) -> PathBuf {
    let from_environment = || std::env::var_os("MINT_DATA").map(PathBuf::from);
    args.data.clone().or_else(from_environment).unwrap_or_else(|| "data".into())
}

/// What was typed, for the record.
fn arguments(args: &RunArgs) -> anyhow::Result<Arguments> {
    let all = |paths: &[PathBuf]| paths.iter().map(|path| full(path)).collect::<Result<_, _>>();
    Ok(Arguments {
        test_sets: args.test_sets.clone(),
        image_folders: all(&args.image_folder)?,
        image_lists: all(&args.image_list)?,
        class_names: args.class_names.as_deref().map(full).transpose()?,
        data: full(&data_folder(args))?,
        weights: all(&args.model.weights)?,
        activation: args.model.load.activation.as_ref().map(name),
        logit_scale: args.model.load.logit_scale,
        backend: args.model.backend.as_ref().map(name),
        cache: args.cache.as_deref().map(full).transpose()?,
    })
}

/// What was typed, completed by what was typed when the run began. The configuration is not
/// completed here: it starts from the recorded one.
fn completed(args: &RunArgs, earlier: &RunInfo) -> anyhow::Result<RunArgs> {
    let Arguments { test_sets, image_folders, image_lists, class_names, data, .. } =
        &earlier.arguments;
    let mut args = args.clone();
    if args.test_sets.is_none() && args.image_folder.is_empty() && args.image_list.is_empty() {
        args.test_sets = test_sets.clone();
        args.image_folder = image_folders.clone();
        args.image_list = image_lists.clone();
    }
    args.class_names = args.class_names.or_else(|| class_names.clone());
    args.data = args.data.or_else(|| Some(data.clone()));
    args.cache = args.cache.or_else(|| earlier.arguments.cache.clone());
    let Arguments { weights, activation, logit_scale, backend, .. } = &earlier.arguments;
    if args.model.weights.is_empty() {
        args.model.weights = weights.clone();
        args.model.load.activation = match (args.model.load.activation, activation) {
            (None, Some(name)) => Some(typed(name)?),
            (typed, _) => typed,
        };
        args.model.load.logit_scale = args.model.load.logit_scale.or(*logit_scale);
    }
    if let (None, Some(name)) = (args.model.backend, backend) {
        args.model.backend = Some(typed(name)?);
    }
    Ok(args)
}

/// The name of an option's value on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn typed<T: ValueEnum>(name: &str) -> anyhow::Result<T> {
    T::from_str(name, true).map_err(|error| anyhow::anyhow!("the record has `{name}`: {error}"))
}

fn with_run_options(args: &RunArgs, mut config: RunConfig) -> anyhow::Result<RunConfig> {
    config.limit = args.limit.or(config.limit);
    config.shard = args.shard.or(config.shard);
    config.order = args.order.unwrap_or(config.order);
    config.augmix = args.augmix.map_or(config.augmix, Into::into);
    config.fit_temperature = args.fit_temperature.or(config.fit_temperature);
    config.official_food101 |= args.official_food101;
    let config = with_texts(&args.texts, config)?;
    config.check()?;
    Ok(config)
}

/// A record where one was asked for, and always but for the demo; and the rows that it already has.
fn open_record(
    args: &RunArgs,
    all_demo: bool,
    earlier: Option<EarlierRun>,
    info: RunInfo,
) -> anyhow::Result<(Option<Record>, Vec<Row>)> {
    if let Some(earlier) = earlier {
        let begun_on = earlier.info().device.clone();
        let (record, rows) = earlier.resume(&info)?;
        if begun_on != info.device {
            output::note(&format!(
                "warning: the run was begun on `{begun_on}` and continues on `{}`, which rounds differently",
                info.device
            ));
        }
        return Ok((Some(record), rows));
    }
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None if all_demo => return Ok((None, Vec::new())),
        None => Record::claim_folder(Path::new("runs"))?,
    };
    Ok((Some(Record::create(&folder, info)?), Vec::new()))
}

/// What was run, for readers of the table.
fn headline(all_demo: bool, config: &RunConfig, model: &Model) -> String {
    let what = if all_demo {
        let limit = config.limit.map_or("all".to_owned(), |limit| limit.to_string());
        format!(
            "embedded demo: {limit} images per set, {} views (`--limit` and `--views` choose others)\n{}",
            config.views,
            demo::description()
        )
    } else {
        format!("weights `{}`", model.weights.names())
    };
    let start = model.start(config);
    format!("{what}\nseed {}; `context` in the column `start` is {start}\n", config.seed)
}

fn json(rows: &[Row], config: &RunConfig, model: &Model) -> anyhow::Result<String> {
    let value = serde_json::json!({
        "rows": rows,
        "start": model.start(config),
        "weights": model.weights,
        "config": config,
        "versions": Versions::default(),
    });
    Ok(serde_json::to_string_pretty(&value)?)
}
