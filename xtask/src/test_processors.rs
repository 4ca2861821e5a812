//! The tests on other processors: natively, and in emulators that lack newer instructions.
//!
//! Which code computes is decided at run time, by what the processor has. An emulated processor
//! without AVX-512, and one without AVX, reach the paths that this machine never takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::process::cargo;

#[derive(Debug, Args)]
pub struct TestProcessorsArgs {
    /// Processors to emulate, by QEMU's names, besides this machine's own
    #[arg(long, value_delimiter = ',', default_value = "Haswell,Nehalem")]
    processors: Vec<String>,
    /// Only the tests of these crates
    #[arg(long, value_delimiter = ',')]
    package: Vec<String>,
    /// QEMU's emulator of a single program (Debian: qemu-user)
    #[arg(long, default_value = "qemu-x86_64")]
    emulator: PathBuf,
}

/// Crates and test programs that run whole evaluations, which takes hours in an emulator. What those
/// compute is tested by the others.
const NATIVE_ONLY: [&str; 3] = ["mint-cli", "xtask", "overlap"];

/// A compiled test program.
struct TestProgram {
    package: String,
    name: String,
    file: PathBuf,
    /// Folder in which cargo runs it.
    folder: PathBuf,
}

/// Runs the tests on every processor; fails if one of them fails.
///
/// # Errors
///
/// If the tests cannot be compiled, or a test fails on some processor.
pub fn run(args: &TestProcessorsArgs) -> anyhow::Result<()> {
    let programs = compile(&args.package)?;
    let mut failures = Vec::new();
    println!("this processor: {}", instructions().join(", "));
    failures.extend(run_all(&programs, "native", None));
    let emulator = args.emulator.display();
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: emulated processors (only on x86-64 Linux)");
    } else if Command::new(&args.emulator).arg("--version").stdout(Stdio::null()).status().is_err()
    {
        println!(
            "skipped: {}: `{emulator}` was not found (Debian's package qemu-user has it)",
            args.processors.join(", ")
        );
    } else {
        let (here, skipped): (Vec<_>, Vec<_>) =
            programs.into_iter().partition(|TestProgram { package, name, .. }| {
                !NATIVE_ONLY.iter().any(|native| native == package || native == name)
            });
        for processor in &args.processors {
            let runner = format!("{emulator} -cpu {processor}");
            for program in &skipped {
                println!(
                    "{processor}: {} {}: skipped, it runs whole evaluations",
                    program.package, program.name
                );
            }
            failures.extend(run_all(&here, processor, Some(&runner)));
        }
    }
    if !failures.is_empty() {
        bail!("{} test programs failed: {}", failures.len(), failures.join(", "));
    }
    println!("all tests passed");
    Ok(())
}

/// Compiles the tests as `cargo test --workspace` does.
fn compile(packages: &[String]) -> anyhow::Result<Vec<TestProgram>> {
    let output = cargo()
        .args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the tests cannot be compiled");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut programs = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed no JSON")?;
        let (Some(file), Some(manifest)) =
            (message["executable"].as_str(), message["manifest_path"].as_str())
        else {
            continue;
        };
        let folder = Path::new(manifest).parent().context("a manifest is in a folder")?.to_owned();
        let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = message["profile"]["test"] == true;
        if is_test && (packages.is_empty() || packages.contains(&package)) {
            let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
            programs.push(TestProgram { package, name, file: file.into(), folder });
        }
    }
    if programs.is_empty() {
        bail!("no tests: is one of {packages:?} a crate of this workspace?");
    }
    Ok(programs)
}

/// Runs all programs on a processor; returns the names of those that failed.
fn run_all(programs: &[TestProgram], processor: &str, runner: Option<&str>) -> Vec<String> {
    let mut failures = Vec::new();
    for TestProgram { package, name, file, folder } in programs {
        let clock = Instant::now();
        let mut words = runner.into_iter().flat_map(|runner| runner.split(' '));
        let mut command = match words.next() {
            Some(emulator) => Command::new(emulator),
            None => Command::new(file),
        };
        if let Some(runner) = runner {
            // The tests of mint-cli start it by this runner, as cargo would.
            command.args(words).arg(file);
            command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
        }
        let output = command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).output();
        let seconds = clock.elapsed().as_secs_f64();
        let what = format!("{processor}: {package} {name}");
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let result = text.lines().rfind(|line| line.starts_with("test result"));
                let passed = result.and_then(|line| line.split(' ').nth(3)).unwrap_or("0");
                println!("{what}: {passed} passed, {seconds:.0} s");
            }
            Ok(output) => {
                print!("{}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
                println!("{what}: FAILED, {}", output.status);
                failures.push(what);
            }
            Err(error) => {
                println!("{what}: FAILED, cannot be started: {error}");
                failures.push(what);
            }
        }
    }
    failures
}

/// The vector instructions of this machine that decide which code runs.
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let found = [
        ("AVX-512", is_x86_feature_detected!("avx512f")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("AVX", is_x86_feature_detected!("avx")),
    ];
    let names = found.iter().map(|(name, found)| if *found { *name } else { "" });
    names.filter(|name| !name.is_empty()).collect()
}

/// The vector instructions of this machine that decide which code runs.
#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
