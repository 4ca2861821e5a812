//! What is kept from run to run for a device: compiled kernels, and that it was proven.

#[cfg(any(feature = "cuda-lean", feature = "wgpu", test))]
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
#[cfg(any(feature = "cuda-lean", feature = "wgpu", test))]
use std::path::PathBuf;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::autotune::AutotuneLevel;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::cache::CacheConfig;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig};

/// The folder of everything that is kept.
#[cfg(any(feature = "cuda-lean", feature = "wgpu", test))]
pub fn folder(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let home = || Some(PathBuf::from(variable("HOME")?).join(".cache"));
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("mint")
}

/// The crates that write kernels, choose among them and hand them to a driver, with their versions.
pub fn crates() -> String {
    let locked = include_str!("../../../Cargo.lock");
    let mut found = Vec::new();
    for package in locked.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            line.strip_prefix(" = \"")?.strip_suffix('"')
        };
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && ["burn", "cubecl", "cubek", "cudarc", "naga", "wgpu"].iter().any(|family| {
                name.strip_prefix(family)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
        {
            found.push(format!("{name} {version}"));
        }
    }
    found.join(", ")
}

/// Has compiled kernels, and which of several was measured to be the fastest, kept from run to run:
/// in a folder for this device with this driver and these versions of the crates, since what was
/// right and fast for one need not be for another. Returns the folder, if it is known.
///
/// A `cubecl.toml` of the user's may choose another folder. `is_software`: a processor computes in
/// the place of a GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub fn keep_kernels(device: &str, is_software: bool) -> Option<PathBuf> {
    let of_device = format!("{}-{:016x}", file_name(device), hash(&crates()));
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
    let kept = match &config.environment.path {
        CacheConfig::Directory(folder) => Some(folder.clone()),
        _ => None,
    };
    // Too late only if something has asked for the configuration, which nothing does before here.
    if CubeClRuntimeConfig::try_set(config) {
        return kept;
    }
    tracing::warn!("compiled kernels are not kept for this device: another was tried before it");
    None
}

/// A number for a text, the same in every run of a program.
pub fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
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
        for name in ["burn", "burn-cubecl", "cubecl-wgpu", "cubek-matmul", "naga", "wgpu-hal"] {
            let is_it = |it: &str| it.split_once(' ').is_some_and(|(it, _)| it == name);
            assert!(crates.split(", ").any(is_it), "{name}: {crates}");
        }
        assert!(crates.contains(&format!("burn-cubecl {}", mint_clip::BURN_VERSION)), "{crates}");
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
