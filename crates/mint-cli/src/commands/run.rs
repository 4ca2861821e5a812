//! Evaluates test sets; without any named, the demo.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mint_datasets::{FolderError, ImageSet, TestSet, open_image_folder, read_class_names};
use mint_eval::{
    Evaluation, Host, ImageOrder, Record, Row, RunConfig, RunInfo, TableStyle, Versions, table,
};

use crate::args::{Format, OrderArg, RunArgs, split_names};
use crate::demo;
use crate::model::{Model, loop_config, resolve_config};
use crate::output::{self, Explained};
use crate::progress::Progress;

/// Runs the evaluation and prints its table.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let sets = find_sets(args)?;
    let all_demo = sets.iter().all(|set| set.id.starts_with("demo-"));
    let named = args.test_sets.is_some() || !args.image_folder.is_empty();
    if !all_demo && args.model.weights.is_empty() {
        let detail = "only the embedded demo has weights of its own".to_owned();
        let hint = "give CLIP's weights with `--weights FILE` (ONNX, safetensors or PyTorch; `cargo xtask fetch weights` gets some)";
        let problem = "no weights were given".to_owned();
        bail!(Explained { problem, detail, hint: hint.to_owned() });
    }
    let start = if named { RunConfig::default() } else { demo::default_config() };
    let config = with_run_options(args, resolve_config(&args.model, start)?);
    let model = Model::load(&args.model, config.precision)?;
    let mut evaluation =
        Evaluation::new(&model.clip, &model.tokenizer, &config, model.methods(&config)?)?;
    let (record, mut rows) = open_record(args, named, &config, &model)?;

    let mut progress = Progress::new(&config.methods);
    for set in sets {
        if rows.iter().any(|row| row.test_set == set.id) {
            continue; // finished by the run that is gone on with
        }
        let settings = loop_config(&args.model, args.strict, &model.clip.device);
        rows.extend(evaluation.run(&Arc::new(set), record.as_ref(), settings, &mut progress)?);
        if let Some(record) = &record {
            record.update(&rows)?;
        }
    }
    if let Some(record) = &record {
        record.finish(&rows)?;
    }
    match args.format {
        Format::Json => output::result(&json(&rows, &config, &model)?),
        Format::Markdown => output::result(&table(&rows, TableStyle::Markdown)),
        Format::Text => {
            output::result(&headline(named, &config, &model));
            output::result(&table(&rows, TableStyle::Text));
        }
    }
    if progress.unreadable > 0 {
        output::note(&format!("{} images could not be read", progress.unreadable));
    }
    if let Some(record) = &record {
        output::note(&format!("record: `{}`", record.folder().display()));
    }
    Ok(())
}

/// The sets that were asked for; without any, all of the demo's.
fn find_sets(args: &RunArgs) -> anyhow::Result<Vec<ImageSet>> {
    let mut sets = Vec::new();
    let named = args.test_sets.as_deref().map(split_names).unwrap_or_default();
    if named.is_empty() && args.image_folder.is_empty() {
        for name in demo::set_names() {
            sets.extend(demo::find_set(&name).transpose()?);
        }
        return Ok(sets);
    }
    // All names first: a misspelt one should not wait for the files of the others.
    let named: Vec<Named> = named.into_iter().map(parse_set).collect::<anyhow::Result<_>>()?;
    for name in named {
        sets.push(match name {
            Named::Demo(set) => *set,
            Named::Published(set) => find_test_set(set, &args.data)?,
        });
    }
    for folder in &args.image_folder {
        let names = args.class_names.as_deref().map(read_class_names).transpose()?;
        let set = open_image_folder(folder, names);
        sets.push(set.context("the image folder cannot be used")?);
    }
    Ok(sets)
}

/// A test set that was named on the command line.
enum Named {
    Demo(Box<ImageSet>),
    Published(TestSet),
}

fn parse_set(name: &str) -> anyhow::Result<Named> {
    if let Some(set) = demo::find_set(name) {
        return Ok(Named::Demo(Box::new(set?)));
    }
    name.parse::<TestSet>().map(Named::Published).map_err(|_| {
        let known = TestSet::ALL.map(|set| format!("{} ({})", set.id(), set.title()));
        let detail = format!("known are {}, {}", known.join(", "), demo::set_names().join(", "));
        let problem = format!("`{name}` is not a known test set");
        let hint = "`--image-folder DIR` evaluates on any folder of class folders".to_owned();
        Explained { problem, detail, hint }.into()
    })
}

fn find_test_set(set: TestSet, data: &Path) -> anyhow::Result<ImageSet> {
    set.find(data).map_err(|error| match error {
        FolderError::NotFound { title, example, places } => {
            let places: Vec<String> =
                places.iter().map(|place| format!("`{}`", place.display())).collect();
            Explained {
                problem: format!("{title} was not found"),
                detail: format!(
                    "looked for class folders such as `{example}` in {}",
                    places.join(", ")
                ),
                hint: format!(
                    "get it from {}, unpack it, and name the folder around it with `--data DIR`",
                    set.origin()
                ),
            }
            .into()
        }
        other => anyhow::Error::new(other),
    })
}

fn with_run_options(args: &RunArgs, mut config: RunConfig) -> RunConfig {
    config.limit = args.limit.or(config.limit);
    config.shard = args.shard.or(config.shard);
    config.order = match args.order {
        None => config.order,
        Some(OrderArg::File) => ImageOrder::File,
        Some(OrderArg::Shuffled) => ImageOrder::Shuffled,
    };
    config
}

/// A record where one was asked for, or where test sets were, and the rows that it already has.
fn open_record(
    args: &RunArgs,
    named: bool,
    config: &RunConfig,
    model: &Model,
) -> anyhow::Result<(Option<Record>, Vec<Row>)> {
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None if named => next_free_folder(Path::new("runs")),
        None => return Ok((None, Vec::new())),
    };
    let info = RunInfo {
        config: serde_json::to_value(config)?,
        seed: config.seed,
        weights: model.weights.clone(),
        versions: Versions::default(),
        host: Host::current(),
        device: model.device_name.clone(),
    };
    if args.resume {
        let (record, rows) = Record::resume(&folder, info)?;
        return Ok((Some(record), rows));
    }
    Ok((Some(Record::create(&folder, info)?), Vec::new()))
}

fn next_free_folder(parent: &Path) -> PathBuf {
    let folders = (1..).map(|number| parent.join(format!("{number:04}")));
    folders.into_iter().find(|folder| !folder.exists()).expect("numbers do not run out")
}

/// What was run, for readers of the table.
fn headline(named: bool, config: &RunConfig, model: &Model) -> String {
    let what = if named {
        format!("weights `{}`", model.weights.names())
    } else {
        let limit = config.limit.map_or("all".to_owned(), |limit| limit.to_string());
        format!(
            "embedded demo: {limit} images a set, {} views (`--limit` and `--views` choose others)\n{}",
            config.views,
            demo::description()
        )
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
