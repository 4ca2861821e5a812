//! Runs everything on devices that the graphics driver has, and compares it with the CPU.
//!
//! Software devices do: Debian's package `mesa-vulkan-drivers` has one, `chromium` another. Not part
//! of the tests: the first build of Burn's backend for such devices takes minutes, and everything is
//! many times slower on a processor in the place of a GPU than on the CPU itself.

use std::collections::BTreeMap;
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
/// Packages that run on devices. They are chosen together: alone, each would have other features of
/// shared crates, and Burn's backend would be compiled for each.
const PACKAGES: [&str; 4] = ["mint-cli", "mint-gpu-check", "mint-tuner", "mint-device"];
const FEATURES: &str = "mint-cli/wgpu,mint-gpu-check/wgpu,mint-fixtures/wgpu";
/// The feature of a program whose kernels are SPIR-V.
const SPIRV: &str = "mint-cli/wgpu-spirv";
/// The test of mint-device that has work on a device fail.
const FAILING: &str = "failed_task";
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
    // What is kept is that of these checks: the first of them begins with nothing.
    let cache = std::path::absolute(out.join("cache"))?;
    if cache.exists() {
        fs::remove_dir_all(&cache)
            .with_context(|| format!("cannot remove `{}`", cache.display()))?;
    }
    build(None)?;
    let [program, check] = ["mint-cli", "mint-gpu-check"].map(|name| (name, out.join(name)));
    let [program, check] = [keep(program)?, keep(check)?];
    let on_cpu = demo(&program, args, "cpu", None)?;
    for (driver, _) in &drivers {
        println!("\n# {}\n", driver.display());
        let name = driver.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let on_device = demo(&program, args, &name, Some((driver, &cache)))?;
        beside(&on_cpu, &on_device)?;
        let again = demo(&program, args, &name, Some((driver, &cache)))?;
        ensure!(again == on_device, "with the kernels that were kept, the answers are others");
        println!("a second run, with the kernels that were kept: the same answers\n");
        if args.demo_only {
            continue;
        }
        println!("the recordings of the official code, and a task that fails:");
        succeed(on(driver, &cache, chosen("test", None).arg("--no-fail-fast")))?;
        println!("towers, gradients and adaptations:");
        let tiny = ["--backend", "wgpu", "--precision", "f32", "--tiny", "--views", "16"];
        let short = ["--classes", "20", "--seconds", "0.1", "--python", "none", "--out"];
        // With nothing kept, and with the kernels of the first time.
        let cache = cache.join("check");
        for _ in 0..2 {
            let mut check = Command::new(&check);
            check.args(tiny).args(short).arg(out.join(format!("check-{name}")));
            succeed(on(driver, &cache, &mut check))?;
        }
    }
    if !args.demo_only
        && let Some((driver, _)) = drivers.iter().find(|(_, is_wrong)| *is_wrong)
    {
        build(Some(SPIRV))?;
        refused(&keep(("mint-cli", out.join("mint-cli-spirv")))?, driver, &cache)?;
    }
    Ok(())
}

/// Cargo with the packages and tests that run on devices.
fn chosen(command: &str, more: Option<&str>) -> Command {
    let features = [Some(FEATURES), more].into_iter().flatten().collect::<Vec<_>>().join(",");
    let mut cargo = cargo();
    cargo.args([command, "--features", &features]);
    PACKAGES.iter().for_each(|package| _ = cargo.args(["--package", package]));
    RECORDINGS.iter().chain([&FAILING]).for_each(|name| _ = cargo.args(["--test", name]));
    cargo
}

fn build(more: Option<&str>) -> anyhow::Result<()> {
    println!("building for devices of the graphics driver; the first time takes many minutes");
    succeed(chosen("build", more).arg("--bins"))
}

/// Keeps a program where the next build does not overwrite it.
fn keep((name, kept): (&str, PathBuf)) -> anyhow::Result<PathBuf> {
    fs::copy(built_program(name), &kept)
        .with_context(|| format!("cannot write `{}`", kept.display()))?;
    Ok(kept)
}

