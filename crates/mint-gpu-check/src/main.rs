//! Validates a device and measures it: one program with everything inside, for machines that have
//! nothing but a GPU.
//!
//! Weights and photographs are made from a seed. The device's numbers are compared with the CPU's,
//! then images per second are measured, alone and with files to decode, and next to PyTorch where
//! it is installed. Each part is written when it is done, so an interrupted run leaves what it had.

mod agreement;
mod args;
mod odd_shapes;
mod peer;
mod speed;
mod subject;
mod tables;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use mint_clip::Precision;
use mint_device::{Chosen, FailureWatch};
use mint_eval::{Host, MethodId, Versions};
use serde_json::{Value, json};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Options;
use crate::subject::Subject;

/// Keeps large blocks at hand, as mint-cli does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let watch = FailureWatch::new(|message| {
        eprintln!("error: {message}");
        std::process::exit(1);
    });
    tracing_subscriber::registry().with(watch.with_filter(LevelFilter::WARN)).init();
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  caused by: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// What is measured.
struct Plan {
    precisions: Vec<Precision>,
    class_counts: Vec<usize>,
    methods: Vec<MethodId>,
    views: usize,
    /// Of measuring for each figure, after warming up.
    seconds: f64,
}

/// Runs all parts; fails if the device's numbers are not the CPU's.
fn run(args: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let out = args.out.display();
    let chosen = Chosen { backend: args.backend, gpu: args.gpu, threads: None };
    let mut compute = chosen.open(Precision::F32)?;
    args.precision.iter().try_for_each(|precision| compute.check(*precision))?;
    compute.notes.iter().for_each(|note| eprintln!("{note}"));
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder `{out}`"))?;
    let plan = Plan {
        precisions: args.precision.clone(),
        class_counts: args.classes.clone(),
        methods: args.method.clone(),
        views: args.views,
        seconds: args.seconds,
    };
    let mut report = Report::new(args, &compute.name);
    eprintln!("{}: making weights and photographs", compute.name);
    let subject = Subject::new(args)?;
    report.add("subject", subject.describe())?;

    let mut agrees = true;
    eprintln!("comparing with the CPU");
    let reference = agreement::Reference::new(&subject, plan.views)?;
    let mut agreements = Vec::new();
    for &precision in &plan.precisions {
        let clip = subject.clip(&compute, precision)?;
        let found = reference.compare(&subject, &clip, precision)?;
        agrees &= found.agrees();
        agreements.push(serde_json::to_value(found)?);
        report.add("agreement", agreements.clone().into())?;
    }
    drop(reference);
    let mut odd = Vec::new();
    for &precision in &plan.precisions {
        for shape in odd_shapes::compare(&subject, &compute, precision)? {
            agrees &= shape.agrees();
            eprintln!("{}", shape.describe());
            odd.push(serde_json::to_value(shape)?);
            report.add("odd_shapes", odd.clone().into())?;
        }
    }

    let mut speeds = Vec::new();
    for &precision in &plan.precisions {
        eprintln!("measuring {precision}");
        let clip = subject.clip(&compute, precision)?;
        report.add(&format!("stages_{precision}"), speed::stages(&plan, &subject, &clip)?)?;
        for &classes in &plan.class_counts {
            for &method in &plan.methods {
                let cell = speed::measure(&plan, &subject, &clip, (method, precision, classes))?;
                eprintln!("{}", cell.describe());
                speeds.push(serde_json::to_value(cell)?);
                report.add("speed", speeds.clone().into())?;
            }
        }
    }
    let mut on_news = |found: &Value| report.add("peer", found.clone());
    peer::measure(args, &plan, &subject, &compute, &mut on_news)?;
    report.add("seconds", started.elapsed().as_secs_f64().into())?;
    println!("{}", report.tables);
    eprintln!("written to `{out}/gpu-check.json` and `{out}/gpu-check.md`");
    anyhow::ensure!(agrees, "the device's numbers are not the CPU's; see `{out}/gpu-check.md`");
    Ok(())
}

/// What was found so far, in its files.
struct Report<'a> {
    args: &'a Options,
    value: Value,
    tables: String,
}

impl<'a> Report<'a> {
    fn new(args: &'a Options, device: &str) -> Self {
        let value = json!({
            "device": device,
            "card": subject::card(),
            "host": Host::current(),
            "versions": Versions::default(),
            "seed": args.seed,
            "views": args.views,
        });
        Self { args, value, tables: String::new() }
    }

    /// Adds a part and writes everything; an error if the device failed meanwhile.
    fn add(&mut self, name: &str, part: Value) -> anyhow::Result<()> {
        if let Some(failure) = mint_clip::device_failure() {
            anyhow::bail!("the device failed: {failure}");
        }
        self.value[name] = part;
        self.tables = tables::draw(&self.value);
        let write = |name: &str, text: &str| {
            let file = self.args.out.join(name);
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write `{}`", file.display()))
        };
        write("gpu-check.json", &serde_json::to_string_pretty(&self.value)?)?;
        write("gpu-check.md", &self.tables)
    }
}
