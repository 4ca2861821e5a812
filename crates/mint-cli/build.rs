//! Packs the demo's model, most of which is zeros, so that the program need not carry them.

use std::fs::{File, read};
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

const WEIGHTS: &str = "../../assets/demo/clip.safetensors";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={WEIGHTS}");
    let folder = std::env::var_os("OUT_DIR").expect("cargo names a folder for what is built");
    let packed = File::create(PathBuf::from(folder).join("clip.safetensors.gz"))?;
    let mut encoder = GzEncoder::new(packed, Compression::fast());
    encoder.write_all(&read(WEIGHTS)?)?;
    encoder.finish()?.sync_all()
}
