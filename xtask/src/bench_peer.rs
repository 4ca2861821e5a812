//! Ours and a plain PyTorch program that follows the official order of work, side by side.
//!
//! Both get the same weights, views, tokens, context and memory; they run by turns, each in a
//! process of its own, and must predict the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::{Cost, build, measure};

#[derive(Debug, Args)]
pub struct BenchPeerArgs {
    /// CLIP's weights, safetensors with OpenAI's names (`mint-cli weights random`)
    #[arg(long)]
    weights: PathBuf,
    /// Image files
    #[arg(long, required = true, num_args = 1..)]
    images: Vec<PathBuf>,
    /// Class names: a JSON list, or one name per line
    #[arg(long)]
    classes: PathBuf,
    /// Methods to compare, of mint, tpt, zero and clip
    #[arg(long, default_value = "mint", value_delimiter = ',')]
    method: Vec<String>,
    /// Turns
    #[arg(long, default_value_t = 1)]
    turns: usize,
    /// Views of each image
    #[arg(long, default_value_t = 64)]
    views: usize,
    /// A Python with torch and safetensors
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Folder for inputs and results
    #[arg(long, default_value = "target/bench-peer")]
    output: PathBuf,
}

/// What the peer prints.
#[derive(Debug, Deserialize)]
struct PeerResult {
    torch: String,
    threads: usize,
    images: Vec<PeerImage>,
}

#[derive(Debug, Deserialize)]
struct PeerImage {
    seconds: f64,
    cpu_seconds: f64,
    top5: Vec<usize>,
    scores: Vec<f64>,
}

/// Scores of two implementations that add in another order, at logits of up to 100.
const SAME_SCORE: f64 = 2e-3;

/// Runs all comparisons; prints a table and writes JSON.
pub fn run(args: &BenchPeerArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder `{}`", args.output.display()))?;
    let program = build()?;
    let class_names = class_names(&args.classes)?;
    let mut results = Vec::new();
    println!("{} images, {} views, {} classes", args.images.len(), args.views, class_names.len());
    println!("| method | | CPU s / image | wall s / image | peak MB |");
    println!("| --- | --- | --- | --- | --- |");
    for method in &args.method {
        let inputs = args.output.join(format!("inputs-{method}"));
        for turn in 0..args.turns {
            let (ours, predictions) = run_ours(&program, args, method, &inputs)?;
            let (theirs, peer) = run_peer(args, method, &inputs)?;
            compare(method, &predictions, &peer, &class_names)?;
            let images = args.images.len() as f64;
            let peer_cpu = peer.images.iter().map(|image| image.cpu_seconds).sum::<f64>() / images;
            let peer_wall = peer.images.iter().map(|image| image.seconds).sum::<f64>() / images;
            let (cpu, wall) = (ours.cpu / images, ours.wall / images);
            println!("| {method} | ours | {cpu:.2} | {wall:.2} | {:.0} |", ours.megabytes);
            println!("| | PyTorch | {peer_cpu:.2} | {peer_wall:.2} | {:.0} |", theirs.megabytes);
            println!(
                "| | ratio | {:.1} | {:.1} | {:.1} |",
                peer_cpu / cpu,
                peer_wall / wall,
                theirs.megabytes / ours.megabytes
            );
            results.push(json!({
                "method": method, "turn": turn, "images": args.images.len(), "views": args.views,
                "classes": class_names.len(), "torch": peer.torch, "threads": peer.threads,
                "ours": { "cpu_seconds": cpu, "wall_seconds": wall, "peak_megabytes": ours.megabytes },
                "pytorch": {
                    "cpu_seconds": peer_cpu, "wall_seconds": peer_wall,
                    "peak_megabytes": theirs.megabytes,
                    "process_cpu_seconds": theirs.cpu, "process_wall_seconds": theirs.wall,
                },
            }));
        }
    }
    println!(
        "\nOurs is the whole process, with loading; PyTorch's is the time in the method alone."
    );
    let file = args.output.join("bench-peer.json");
    fs::write(&file, serde_json::to_string_pretty(&results)?)
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    println!("written to `{}`", file.display());
    Ok(())
}

/// The first run of a method exports its inputs; the runs that are measured do not.
fn run_ours(
    program: &Path,
    args: &BenchPeerArgs,
    method: &str,
    inputs: &Path,
) -> anyhow::Result<(Cost, Value)> {
    if !inputs.join("start.safetensors").is_file() {
        // MINT's start has everything that the others take as well.
        let mut export = predict(program, args, "mint");
        measure(export.args(["--steps", "0", "--export"]).arg(inputs))?;
    }
    let (cost, output) = measure(&mut predict(program, args, method))?;
    Ok((cost, serde_json::from_str(&output).context("mint-cli printed no JSON")?))
}

/// Our program on the images, with one method.
fn predict(program: &Path, args: &BenchPeerArgs, method: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("predict").args(&args.images);
    command.arg("--classes").arg(&args.classes).arg("--weights").arg(&args.weights);
    command.args(["--method", method, "--format", "json", "--views", &args.views.to_string()]);
    command
}

fn run_peer(
    args: &BenchPeerArgs,
    method: &str,
    inputs: &Path,
) -> anyhow::Result<(Cost, PeerResult)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peer/adapt.py");
    let mut command = Command::new(&args.python);
    command.arg(script).arg("--weights").arg(&args.weights).arg("--inputs").arg(inputs);
    command.args(["--method", method]);
    let (cost, output) = measure(&mut command)?;
    Ok((cost, serde_json::from_str(&output).context("the peer printed no JSON")?))
}

fn class_names(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the class names `{}`", file.display()))?;
    Ok(match serde_json::from_str(&text) {
        Ok(names) => names,
        Err(_) => {
            text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
    })
}

/// Both must give every image the same best class and, within rounding, the same score.
fn compare(
    method: &str,
    ours: &Value,
    peer: &PeerResult,
    class_names: &[String],
) -> anyhow::Result<()> {
    let predictions = ours["predictions"].as_array().context("mint-cli gave no predictions")?;
    if predictions.len() != peer.images.len() {
        bail!("{method}: {} images here, {} there", predictions.len(), peer.images.len());
    }
    for (ours, theirs) in predictions.iter().zip(&peer.images) {
        let best = &ours["best"][0];
        let score = best["score"].as_f64().unwrap_or(f64::NAN);
        let (class, their_score) = (&class_names[theirs.top5[0]], theirs.scores[0]);
        let same =
            best["class"].as_str() == Some(class) && (score - their_score).abs() < SAME_SCORE;
        if !same {
            bail!(
                "{method}, {}: {} ({score}) here, {class} ({their_score}) there",
                ours["path"],
                best["class"]
            );
        }
    }
    Ok(())
}
