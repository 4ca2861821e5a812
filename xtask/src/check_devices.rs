//! Runs everything on devices that the graphics driver has, and compares it with the CPU.
//!
//! Software devices do: Debian's package `mesa-vulkan-drivers` has one, `chromium` another. Not part
//! of the tests: the first build of Burn's backend for such devices takes minutes, and everything is
//! many times slower on a processor in the place of a GPU than on the CPU itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::process::{built_program, cargo, succeed};

/// Drivers in software, and whether they translate SPIR-V wrongly enough that it can be seen.
const DRIVERS: [(&str, bool); 3] = [
    ("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json", false),
    ("/usr/share/vulkan/icd.d/lvp_icd.aarch64.json", false),
    ("/usr/lib/chromium/vk_swiftshader_icd.json", true),
];
/// Tests of mint-tuner that compare whole methods with the official code's numbers.
const RECORDINGS: [&str; 5] =
    ["sequence", "other_methods", "sar", "training_free", "trained_prompts"];
const SETS: [&str; 5] = ["demo-I", "demo-A", "demo-V", "demo-R", "demo-K"];

#[derive(Debug, Args)]
pub struct CheckDevicesArgs {
    /// Vulkan driver (`..._icd.json`); without, each software driver that is installed
    #[arg(long = "driver", value_name = "FILE")]
    drivers: Vec<PathBuf>,
    /// Images of each of the demo's sets
    #[arg(long, default_value_t = 4)]
    limit: usize,
    /// Folder for records and results
    #[arg(long, default_value = "target/check-devices")]
    out: PathBuf,
    /// Only the demo's table
    #[arg(long)]
    demo_only: bool,
}

/// Runs the checks on each driver.
pub fn run(args: &CheckDevicesArgs) -> anyhow::Result<()> {
    let mut drivers: Vec<(PathBuf, bool)> =
        args.drivers.iter().map(|driver| (driver.clone(), false)).collect();
    if drivers.is_empty() {
        let all = DRIVERS.map(|(driver, is_wrong)| (PathBuf::from(driver), is_wrong));
        drivers = all.into_iter().filter(|(driver, _)| driver.exists()).collect();
    }
    if drivers.is_empty() {
        bail!(
            "no Vulkan driver in software was found; `apt install mesa-vulkan-drivers` brings one, `--driver FILE` names another"
        );
    }
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make `{}`", out.display()))?;
    let cache = out.join("cache");
    if cache.exists() {
        fs::remove_dir_all(&cache)
            .with_context(|| format!("cannot remove `{}`", cache.display()))?;
    }
    let program = build("mint-cli", "wgpu", &out.join("mint-cli"))?;
    let check = match args.demo_only {
        true => None,
        false => Some(build("mint-gpu-check", "wgpu", &out.join("mint-gpu-check"))?),
    };
    let on_cpu = demo(&program, args, "cpu", None)?;
    for (driver, _) in &drivers {
        println!("\n# {}\n", driver.display());
        let name = driver.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let on_device = demo(&program, args, &name, Some(driver))?;
        println!("{}", beside(&on_cpu, &on_device)?);
        let again = demo(&program, args, &name, Some(driver))?;
        ensure!(again == on_device, "with the kernels that were kept, the answers are others");
        println!("a second run, with the kernels that were kept: the same answers\n");
        let Some(check) = &check else { continue };
        println!("the recordings of the official code, and a task that fails:");
        let tests = ["test", "--package", "mint-tuner", "--features", "mint-fixtures/wgpu"];
        let recordings = RECORDINGS.map(|name| ["--test", name]).concat();
        succeed(on(driver, cargo().args(tests).args(recordings)))?;
        let failing = ["test", "--package", "mint-device", "--features", "wgpu", "--tests"];
        succeed(on(driver, cargo().args(failing)))?;
        println!("towers, gradients and adaptations:");
        let tiny = ["--backend", "wgpu", "--precision", "f32", "--tiny", "--views", "16"];
        let short = ["--classes", "20", "--seconds", "0.1", "--python", "none", "--out"];
        let mut check = Command::new(check);
        succeed(on(driver, check.args(tiny).args(short).arg(out.join(format!("check-{name}")))))?;
    }
    if !args.demo_only
        && let Some((driver, _)) = drivers.iter().find(|(_, is_wrong)| *is_wrong)
    {
        refused(&build("mint-cli", "wgpu-spirv", &out.join("mint-cli-spirv"))?, driver)?;
    }
    Ok(())
}

