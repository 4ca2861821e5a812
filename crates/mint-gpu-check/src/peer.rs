//! The same images through plain PyTorch in the official order of work, with mixed precision on the
//! same card, where a Python with PyTorch is found.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mint_clip::Precision;
use mint_device::Compute;
use mint_eval::{
    ContextStart, Export, MethodId, RunConfig, Start, StartContext, TrainedPrompts, build_methods,
};
use serde_json::{Value, json};

use crate::Plan;
use crate::args::Options;
use crate::subject::Subject;

/// The programs, and what they are called where they are run.
const PROGRAMS: [(&str, &str); 3] = [
    ("adapt.py", include_str!("../../../benches/peer/adapt.py")),
    ("clip.py", include_str!("../../../benches/peer/clip.py")),
    ("tensors.py", include_str!("../../../benches/peer/tensors.py")),
];

/// Images that are handed over. The first round over them is not measured.
const IMAGES: usize = 3;

/// Runs the methods that the peer has and tells what was found so far; says why where it cannot.
pub fn measure(
    args: &Options,
    plan: &Plan,
    subject: &Subject,
    compute: &Compute,
    on_news: &mut dyn FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let asked =
        Command::new(&args.python).args(["-c", "import torch; print(torch.__version__)"]).output();
    let torch = match asked {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => {
            let why = format!("`{}` has no PyTorch", args.python.display());
            eprintln!("no peer: {why}");
            return on_news(&json!({ "missing": why }));
        }
    };
    let folder = args.out.join("peer");
    let write = |file: &Path, text: &str| {
        std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    for (name, text) in PROGRAMS {
        write(&folder.join(name), text)?;
    }
    let clip = subject.clip(compute, Precision::F32)?;
    // On the CPU autocast is no faster, and half precision many times slower.
    let (device, amps) =
        if compute.name == "cpu" { ("cpu", &["no"][..]) } else { ("cuda", &["f16", "no"][..]) };
    let mut figures = Vec::new();
    for &classes in &plan.class_counts {
        let inputs = folder.join(format!("inputs-{classes}"));
        export(subject, &clip, classes, &inputs)?;
        for &method in &plan.methods {
            for &amp in amps {
                eprintln!("PyTorch: {}, {classes} classes, amp {amp}", method.name());
                let mut command = Command::new(&args.python);
                command.arg(folder.join("adapt.py")).args(["--method", method.name()]);
                command.arg("--weights").arg(&subject.weights).arg("--inputs").arg(&inputs);
                command.args(["--device", device, "--amp", amp, "--repeat", "3"]);
                let output = command.output().context("the peer cannot be started")?;
                let text = String::from_utf8_lossy(&output.stdout);
                let result = serde_json::from_str::<Value>(&text);
                figures.push(match result {
                    Ok(result) if output.status.success() => figure(method, classes, amp, &result),
                    _ => json!({
                        "method": method, "classes": classes, "amp": amp,
                        "failed": last_line(&output.stderr),
                    }),
                });
                on_news(&json!({ "torch": torch, "figures": figures }))?;
            }
        }
    }
    Ok(())
}

/// The last line that is not empty, which is where Python says what went wrong.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

/// The median second of the rounds after the first.
fn figure(method: MethodId, classes: usize, amp: &str, result: &Value) -> Value {
    let images = result["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seconds = |image: &Value| image["seconds"].as_f64();
    let mut measured: Vec<f64> = images.iter().skip(IMAGES).filter_map(seconds).collect();
    measured.sort_by(f64::total_cmp);
    let median = measured.get(measured.len() / 2).copied();
    json!({
        "method": method, "classes": classes, "amp": amp,
        "images_per_second": median.map(|median| 1.0 / median),
        "peak_megabytes": result["peak_megabytes"],
        "device": result["device"],
        "top1": images.iter().take(IMAGES).map(|image| image["top5"][0].clone()).collect::<Vec<_>>(),
    })
}

/// Views, tokens, context and memory for the peer.
fn export(
    subject: &Subject,
    clip: &mint_clip::Clip,
    classes: usize,
    folder: &Path,
) -> anyhow::Result<()> {
    let names = subject.class_names(classes);
    let config = RunConfig::default();
    let mut methods = build_methods(&config, clip, &subject.tokenizer, &TrainedPrompts::default())?;
    let memory = methods[0].method.remembers().map(|memory| memory.save()).transpose()?;
    let context = StartContext::new(&ContextStart::default(), clip, &subject.tokenizer)?.context;
    let start = Start {
        clip,
        tokenizer: &subject.tokenizer,
        class_names: &names,
        context,
        memory: memory.as_ref(),
    };
    let export = Export::create(folder, &start)?;
    for (index, views) in subject.views.iter().take(IMAGES).enumerate() {
        export.image(index, views)?;
    }
    Ok(())
}
