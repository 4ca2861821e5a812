//! Inspects weight files, verifies that they are read right, and converts them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_clip::burn::tensor::Device;
use mint_clip::config::{Preprocessing, TextConfig, VisionConfig};
use mint_clip::weights::{
    Difference, LearnedPrompts, Origin, Reference, random_weights, write_new,
};
use mint_clip::{Checkpoint, Lanes, WeightsError};
use serde_json::json;

use crate::args::{Format, WeightsCommand};
use crate::model_source::Checksums;
use crate::output;

/// Runs the subcommand.
pub fn run(command: &WeightsCommand) -> anyhow::Result<()> {
    match command {
        WeightsCommand::Inspect { files, load, format } => {
            match Checkpoint::open(files, (*load).into()) {
                Ok(checkpoint) => inspect(&checkpoint, *format),
                Err(error) => inspect_prompts(files, error, *format),
            }
        }
        WeightsCommand::Verify { files, reference, tolerance, prefix, load, format } => {
            let reference = Reference::open(reference, prefix)?;
            let checkpoint = Checkpoint::open(files, (*load).into())?;
            if checkpoint.logit_scale()?.1 == Origin::Assumed && checkpoint.config().is_ok() {
                output::note(
                    "note: logits are not compared, since the files do not state their scale; give it with `--logit-scale`",
                );
            }
            let differences =
                reference.compare(&checkpoint, &Device::flex(), &Lanes::per_core())?;
            report(&differences, *tolerance, *format)
        }
        WeightsCommand::Random { model, seed, file } => {
            let bytes = random_weights(*model, *seed);
            write_new(file, |partial| std::fs::write(partial, &bytes))
                .with_context(|| format!("cannot write `{}`", file.display()))?;
            output::note(&format!("wrote `{}`", file.display()));
            Ok(())
        }
        WeightsCommand::Convert { files, load } => {
            let (target, files) = files.split_last().expect("two files are required");
            convert(&Checkpoint::open(files, (*load).into())?, target)
        }
    }
}

/// Prints what a model is; reads all of its numbers to find damaged ones.
fn inspect(checkpoint: &Checkpoint, format: Format) -> anyhow::Result<()> {
    checkpoint.examine()?;
    let dimensions = checkpoint.dimensions();
    let (activation, activation_origin) = checkpoint.activation();
    let (preprocessing, preprocessing_origin) = checkpoint.preprocessing();
    let (logit_scale, logit_scale_origin) = checkpoint.logit_scale()?;
    let types = checkpoint.number_types();
    let stored: usize = checkpoint.bytes();
    let checksums = Checksums::start(checkpoint, None).finish()?;
    if format == Format::Json {
        let types: HashMap<String, usize> =
            types.iter().map(|(number, count)| (number.to_string(), *count)).collect();
        let description = json!({
            "files": checksums,
            "format": checkpoint.files()[0].1.to_string(),
            "layout": checkpoint.layout().to_string(),
            "vision": dimensions.vision,
            "text": dimensions.text,
            "embed_dim": dimensions.embed_dim,
            "activation": activation.to_string(),
            "activation_from": origin(activation_origin),
            "preprocessing": preprocessing,
            "preprocessing_from": origin(preprocessing_origin),
            "logit_scale": logit_scale,
            "logit_scale_from": origin(&logit_scale_origin),
            "parameters": checkpoint.parameters(),
            "tensors": types,
            "bytes": stored,
        });
        output::result(&serde_json::to_string_pretty(&description)?);
        return Ok(checkpoint.check_vocabulary()?);
    }
    for file in &checksums {
        output::result(&format!("{}\n  SHA-256      {}", file.file, file.sha256));
    }
    let line = |what: &str, text: String| output::result(&format!("  {what:12} {text}"));
    line("format", checkpoint.files()[0].1.to_string());
    line("layout", checkpoint.layout().to_string());
    let none = || "none in this file".to_owned();
    line("image tower", dimensions.vision.as_ref().map_or_else(none, describe_vision));
    line("text tower", dimensions.text.as_ref().map_or_else(none, describe_text));
    line("embedding", dimensions.embed_dim.to_string());
    line("activation", format!("{activation} ({})", origin(activation_origin)));
    let Preprocessing { image_mean, image_std, resize } = preprocessing;
    let from = origin(preprocessing_origin);
    line("pictures", format!("resized by `{resize}` ({from})"));
    line("mean", format!("{image_mean:?}"));
    line("deviation", format!("{image_std:?}"));
    line("logit scale", format!("{logit_scale:.3} ({})", origin(&logit_scale_origin)));
    let types: Vec<String> =
        types.iter().map(|(number, count)| format!("{count} tensors of {number}")).collect();
    line("parameters", format!("{}, in {}", checkpoint.parameters(), types.join(", ")));
    let megabytes = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
    let kept = megabytes(4 * checkpoint.parameters());
    let reads = format!("reads {}, keeps {kept} in single precision", megabytes(stored));
    let towers = match checkpoint.config() {
        Ok(_) if checkpoint.check_vocabulary().is_err() => {
            "both towers, but not for CLIP's tokenizer".to_owned()
        }
        Ok(_) => "both towers, every tensor fits, every number is finite".to_owned(),
        Err(_) => "one tower only: give the file of the other one as well".to_owned(),
    };
    line("load", format!("{reads}; {towers}"));
    Ok(checkpoint.check_vocabulary()?)
}

