//! What is kept from run to run for a device: compiled kernels, and that it was proven.

use std::ffi::OsString;
use std::path::PathBuf;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::autotune::AutotuneLevel;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::cache::CacheConfig;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig};

/// The folder of everything that is kept.
pub fn folder(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let home = || Some(PathBuf::from(variable("HOME")?).join(".cache"));
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("mint")
}

/// The crates that write kernels and hand them to a driver, with their versions.
pub fn crates() -> String {
    let locked = include_str!("../../../Cargo.lock");
    let mut found = Vec::new();
    for package in locked.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            line.strip_prefix(" = \"")?.strip_suffix('"')
        };
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && ["burn-cubecl", "cubecl-runtime", "cubek-matmul", "naga"].contains(&name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found.join(", ")
}

/// Has compiled kernels, and which of several was measured to be the fastest, kept from run to run:
/// in a folder for this device with this driver and these versions of the crates, since what was
/// right and fast for one need not be for another.
///
/// A `cubecl.toml` of the user's may choose another folder. `is_software`: a processor computes in
/// the place of a GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub fn keep_kernels(device: &str, is_software: bool) {
    let of_device = file_name(&format!("{device} {}", crates()));
    let folder = folder(|name| std::env::var_os(name)).join("kernels").join(of_device);
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    if is_software {
        // Below this level, candidates are tried until one is near the device's peak, which is
        // measured with more memory than such a device has.
        config.autotune.level = AutotuneLevel::Full;
    }
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Directory(folder);
    }
    // Too late only if something has asked for the configuration, which nothing does before here.
    if !CubeClRuntimeConfig::try_set(config) {
        tracing::warn!("compiled kernels are not kept: the configuration was read too early");
    }
}

/// Words as the name of a file.
#[cfg(any(feature = "cuda", feature = "wgpu", test))]
fn file_name(words: &str) -> String {
    let dashed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = words.chars().map(dashed).collect();
    name.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_are_named_with_their_versions() {
        let crates = crates();
        assert!(
            crates.starts_with(&format!("burn-cubecl {}", mint_clip::BURN_VERSION)),
            "{crates}"
        );
        assert_eq!(crates.split(", ").count(), 4, "{crates}");
    }

    #[test]
    fn a_device_is_a_file_name() {
        assert_eq!(file_name("NVIDIA H100 (driver 550.54)"), "NVIDIA-H100-driver-550.54");
        assert_eq!(file_name("llvmpipe (LLVM 15.0.6, 256 bits)"), "llvmpipe-LLVM-15.0.6-256-bits");
    }

    #[test]
    fn what_is_kept_is_in_the_users_cache() {
        let of = |name: &'static str, value: &'static str| {
            folder(move |asked| (asked == name).then(|| value.into()))
        };
        assert_eq!(of("XDG_CACHE_HOME", "/x"), PathBuf::from("/x/mint"));
        assert_eq!(of("HOME", "/home/u"), PathBuf::from("/home/u/.cache/mint"));
    }
}
