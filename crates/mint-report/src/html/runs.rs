//! What was run, on what, and what that used.

use maud::{Markup, html};
use mint_eval::{ContextStart, RunConfig, Usage};

use super::scrolling;
use crate::runs::Run;

pub fn section(runs: &[Run]) -> Markup {
    let titles = [
        "Cores", "Images", "Seconds", "Images/s", "Peak MB", "Weights", "Texts", "Views",
        "Methods", "Memory", "CPU kJ",
    ];
    let caption = html! {
        "One line per process. Stages: seconds for the weights, the texts, waiting for views, the "
        "methods, and the memory's file."
    };
    let content = html! {
        thead { tr {
            th scope="col" { "Record" }
            th scope="col" { "Device" }
            @for title in titles { th.number scope="col" { (title) } }
        } }
        tbody { @for run in runs { @for usage in &run.processes { (process(run, usage)) } } }
    };
    html! {
        section aria-labelledby="runs" {
            h2 id="runs" { "Time, memory, settings" }
            (scrolling("Processes", caption, content))
            @for run in runs { (settings(run)) }
        }
    }
}

fn folders(run: &Run) -> String {
    let folders: Vec<String> =
        run.folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.join(", ")
}

fn process(run: &Run, usage: &Usage) -> Markup {
    let Usage { host, device, images, seconds, stages, peak_memory_bytes, cpu_joules } = usage;
    let optional = |value: Option<f64>| value.map_or("–".to_owned(), |it| format!("{it:.1}"));
    html! { tr {
        th scope="row" { (folders(run)) }
        td { (device) }
        td.number { (host.cores) }
        td.number { (images) }
        td.number { (format!("{seconds:.1}")) }
        td.number { (format!("{:.2}", *images as f64 / seconds.max(1e-9))) }
        td.number { (optional(peak_memory_bytes.map(|bytes| bytes as f64 / 1e6))) }
        @for stage in [stages.model, stages.texts, stages.views, stages.methods, stages.record] {
            td.number { (format!("{stage:.1}")) }
        }
        td.number { (optional(cpu_joules.map(|joules| joules / 1e3))) }
    } }
}

fn settings(run: &Run) -> Markup {
    let info = &run.info;
    let RunConfig { views, seed, limit, order, precision, cache, temperature, context, .. } =
        &info.config;
    let context = match context {
        Some(ContextStart::File(file)) => file.display().to_string(),
        Some(ContextStart::Words(words)) => format!("words {words}"),
        Some(ContextStart::Random(seed)) => format!("random, seed {seed}"),
        None => "the usual one".to_owned(),
    };
    let weights = info.weights.files.iter().map(|file| format!("{} ({})", file.file, file.sha256));
    let mut settings = vec![
        ("weights", weights.collect::<Vec<_>>().join(", ")),
        ("context", context),
        ("views", views.to_string()),
        ("seed", seed.to_string()),
        ("order", String::from(*order)),
        ("precision", precision.to_string()),
        ("temperature", temperature.to_string()),
        ("versions", format!("mint {}, burn {}", info.versions.mint, info.versions.burn)),
    ];
    if let Some(limit) = limit {
        settings.push(("limit", limit.to_string()));
    }
    if let Some(cache) = cache {
        settings.push(("cache of embeddings", format!("{cache:?}")));
    }
    if run.folders.len() > 1 {
        settings.push(("parts", run.folders.len().to_string()));
    }
    html! {
        details {
            summary { "Settings of " (folders(run)) }
            dl { @for (name, value) in settings { dt { (name) } dd { (value) } } }
        }
    }
}
