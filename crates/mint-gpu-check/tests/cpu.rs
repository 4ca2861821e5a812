//! The whole check, of the CPU against itself.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;

#[test]
fn the_device_check_finds_that_the_cpu_is_the_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Command::cargo_bin("mint-gpu-check").expect("the program was built");
    program.current_dir(folder.path());
    program.args(["--out", "check", "--backend", "cpu", "--tiny", "--views", "12"]);
    program.args(["--seconds", "0.01", "--classes", "10", "--method", "zero"]);
    program.args(["--precision", "f32,bf16", "--python", "no-python"]);
    let output = program.assert().success().get_output().clone();
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.contains("| zero | 10 | f32 |"), "{table}");
    let report = fs::read_to_string(folder.path().join("check/gpu-check.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let differences = |precision: usize| -> Vec<f64> {
        let list = report["agreement"][precision]["differences"].as_array().expect("a list");
        list.iter().filter_map(|difference| difference["relative"].as_f64()).collect()
    };
    assert_eq!(differences(0), [0.0; 7]);
    assert!(differences(1).iter().all(|&difference| difference > 0.0 && difference < 0.1));
    let image = &report["agreement"][0]["adaptation"][2];
    assert_eq!((&image["same_picks"], &image["same_class"]), (&1.0.into(), &true.into()));
    assert!(report["peer"]["missing"].as_str().is_some_and(|why| why.contains("no-python")));
    assert!(report["stages_bf16"].as_array().is_some_and(|stages| stages.len() == 9), "{report}");
}
