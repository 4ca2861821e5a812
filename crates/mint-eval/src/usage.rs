//! What a process used: time, memory, energy.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::record::run_info::Host;

/// Where Linux counts the energy of processor packages, which some systems let root alone read.
const POWER: &str = "/sys/class/powercap";

/// What a process used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The machine.
    pub host: Host,
    /// The device that ran the tensors.
    pub device: String,
    /// Images that it did.
    pub images: u64,
    /// Time since it started.
    pub seconds: f64,
    /// The time of each stage.
    pub stages: Stages,
    /// Largest resident memory so far; `None` where the system does not tell it.
    pub peak_memory_bytes: Option<u64>,
    /// Energy of the processor packages, all programs together; `None` where it cannot be read.
    pub cpu_joules: Option<f64>,
}

/// Seconds of each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Loading the weights.
    pub model: f64,
    /// Texts of the classes.
    pub texts: f64,
    /// Waiting for views: images are read while others are classified.
    pub views: f64,
    /// Classifying.
    pub methods: f64,
    /// Saving what methods remember.
    pub record: f64,
}

/// Measures a process.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    energy: Vec<Package>,
}

/// The counter of a processor package.
#[derive(Debug)]
struct Package {
    folder: PathBuf,
    at_start: u64,
}

impl Meter {
    /// From now on.
    pub fn start() -> Self {
        let entries = fs::read_dir(POWER).into_iter().flatten().flatten();
        let packages = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // `intel-rapl:0` is a package (AMD's too), `intel-rapl:0:1` a part of one.
            let is_package = name.starts_with("intel-rapl:") && name.matches(':').count() == 1;
            let folder = entry.path();
            let at_start = number(&folder.join("energy_uj")).filter(|_| is_package)?;
            Some(Package { folder, at_start })
        });
        Self { started: Instant::now(), energy: packages.collect() }
    }

    /// What was used until now.
    pub fn usage(&self, device: &str, images: u64, stages: Stages) -> Usage {
        Usage {
            host: Host::current(),
            device: device.to_owned(),
            images,
            seconds: self.started.elapsed().as_secs_f64(),
            stages,
            peak_memory_bytes: peak_memory(),
            cpu_joules: self.joules(),
        }
    }

    /// A counter that went round once is noticed; one that went round twice cannot be.
    fn joules(&self) -> Option<f64> {
        let used = |package: &Package| {
            let now = number(&package.folder.join("energy_uj"))?;
            let range = number(&package.folder.join("max_energy_range_uj"))?;
            Some(now.checked_sub(package.at_start).unwrap_or(range - package.at_start + now))
        };
        let used: Option<u64> = self.energy.iter().map(used).sum();
        used.filter(|_| !self.energy.is_empty()).map(|microjoules| microjoules as f64 / 1e6)
    }
}

fn number(file: &std::path::Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The largest resident memory of this process so far, as Linux counts it.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Adds the time since `clock` to a stage, and starts the clock anew.
pub(crate) fn lap(clock: &mut Instant, stage: &mut f64) {
    let now = Instant::now();
    *stage += now.duration_since(*clock).max(Duration::ZERO).as_secs_f64();
    *clock = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_tells_time_and_memory() {
        let usage = Meter::start().usage("cpu", 3, Stages::default());
        assert!(usage.seconds >= 0.0);
        if cfg!(target_os = "linux") {
            assert!(usage.peak_memory_bytes > Some(1 << 20), "{usage:?}");
        }
    }
}