/// Builds a program and keeps it where the next build does not overwrite it.
fn build(package: &str, feature: &str, kept: &Path) -> anyhow::Result<PathBuf> {
    println!("building {package} with the feature `{feature}`; the first time takes minutes");
    succeed(cargo().args(["build", "--package", package, "--features", feature]))?;
    fs::copy(built_program(package), kept)
        .with_context(|| format!("cannot write `{}`", kept.display()))?;
    Ok(kept.to_owned())
}

/// A command that finds this driver alone.
fn on<'a>(driver: &Path, command: &'a mut Command) -> &'a mut Command {
    command.env("VK_ICD_FILENAMES", driver)
}

/// What each method says about each image of each file of its record: the class with its score.
type Answers = BTreeMap<String, Vec<(String, Vec<(u64, f64)>)>>;

/// Runs every method on some images of the demo.
fn demo(
    program: &Path,
    args: &CheckDevicesArgs,
    name: &str,
    driver: Option<&Path>,
) -> anyhow::Result<Answers> {
    let record = args.out.join(format!("demo-{name}"));
    if record.exists() {
        fs::remove_dir_all(&record)
            .with_context(|| format!("cannot remove `{}`", record.display()))?;
    }
    let mut command = Command::new(program);
    command
        .args(["--test-sets", &SETS.join("/"), "--method", "all", "--output"])
        .arg(&record)
        .args(["--limit", &args.limit.to_string()])
        .args(["--backend", if driver.is_some() { "wgpu" } else { "cpu" }]);
    // What is kept is that of this check: the first run begins with nothing.
    command.env("XDG_CACHE_HOME", args.out.join("cache"));
    match driver {
        Some(driver) => succeed(on(driver, &mut command))?,
        None => succeed(&mut command)?,
    }
    let mut answers = Answers::new();
    let entries = fs::read_dir(&record);
    for entry in entries.with_context(|| format!("cannot read `{}`", record.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".jsonl") else { continue };
        let of_set = |set: &&str| name.strip_prefix(*set)?.strip_prefix('-').map(str::to_owned);
        let Some(method) = SETS.iter().find_map(of_set) else { continue };
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let best = &line["top5"][0];
            let best = best["class"].as_u64().zip(best["score"].as_f64());
            best.with_context(|| format!("`{}` has a line without an answer", file.display()))
        });
        let lines: Vec<_> = lines.collect::<anyhow::Result<_>>()?;
        answers.entry(method).or_default().push((name.to_owned(), lines));
    }
    answers.values_mut().for_each(|of_sets| of_sets.sort_by(|one, other| one.0.cmp(&other.0)));
    Ok(answers)
}

/// How many images have the same class on both, and how far the scores of those are apart.
fn beside(cpu: &Answers, device: &Answers) -> anyhow::Result<String> {
    ensure!(cpu.keys().eq(device.keys()), "the device did not run every method");
    let mut table = String::from("| method | same class | largest difference of its score |\n");
    table.push_str("| --- | --- | --- |\n");
    for ((method, cpu), device) in cpu.iter().zip(device.values()) {
        let (mut same, mut images, mut difference) = (0, 0, 0.0f64);
        for ((file, cpu), (_, device)) in cpu.iter().zip(device) {
            ensure!(cpu.len() == device.len(), "the device did not see all images of `{file}`");
            for ((class, score), (on_device, other)) in cpu.iter().zip(device) {
                images += 1;
                if class == on_device {
                    same += 1;
                    difference = difference.max((score - other).abs());
                }
            }
        }
        writeln!(table, "| {method} | {same} of {images} | {difference:.1e} |")?;
    }
    Ok(table)
}

/// A device that computes wrongly has to be refused before it says anything.
fn refused(program: &Path, driver: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["--test-sets", "demo-R", "--limit", "1", "--backend", "wgpu"]);
    let output = on(driver, &mut command).output().context("mint-cli cannot be started")?;
    let message = String::from_utf8_lossy(&output.stderr);
    print!("with SPIR-V:\n{message}");
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    ensure!(output.stdout.is_empty(), "it printed results");
    Ok(())
}