/// Prints what a checkpoint of learned prompts holds; `error` is why it is not a model.
fn inspect_prompts(files: &[PathBuf], error: WeightsError, format: Format) -> anyhow::Result<()> {
    let [file] = files else { return Err(error.into()) };
    let Ok(prompts) = LearnedPrompts::open(file) else { return Err(error.into()) };
    let LearnedPrompts { context, meta_net, maple } = prompts;
    let method = match (&meta_net, &maple) {
        (Some(_), _) => "CoCoOp",
        (_, Some(_)) => "MaPLe",
        _ => "CoOp",
    };
    if format == Format::Json {
        let description = json!({
            "file": file.display().to_string(),
            "method": method,
            "context": context.shape,
            "hidden": meta_net.as_ref().map(|net| net.first.bias.shape[0]),
            "image_width": maple.as_ref().map(|maple| maple.projection.bias.shape[0]),
            "deeper_prompts": maple.as_ref().map(|maple| maple.layers.len()),
        });
        output::result(&serde_json::to_string_pretty(&description)?);
        return Ok(());
    }
    output::result(&file.display().to_string());
    let line = |what: &str, text: String| output::result(&format!("  {what:12} {text}"));
    line("prompts of", method.to_owned());
    line("context", format!("{} vectors of width {}", context.shape[0], context.shape[1]));
    if let Some(net) = meta_net {
        line("meta net", format!("{} hidden units", net.first.bias.shape[0]));
    }
    if let Some(maple) = maple {
        let width = maple.projection.bias.shape[0];
        line("image side", format!("prompts of width {width}"));
        line("depth", format!("the input and {} blocks after the first", maple.layers.len()));
    }
    Ok(())
}

/// Prints the differences; an error if one is above the tolerance.
fn report(differences: &[Difference], tolerance: f32, format: Format) -> anyhow::Result<()> {
    let fails = |difference: &&Difference| difference.largest > tolerance;
    if format == Format::Json {
        let entry = |difference: &Difference| {
            json!({
                "output": difference.output,
                "values": difference.values,
                "largest_difference": difference.largest,
                "largest_value": difference.magnitude,
                "within_tolerance": !fails(&difference),
            })
        };
        let entries: Vec<_> = differences.iter().map(entry).collect();
        let result = json!({ "tolerance": tolerance, "outputs": entries });
        output::result(&serde_json::to_string_pretty(&result)?);
    } else {
        for difference in differences {
            output::result(&format!(
                "{}  {:28} {:7} values up to {:8.3}, largest difference {:.2e}",
                if fails(&difference) { "differs" } else { "equal  " },
                difference.output,
                difference.values,
                difference.magnitude,
                difference.largest,
            ));
        }
    }
    let failed = differences.iter().filter(fails).count();
    if failed > 0 {
        bail!("{failed} of {} outputs differ by more than {tolerance:e}", differences.len());
    }
    Ok(())
}

fn convert(checkpoint: &Checkpoint, target: &Path) -> anyhow::Result<()> {
    let sources = Checksums::start(checkpoint, None).finish()?;
    let list: Vec<&str> = sources.iter().map(|source| source.sha256.as_str()).collect();
    let metadata = HashMap::from([("source_sha256".to_owned(), list.join(" "))]);
    checkpoint.write(target, metadata)?;
    let parameters = checkpoint.parameters();
    output::result(&format!("wrote {parameters} parameters to `{}`", target.display()));
    Ok(())
}

fn describe_vision(vision: &VisionConfig) -> String {
    let &VisionConfig { image_size, patch_size, width, layers, heads, mlp_width } = vision;
    let tokens = vision.tokens();
    format!(
        "{layers} blocks of width {width}, {heads} heads, MLP {mlp_width}; {image_size}x{image_size} pixels in patches of {patch_size} ({tokens} tokens)"
    )
}

fn describe_text(text: &TextConfig) -> String {
    let &TextConfig { context_length, vocab_size, width, layers, heads, mlp_width } = text;
    format!(
        "{layers} blocks of width {width}, {heads} heads, MLP {mlp_width}; {context_length} of {vocab_size} tokens"
    )
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::File => "from the file".to_owned(),
        Origin::Beside(file) => format!("from `{}`", file.display()),
        Origin::Options => "as given".to_owned(),
        Origin::Assumed => "assumed, as in OpenAI's models: nothing says it".to_owned(),
    }
}
