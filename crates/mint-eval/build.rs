//! Passes Burn's version from the lock file on to the records.

use std::path::Path;

fn main() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let version = std::fs::read_to_string(&lock).ok().and_then(|text| {
        let (_, rest) = text.split_once("name = \"burn\"\nversion = \"")?;
        Some(rest.split_once('"')?.0.to_owned())
    });
    println!("cargo::rustc-env=BURN_VERSION={}", version.as_deref().unwrap_or("unknown"));
}
