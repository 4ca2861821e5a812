//! Where programs run, and with what.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

/// The demo's test sets.
pub const SETS: [&str; 5] = ["demo-A", "demo-I", "demo-K", "demo-R", "demo-V"];

/// Where a program runs: a driver, and the folder of its kernels and proofs.
pub type Place<'a> = (&'a Path, &'a Path);

/// A command that finds this driver alone, and keeps kernels and proofs in this folder.
pub fn on<'a>(driver: &Path, cache: &Path, command: &'a mut Command) -> &'a mut Command {
    command.env("VK_ICD_FILENAMES", driver).env("XDG_CACHE_HOME", cache)
}

/// mint-cli with a record that begins; without a place, on the CPU.
pub fn evaluation(
    program: &Path,
    record: &Path,
    place: Option<Place<'_>>,
) -> anyhow::Result<Command> {
    if record.exists() {
        fs::remove_dir_all(record)
            .with_context(|| format!("cannot remove `{}`", record.display()))?;
    }
    let mut command = Command::new(program);
    command.arg("--output").arg(record);
    match place {
        Some((driver, cache)) => on(driver, cache, command.args(["--backend", "wgpu"])),
        None => command.args(["--backend", "cpu"]),
    };
    Ok(command)
}
