//! Proves a device and measures it: one program with everything inside, for machines that have
//! nothing but a GPU.
//!
//! Weights and photographs are made from a seed. The device's numbers are compared with the CPU's,
//! then images a second are measured, alone and with files to decode, and beside PyTorch where there
//! is one. Each part is written when it is done, so that a run that is broken off leaves what it had.

mod agreement;
mod peer;
mod speed;
mod subject;
mod tables;

use std::time::Instant;

use anyhow::Context;
use mint_clip::Precision;
use mint_eval::{Host, MethodId, Versions};
use serde_json::{Value, json};

use crate::args::{GpuCheckArgs, precision};
use crate::backend::{self, Chosen};
use crate::model::check_precision;
use crate::output;

use subject::Subject;

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
pub fn run(args: &GpuCheckArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let out = args.out.display();
    let chosen = Chosen { backend: args.backend, gpu: args.gpu, threads: None };
    let compute = backend::resolve(chosen)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder `{out}`"))?;
    let parse = |name: &String| name.parse::<MethodId>().map_err(anyhow::Error::msg);
    let plan = Plan {
        precisions: args.precision.iter().map(|&typed| precision(typed)).collect(),
        class_counts: args.classes.clone(),
        methods: args.method.iter().map(parse).collect::<anyhow::Result<_>>()?,
        views: args.views,
        seconds: args.seconds,
    };
    let mut report = Report::new(args, &compute.name);
    output::note(&format!("{}: making weights and photographs", compute.name));
    let subject = Subject::new(args)?;
    report.add("subject", subject.describe())?;

    let mut agrees = true;
    output::note("comparing with the CPU");
    let reference = agreement::Reference::new(&subject, plan.views)?;
    let mut agreements = Vec::new();
    for &precision in &plan.precisions {
        check_precision(&compute, precision)?;
        let clip = subject.clip(&compute, precision)?;
        let found = reference.compare(&subject, &clip, precision)?;
        agrees &= found.agrees();
        agreements.push(serde_json::to_value(found)?);
        report.add("agreement", agreements.clone().into())?;
    }
    drop(reference);

    let mut speeds = Vec::new();
    for &precision in &plan.precisions {
        output::note(&format!("measuring {precision}"));
        let clip = subject.clip(&compute, precision)?;
        report.add(&format!("stages_{precision}"), speed::stages(&plan, &subject, &clip)?)?;
        for &classes in &plan.class_counts {
            for &method in &plan.methods {
                let cell = speed::measure(&plan, &subject, &clip, (method, precision, classes))?;
                output::note(&cell.describe());
                speeds.push(serde_json::to_value(cell)?);
                report.add("speed", speeds.clone().into())?;
            }
        }
    }
    let mut on_news = |found: &Value| report.add("peer", found.clone());
    peer::measure(args, &plan, &subject, &compute, &mut on_news)?;
    report.add("seconds", started.elapsed().as_secs_f64().into())?;
    output::result(&report.tables);
    output::note(&format!("written to `{out}/gpu-check.json` and `{out}/gpu-check.md`"));
    anyhow::ensure!(agrees, "the device's numbers are not the CPU's; see `{out}/gpu-check.md`");
    Ok(())
}

/// What was found so far, in its files.
struct Report<'a> {
    args: &'a GpuCheckArgs,
    value: Value,
    tables: String,
}

impl<'a> Report<'a> {
    fn new(args: &'a GpuCheckArgs, device: &str) -> Self {
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

    /// Adds a part and writes everything.
    fn add(&mut self, name: &str, part: Value) -> anyhow::Result<()> {
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