/// A command that finds this driver alone, and keeps kernels and proofs in this folder.
fn on<'a>(driver: &Path, cache: &Path, command: &'a mut Command) -> &'a mut Command {
    command.env("VK_ICD_FILENAMES", driver).env("XDG_CACHE_HOME", cache)
}

/// What each method says about each image of each file of its record: the best classes with their
/// scores, the best first.
type Answers = BTreeMap<String, Vec<(String, Vec<Vec<(u64, f64)>>)>>;

/// How far a score on a device may be from the CPU's. A class that the CPU has as close behind its
/// own counts as the same.
const SCORE_BOUND: f64 = 1e-3;

/// Runs every method on some images of the demo.
fn demo(
    program: &Path,
    args: &CheckDevicesArgs,
    name: &str,
    driver: Option<(&Path, &Path)>,
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
    match driver {
        Some((driver, cache)) => succeed(on(driver, cache, &mut command))?,
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
            let best = line["top5"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
            let best = best.map(|best| best["class"].as_u64().zip(best["score"].as_f64()));
            let best: Option<Vec<_>> = best.collect();
            let best = best.filter(|best| !best.is_empty());
            best.with_context(|| format!("`{}` has a line without an answer", file.display()))
        });
        let lines: Vec<_> = lines.collect::<anyhow::Result<_>>()?;
        answers.entry(method).or_default().push((name.to_owned(), lines));
    }
    answers.values_mut().for_each(|of_sets| of_sets.sort_by(|one, other| one.0.cmp(&other.0)));
    Ok(answers)
}

/// How many images have the same class on both, and how far the scores of those are apart.
///
/// # Errors
///
/// If a class is another or a score differs by more than [`SCORE_BOUND`].
fn beside(cpu: &Answers, device: &Answers) -> anyhow::Result<()> {
    ensure!(cpu.keys().eq(device.keys()), "the device did not run every method");
    println!("| method | same class | largest difference of its score |");
    println!("| --- | --- | --- |");
    let mut apart = Vec::new();
    for ((method, cpu), device) in cpu.iter().zip(device.values()) {
        let (mut same, mut images, mut difference) = (0, 0, 0.0f64);
        ensure!(cpu.len() == device.len(), "the device did not run {method} on every set");
        for ((file, cpu), (other, device)) in cpu.iter().zip(device) {
            ensure!(file == other, "the device has `{other}` and not `{file}`");
            ensure!(cpu.len() == device.len(), "the device did not see all images of `{file}`");
            for (cpu, device) in cpu.iter().zip(device) {
                images += 1;
                let (class, score) = device[0];
                let on_cpu = cpu.iter().find(|(other, _)| *other == class);
                let Some(on_cpu) = on_cpu.filter(|(_, other)| cpu[0].1 - other <= SCORE_BOUND)
                else {
                    continue;
                };
                same += 1;
                difference = difference.max((score - on_cpu.1).abs());
            }
        }
        println!("| {method} | {same} of {images} | {difference:.1e} |");
        if same < images || difference > SCORE_BOUND {
            apart.push(method.as_str());
        }
    }
    ensure!(apart.is_empty(), "on this device, other answers than the CPU's: {}", apart.join(", "));
    Ok(())
}

/// A device that computes wrongly has to be refused before it says anything.
fn refused(program: &Path, driver: &Path, cache: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["--test-sets", "demo-R", "--limit", "1", "--backend", "wgpu"]);
    let output = on(driver, cache, &mut command).output().context("mint-cli cannot be started")?;
    let message = String::from_utf8_lossy(&output.stderr);
    print!("with SPIR-V:\n{message}");
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    ensure!(message.contains("does not compute what the CPU computes"), "for another reason");
    ensure!(output.stdout.is_empty(), "it printed results");
    Ok(())
}
