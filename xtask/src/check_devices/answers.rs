//! What a run answered, and what the CPU answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::places::SETS;

/// What each method says about each image of each file of its record: the best classes with their
/// scores, the best first.
pub type Answers = BTreeMap<String, Vec<(String, Vec<Vec<(u64, f64)>>)>>;

/// How far a score on a device may be from the CPU's. A class that the CPU has as close behind its
/// own counts as the same.
const SCORE_BOUND: f64 = 1e-3;

/// Reads the record of a run.
pub fn read(record: &Path) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let entries = fs::read_dir(record);
    for entry in entries.with_context(|| format!("cannot read `{}`", record.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".jsonl") else { continue };
        let of_set = |set: &&str| name.strip_prefix(*set)?.strip_prefix('-').map(str::to_owned);
        let Some(method) = SETS.iter().find_map(of_set) else { continue };
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        let lines = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let best = line["top5"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
            let best = best.map(|best| best["class"].as_u64().zip(best["score"].as_f64()));
            let best: Option<Vec<_>> = best.collect();
            let best = best.filter(|best| !best.is_empty());
            best.with_context(|| format!("`{}` has a line without an answer", file.display()))
        });
        let lines: Vec<_> = lines.collect::<anyhow::Result<_>>()?;
        answers.entry(method).or_default().push((name.to_owned(), lines));
    }
    answers.values_mut().for_each(|of_sets| of_sets.sort_by(|one, other| one.0.cmp(&other.0)));
    Ok(answers)
}

/// How many images have the same class on both, and how far the scores of those are apart.
///
/// # Errors
///
/// If a class is another or a score differs by more than [`SCORE_BOUND`].
pub fn beside(cpu: &Answers, device: &Answers) -> anyhow::Result<()> {
    ensure!(cpu.keys().eq(device.keys()), "the device did not run every method");
    println!("| method | same class | largest difference of its score |");
    println!("| --- | --- | --- |");
    let mut apart = Vec::new();
    for ((method, cpu), device) in cpu.iter().zip(device.values()) {
        let (mut same, mut images, mut difference) = (0, 0, 0.0f64);
        ensure!(cpu.len() == device.len(), "the device did not run {method} on every set");
        for ((file, cpu), (other, device)) in cpu.iter().zip(device) {
            ensure!(file == other, "the device has `{other}` and not `{file}`");
            ensure!(cpu.len() == device.len(), "the device did not see all images of `{file}`");
            for (cpu, device) in cpu.iter().zip(device) {
                images += 1;
                let (class, score) = device[0];
                let on_cpu = cpu.iter().find(|(other, _)| *other == class);
                let Some(on_cpu) = on_cpu.filter(|(_, other)| cpu[0].1 - other <= SCORE_BOUND)
                else {
                    continue;
                };
                same += 1;
                difference = difference.max((score - on_cpu.1).abs());
            }
        }
        println!("| {method} | {same} of {images} | {difference:.1e} |");
        if same < images || difference > SCORE_BOUND {
            apart.push(method.as_str());
        }
    }
    ensure!(apart.is_empty(), "on this device, other answers than the CPU's: {}", apart.join(", "));
    Ok(())
}
