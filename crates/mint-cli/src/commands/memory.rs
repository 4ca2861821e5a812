//! Shows what methods remember of an album.

use std::path::Path;

use mint_eval::{AlbumMemory, Basis, Contents, Drift, Entries, MemorySummary, OfClass};
use serde_json::json;

use crate::args::{Format, MemoryCommand};
use crate::output;

/// Classes that the text shows of each list.
const SHOWN: usize = 10;
/// Width of a full bar.
const BAR: usize = 30;

/// Runs one of the commands.
pub fn run(command: &MemoryCommand) -> anyhow::Result<()> {
    match command {
        MemoryCommand::Inspect { file, format } => inspect(file, *format),
    }
}

fn inspect(file: &Path, format: Format) -> anyhow::Result<()> {
    let memory = AlbumMemory::read(file)?;
    let summaries = memory.summaries()?;
    let AlbumMemory { images, basis, .. } = &memory;
    if format == Format::Json {
        let value = json!({
            "pictures": images,
            "memories": summaries,
            "weights": basis.weights,
            "prompts": basis.prompts,
            "classes": basis.classes,
            "none": basis.none,
            "views": basis.config.views,
            "seed": basis.config.seed,
            "config": basis.config,
            "device": basis.device,
            "versions": basis.versions,
        });
        output::result(&serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let mut lines = head(*images, basis);
    for MemorySummary { method, contents } in &summaries {
        lines.push(String::new());
        lines.push(method.title().to_owned());
        lines.extend(of_contents(contents).into_iter().map(|line| format!("  {line}")));
    }
    output::result(&lines.join("\n"));
    Ok(())
}

/// What the memory is of.
fn head(images: usize, basis: &Basis) -> Vec<String> {
    let Basis { weights, classes, none, config, versions, device, .. } = basis;
    let mut lines = vec![format!("memory of {}", output::counted(images as u64, "picture"))];
    for file in &weights.files {
        lines.push(format!("weights  {} (SHA-256 {})", file.file, file.sha256));
    }
    lines.push(format!("classes  {}: {}", classes.len(), some(classes)));
    if !none.is_empty() {
        lines.push(format!("none     {}: {}", none.len(), some(none)));
    }
    lines.push(format!("views    {}, seed {}", config.views, config.seed));
    lines.push(format!("made by  version {} on {device}", versions.mint));
    lines
}

/// The first of some texts.
fn some(texts: &[String]) -> String {
    let more = if texts.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", texts[..texts.len().min(SHOWN)].join(", "))
}

fn of_contents(contents: &Contents) -> Vec<String> {
    match contents {
        Contents::Bank { slots, used, recalls, histogram, keys, prompts } => {
            let mut lines = vec![
                format!("{used} of {slots} slots were recalled, {recalls} times in all"),
                "recalls        slots".to_owned(),
            ];
            let most = histogram.iter().map(|bin| bin.slots).max().unwrap_or(0);
            lines.extend(histogram.iter().map(|bin| {
                let range = match bin.from {
                    0 => "0".to_owned(),
                    from => format!("{from} to {}", bin.to),
                };
                bar(&range, bin.slots as f64, most as f64, &bin.slots.to_string())
            }));
            lines.push(drift("keys", "slot", keys));
            lines.push(drift("prompts", "slot", prompts));
            lines
        }
        Contents::Caches { positive, negative } => {
            [entries("votes for", positive), entries("votes against", negative)].concat()
        }
        Contents::Stream { images, of, class_weights } => {
            let of = of.map_or(String::new(), |of| format!(" of {of}"));
            let mut lines = vec![format!("{images} pictures{of} have taught the classifier")];
            lines.extend(largest("added to the logit of", class_weights));
            lines
        }
        Contents::Distributions { views } => {
            let mut lines = vec![format!("distributions of {} classes", views.len())];
            lines.extend(largest("views (and one) of", views));
            lines
        }
        Contents::Stored { stored } => entries("stored", stored),
        Contents::Prototypes { learned, cached } => {
            let mut lines = vec![format!("{learned} pictures have taught the texts")];
            lines.extend(entries("cached", cached));
            lines
        }
        Contents::Norms { gains, offsets, average } => {
            let average = average.map_or("not begun".to_owned(), |it| format!("{it:.4} nats"));
            vec![
                drift("gains", "norm", gains),
                drift("offsets", "norm", offsets),
                format!("moving average of the entropy: {average}"),
            ]
        }
    }
}

fn bar(label: &str, value: f64, most: f64, number: &str) -> String {
    let length = if most > 0.0 { (BAR as f64 * value / most).round() as usize } else { 0 };
    format!("{label:<14} {number:>6} {}", "#".repeat(length)).trim_end().to_owned()
}

fn drift(what: &str, unit: &str, drift: &Drift) -> String {
    let Drift { mean, largest, farthest, start_length } = drift;
    format!(
        "{what} moved by {mean:.4} in the mean, {largest:.4} at most ({unit} {farthest}); at the start they had a length of {start_length:.4}"
    )
}

fn entries(what: &str, entries: &Entries) -> Vec<String> {
    let Entries { entries, filled_classes, mean_entropy, entropies } = entries;
    let mean = mean_entropy.map_or(String::new(), |mean| format!(", mean entropy {mean:.4} nats"));
    let pictures = output::counted(*entries as u64, "picture");
    let mut lines = vec![format!("{what}: {pictures} of {filled_classes} classes{mean}")];
    lines.extend(entropies.iter().take(SHOWN).map(|OfClass { class, value }| {
        let numbers: Vec<String> = value.iter().map(|entropy| format!("{entropy:.4}")).collect();
        format!("  {class}: {}", numbers.join(" "))
    }));
    lines.extend(rest(entropies.len()));
    lines
}

/// The classes of the largest numbers.
fn largest(what: &str, of_classes: &[OfClass<f32>]) -> Vec<String> {
    let mut sorted: Vec<&OfClass<f32>> = of_classes.iter().collect();
    sorted.sort_by(|a, b| b.value.total_cmp(&a.value));
    let most = sorted.first().map_or(0.0, |first| f64::from(first.value));
    let mut lines = vec![what.to_owned()];
    lines.extend(sorted.iter().take(SHOWN).map(|OfClass { class, value }| {
        bar(class, f64::from(*value), most, &format!("{value:.2}"))
    }));
    lines.extend(rest(sorted.len()));
    lines
}

/// That a list goes on.
fn rest(length: usize) -> Option<String> {
    let rest = length.checked_sub(SHOWN).filter(|&rest| rest > 0)?;
    Some(format!("  and {rest} more (`--format json` lists all)"))
}
