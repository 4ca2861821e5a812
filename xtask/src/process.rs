//! Programs as processes: what they print, and what they take (on Linux).

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What one process took, as the operating system counts it.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds of wall clock.
    pub wall: f64,
    /// Seconds of processor time, of all threads.
    pub cpu: f64,
    /// Most memory at once.
    pub megabytes: f64,
}

/// The cargo that started this program.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command whose output is for the terminal.
///
/// # Errors
///
/// If it cannot be started or does not succeed.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let status = command.status().with_context(|| format!("`{line}` cannot be started"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Builds mint-cli as users do; returns the program.
pub fn build() -> anyhow::Result<PathBuf> {
    succeed(cargo().args(["build", "--package", "mint-cli"]))?;
    Ok(built_program("mint-cli"))
}

/// Where cargo puts a program.
pub fn built_program(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    target.join("debug").join(name)
}

/// Runs a command to its end; returns what it took and what it printed.
pub fn measure(command: &mut Command) -> anyhow::Result<(Cost, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let before = children_cpu_seconds();
    let clock = std::time::Instant::now();
    let child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{name}` cannot be started"))?;
    let id = child.id();
    // The peak has to be asked for while the process is there.
    let peak = std::thread::spawn(move || {
        let mut peak = 0.0_f64;
        while let Some(megabytes) = peak_megabytes(id) {
            peak = peak.max(megabytes);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        peak
    });
    let output = child.wait_with_output().with_context(|| format!("`{name}` cannot be run"))?;
    let wall = clock.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("`{name}` ended with {}", output.status);
    }
    let megabytes = peak.join().unwrap_or(0.0);
    let cost = Cost { wall, cpu: children_cpu_seconds() - before, megabytes };
    Ok((cost, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Seconds of processor time of all processes that ended, from `/proc/self/stat` (Linux).
fn children_cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    // Fields 16 and 17 of the whole line; two stand before the closing parenthesis.
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(13).unwrap_or(0.0) + ticks(14).unwrap_or(0.0)) / TICKS_PER_SECOND
}

fn peak_megabytes(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes / 1e3)
}
