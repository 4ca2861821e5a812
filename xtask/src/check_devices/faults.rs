//! Devices that fail on purpose, and what a program does then.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::answers;
use super::places::{Place, evaluation, on};
use crate::process::succeed;

/// A driver that loses its device.
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/check_devices/lost-device.c");

/// A device that is lost in the middle of a run has to end it, and the run has to be resumable on
/// one that is there.
pub fn lost(program: &Path, out: &Path, (driver, cache): Place<'_>) -> anyhow::Result<()> {
    let options =
        ["--test-sets", "demo-R", "--method", "mint,zero", "--views", "16", "--limit", "4"];
    let on_cpu = out.join("lost-cpu");
    succeed(evaluation(program, &on_cpu, None)?.args(options))?;

    let folder = std::path::absolute(out)?;
    let [library, losing, lost] =
        ["lost-device.so", "lost-device.json", "lost"].map(|name| folder.join(name));
    let flags = ["-shared", "-fPIC", "-O1", DRIVER, "-ldl", "-o"];
    succeed(Command::new("cc").args(flags).arg(&library))?;
    let description = json!({
        "file_format_version": "1.0.0",
        "ICD": { "library_path": library, "api_version": "1.1.0" },
    });
    fs::write(&losing, description.to_string())?;
    if lost.exists() {
        fs::remove_file(&lost)?;
    }
    let (record, said) = (out.join("lost-device"), out.join("lost-device.txt"));
    let mut command = evaluation(program, &record, Some((&losing, cache)))?;
    command.args(options).env("DRIVER", library_of(driver)?).env("LOST", &lost);
    let mut run =
        command.stderr(File::create(&said)?).spawn().context("mint-cli cannot be started")?;
    let recorded =
        || fs::metadata(record.join("demo-R-zero.jsonl")).is_ok_and(|file| file.len() > 0);
    while !recorded() && run.try_wait()?.is_none() {
        thread::sleep(Duration::from_millis(50));
    }
    fs::write(&lost, "")?;
    let status = run.wait()?;
    let message = fs::read_to_string(&said)?;
    print!("a device that is lost during a run:\n{message}");
    ensure!(status.code() == Some(1), "it ended with {status}");
    ensure!(message.contains("the device could not deliver a result"), "for another reason");

    let mut command = Command::new(program);
    command.args(["--resume", "--output"]).arg(&record);
    succeed(on(driver, cache, &mut command))?;
    answers::beside(&answers::read(&on_cpu)?, &answers::read(&record)?)
}

/// The library of a driver, from its description.
fn library_of(driver: &Path) -> anyhow::Result<PathBuf> {
    let unread = || format!("cannot read the Vulkan driver `{}`", driver.display());
    let description: Value = serde_json::from_slice(&fs::read(driver).with_context(unread)?)?;
    let library = description["ICD"]["library_path"].as_str().with_context(unread)?;
    let folder = driver.parent().unwrap_or(Path::new("."));
    // A name alone is looked for by the system.
    Ok(if library.contains('/') { folder.join(library) } else { library.into() })
}

/// A device that computes wrongly has to be refused before it says anything.
pub fn refused(program: &Path, (driver, cache): Place<'_>) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["--test-sets", "demo-R", "--limit", "1", "--backend", "wgpu"]);
    let output = on(driver, cache, &mut command).output().context("mint-cli cannot be started")?;
    let message = String::from_utf8_lossy(&output.stderr);
    // The driver complains thousands of times.
    let own = message.lines().filter(|line| !line.contains("WARNING: UNREACHABLE"));
    println!("with SPIR-V:\n{}", own.collect::<Vec<_>>().join("\n"));
    ensure!(output.status.code() == Some(1), "it ended with {}", output.status);
    ensure!(message.contains("does not compute what the CPU computes"), "for another reason");
    ensure!(output.stdout.is_empty(), "it printed results");
    Ok(())
}
