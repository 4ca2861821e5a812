//! Runs everything on devices that the graphics driver has, and compares it with the CPU.
//!
//! Software devices do: Debian's package `mesa-vulkan-drivers` has one, `chromium` another. Not part
//! of the tests: the first build of Burn's backend for such devices takes minutes, and everything is
//! many times slower on a processor in the place of a GPU than on the CPU itself.

mod answers;
mod faults;
mod places;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use self::answers::Answers;
use self::places::{Place, SETS, evaluation, on};
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
/// What is said of a device that does not have the numbers of a precision.
const LACKS_PRECISION: &str = "cannot compute with";

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
    /// What is checked
    #[arg(long = "only", value_delimiter = ',', default_value = "demo,recordings,towers,faults")]
    parts: Vec<Part>,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every method on the demo, beside the CPU
    Demo,
    /// Methods beside the recordings of the official code
    Recordings,
    /// Towers, gradients, adaptations and odd shapes beside the CPU
    Towers,
    /// Devices that fail
    Faults,
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
    let has = |part: Part| args.parts.contains(&part);
    for (driver, is_wrong) in &drivers {
        println!("\n# {}\n", driver.display());
        let name = driver.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if has(Part::Demo) {
            demo_beside(&program, args, &name, (driver, &cache))?;
        }
        if has(Part::Recordings) {
            succeed(on(driver, &cache, chosen("test", None).arg("--no-fail-fast")))?;
        }
        if has(Part::Towers) {
            towers(&check, out, &name, (driver, &cache.join("check")))?;
        }
        if has(Part::Faults) {
            faults::lost(&program, out, (driver, &cache))?;
            if *is_wrong {
                build(Some(SPIRV))?;
                let program = keep(("mint-cli", out.join("mint-cli-spirv")))?;
                faults::refused(&program, (driver, &cache))?;
            }
        }
    }
    Ok(())
}

/// Every method on the demo: beside the CPU, and once more with the kernels of the first time.
fn demo_beside(
    program: &Path,
    args: &CheckDevicesArgs,
    name: &str,
    place: Place<'_>,
) -> anyhow::Result<()> {
    let on_cpu = demo(program, args, &SETS, "cpu", None)?;
    let on_device = demo(program, args, &SETS, name, Some(place))?;
    answers::beside(&on_cpu, &on_device)?;
    let again = demo(program, args, &SETS[..1], &format!("{name}-again"), Some(place))?;
    let mut of_methods = again.iter();
    let is_same = of_methods.all(|(method, sets)| on_device[method].starts_with(sets));
    ensure!(is_same, "with the kernels that were kept, the answers are others");
    println!("a second run, with the kernels that were kept: the same answers\n");
    Ok(())
}

/// Parts of the model in each precision: with nothing kept, and with the kernels of the first time.
fn towers(program: &Path, out: &Path, name: &str, (driver, kept): Place<'_>) -> anyhow::Result<()> {
    for precision in ["f32", "f32", "f16", "bf16"] {
        let mut check = Command::new(program);
        check.args(["--backend", "wgpu", "--tiny", "--views", "16", "--classes", "20"]);
        check.args(["--seconds", "0.1", "--python", "none", "--precision", precision]);
        check.arg("--out").arg(out.join(format!("check-{name}-{precision}")));
        let output = on(driver, kept, &mut check).stdout(Stdio::inherit()).output()?;
        let message = String::from_utf8_lossy(&output.stderr);
        eprint!("{message}");
        let is_refused = output.status.code() == Some(1) && message.contains(LACKS_PRECISION);
        ensure!(output.status.success() || is_refused, "the check ended with {}", output.status);
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

/// Runs every method on some images of the demo; without a place, on the CPU.
fn demo(
    program: &Path,
    args: &CheckDevicesArgs,
    sets: &[&str],
    name: &str,
    place: Option<Place<'_>>,
) -> anyhow::Result<Answers> {
    let record = args.out.join(format!("demo-{name}"));
    let mut command = evaluation(program, &record, place)?;
    command.args(["--test-sets", &sets.join("/"), "--method", "all"]);
    succeed(command.args(["--limit", &args.limit.to_string()]))?;
    answers::read(&record)
}
