//! Valid weight files with random damage: every reader returns tensors or an error, whatever it is
//! fed; it never panics, hangs, or takes memory that the file does not account for.
//!
//! `PROPTEST_CASES=100000 cargo test -p mint-clip --test mutations` looks further.

mod counting_allocator;

use std::path::Path;
use std::time::{Duration, Instant};

use counting_allocator::with_peak;
use mint_clip::weights::LearnedPrompts;
use mint_clip::{Checkpoint, LoadOptions};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// Cases of each reader, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 200;

/// What a reader may take beyond some copies of the file.
const MOST_BYTES: usize = 64 << 20;
const MOST_COPIES: usize = 16;

/// No file takes this long; one that does has made a reader hang.
const HANG: Duration = Duration::from_secs(30);

/// One kind of damage.
#[derive(Debug, Clone)]
enum Damage {
    /// A byte is changed.
    Byte(Index, u8),
    /// A bit is flipped.
    Bit(Index, u8),
    /// Eight bytes become an integer that is likely to overflow something.
    Integer(Index, u64, bool),
    /// Some bytes are put in, copied from elsewhere.
    Copy(Index, Index, u8),
    /// Some bytes are taken out.
    Cut(Index, u8),
    /// The rest is missing.
    End(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let integer = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX >> 1),
        Just(1 << 63),
        Just(1 << 60),
        Just(1 << 40),
        Just(1 << 33),
        Just(u64::from(u32::MAX)),
        any::<u64>(),
    ];
    prop_oneof![
        6 => (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (index(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        3 => (index(), integer, any::<bool>())
            .prop_map(|(at, integer, wide)| Damage::Integer(at, integer, wide)),
        3 => (index(), index(), 1..64_u8)
            .prop_map(|(at, from, length)| Damage::Copy(at, from, length)),
        3 => (index(), 1..64_u8).prop_map(|(at, length)| Damage::Cut(at, length)),
        1 => index().prop_map(Damage::End),
    ]
}

/// A valid file, and where in it names and lengths are rather than weights.
struct Base {
    bytes: Vec<u8>,
    structure: Vec<usize>,
}

impl Base {
    fn new(bytes: Vec<u8>) -> Self {
        const RUN: usize = 6;
        const AROUND: usize = 24;
        let mut near = vec![false; bytes.len()];
        let mut run = 0;
        for (at, byte) in bytes.iter().enumerate() {
            run = if byte.is_ascii_graphic() { run + 1 } else { 0 };
            if run >= RUN {
                let start = (at + 1).saturating_sub(run.min(AROUND) + AROUND);
                near[start..(at + AROUND).min(bytes.len())].fill(true);
            }
        }
        near[..bytes.len().min(64)].fill(true);
        let structure = (0..bytes.len()).filter(|&at| near[at]).collect();
        Self { bytes, structure }
    }

    fn damaged(&self, damages: &[Damage]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for damage in damages {
            if bytes.is_empty() {
                break;
            }
            let place = |index: &Index| self.structure[index.index(self.structure.len())];
            let place = |index: &Index| place(index).min(bytes.len() - 1);
            match damage {
                Damage::Byte(at, byte) => {
                    let at = place(at);
                    bytes[at] = *byte;
                }
                Damage::Bit(at, bit) => {
                    let at = place(at);
                    bytes[at] ^= 1 << bit;
                }
                Damage::Integer(at, integer, wide) => {
                    let integer = integer.to_le_bytes();
                    let integer = if *wide { &integer[..] } else { &integer[..4] };
                    let at = place(at);
                    let length = integer.len().min(bytes.len() - at);
                    bytes[at..at + length].copy_from_slice(&integer[..length]);
                }
                Damage::Copy(at, from, length) => {
                    let (at, from) = (place(at), place(from));
                    let end = (from + usize::from(*length)).min(bytes.len());
                    let piece = bytes[from..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                Damage::Cut(at, length) => {
                    let at = place(at);
                    bytes.drain(at..(at + usize::from(*length)).min(bytes.len()));
                }
                Damage::End(at) => {
                    let at = place(at);
                    bytes.truncate(at);
                }
            }
        }
        bytes
    }
}

/// Feeds damaged copies of the files to a reader.
fn check(files: &[&str], read: fn(Vec<u8>)) {
    let archive = mint_golden::path("import.tar.xz");
    let folder = mint_golden::unpack(&archive, Path::new(env!("CARGO_TARGET_TMPDIR")));
    let base = |file: &&str| {
        let file = folder.join("import").join(file);
        Base::new(std::fs::read(file).expect("the recording is there"))
    };
    check_bases(&files.iter().map(base).collect::<Vec<_>>(), read);
}

fn check_bases(bases: &[Base], read: fn(Vec<u8>)) {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Off));
    let strategy = (any::<Index>(), proptest::collection::vec(damage(), 1..6));
    let outcome = TestRunner::new(config).run(&strategy, |(base, damages)| {
        let bytes = base.get(bases).damaged(&damages);
        let allowed = MOST_BYTES + MOST_COPIES * bytes.len();
        let start = Instant::now();
        let ((), used) = with_peak(|| read(bytes));
        prop_assert!(used < allowed, "{used} bytes were taken");
        prop_assert!(start.elapsed() < HANG, "it took {:?}", start.elapsed());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn read_model(bytes: Vec<u8>) {
    // An own folder, so that no file next to it is ever found.
    let name = Path::new("/nowhere/model");
    if let Ok(checkpoint) = Checkpoint::from_bytes(name, bytes, LoadOptions::default()) {
        // Damaged numbers are an error like any other.
        let _ = checkpoint.examine();
    }
}

fn read_prompts(bytes: Vec<u8>) {
    let _ = LearnedPrompts::from_bytes(Path::new("/nowhere/prompts"), bytes);
}

#[test]
fn damaged_safetensors() {
    check(&["hostile/control_ok.safetensors"], read_model);
}

#[test]
fn damaged_archives() {
    check(&["hostile/control_ok.pt", "hostile/evil_reduce.pt"], read_model);
}

#[test]
fn damaged_torchscript() {
    check(&["openai_torchscript.pt"], read_model);
}

#[test]
fn damaged_legacy_pickles() {
    check(&["openai_state_dict_legacy.pt", "hostile/evil_reduce_legacy.pt"], read_model);
}

#[test]
fn damaged_onnx() {
    let files = [
        "hostile/control_ok.onnx",
        "onnx_hf/text_model_dedup.onnx",
        "onnx_openai/dynamo_text.onnx",
    ];
    check(&files, read_model);
}

#[test]
fn damaged_prompts() {
    check(&["prompts/coop.pth", "prompts/cocoop.pth"], read_prompts);
}

#[test]
fn damaged_indices_of_parts() {
    let index = br#"{"metadata": {}, "weight_map": {"ln.weight": "model-1.safetensors"}}"#;
    check_bases(&[Base::new(index.to_vec())], read_model);
}
