//! Damages pictures at random and decodes them: no file may end the program, hang it or take much
//! memory.
//!
//! ```text
//! cargo run --release --example damage -- FOLDER COUNT [SEED]
//! ```
//!
//! Prints how many were read and refused, the slowest, and the largest memory (on Linux).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder of pictures");
    let count: usize = arguments.next().map_or(10_000, |count| count.parse().expect("a number"));
    let seed: u64 = arguments.next().map_or(0, |seed| seed.parse().expect("a number"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let pictures: Vec<Vec<u8>> =
        files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, String::new());
    for number in 0..count {
        let index = rng.random_range(0..pictures.len());
        let damaged = damaged(&pictures[index], &mut rng);
        let clock = Instant::now();
        let decoded = std::panic::catch_unwind(|| mint_datasets::decode(&damaged));
        let took = clock.elapsed();
        let result = match decoded {
            Ok(Ok(_)) => "read",
            Ok(Err(_)) => "refused",
            Err(_) => "panicked",
        };
        *results.entry(result).or_default() += 1;
        if took > slowest.0 {
            slowest = (took, format!("number {number}, {}", files[index].display()));
        }
    }
    println!("{results:?}");
    println!("slowest: {:.3} s, {}", slowest.0.as_secs_f64(), slowest.1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("largest memory: {}", peak.trim_start_matches("VmHWM:").trim());
    }
    assert!(!results.contains_key("panicked"), "a decoder panicked");
}

/// Changes bytes, mostly near the start, where the headers are; cuts or repeats a part.
fn damaged(picture: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = picture.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let reach = if rng.random_bool(0.5) { bytes.len().min(200) } else { bytes.len() };
        if reach == 0 {
            break;
        }
        let place = rng.random_range(0..reach);
        match rng.random_range(0..10) {
            0..5 => bytes[place] = rng.random(),
            5 => bytes[place] = 0xff,
            6 => bytes[place] ^= 1 << rng.random_range(0..8),
            7 => bytes.truncate(place),
            8 => drop(bytes.splice(place..place, picture[..place.min(picture.len())].to_vec())),
            _ => drop(bytes.drain(place..(place + 7).min(bytes.len()))),
        }
    }
    bytes
}
