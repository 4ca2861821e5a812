//! A device that computes as the CPU does is proven, one that does not is refused by name.

use mint_clip::{Clip, Lanes, Precision, Tokenizer};
use mint_fixtures::{class_names, small_clip_in};
use mint_tuner::{Disproof, MintConfig, ProofShapes, Tolerance, prove};

fn cpu() -> Clip {
    small_clip_in(Lanes::new(2))
}

/// Everything at once, as on a GPU.
fn device(precision: Precision) -> Clip {
    small_clip_in(Lanes::inline()).with_precision(precision)
}

fn compare(
    device: &Clip,
    views: usize,
    chosen: usize,
    tolerance: Tolerance,
) -> Result<(), Disproof> {
    let cpu = cpu();
    let class_names = &class_names();
    let (mint, template) = (&MintConfig::default(), "a photo of a {}.");
    let shapes = ProofShapes { views, chosen, context: 4, mint, class_names, template };
    prove(device, &cpu, &Tokenizer::clip(cpu.config.text.context_length), shapes, tolerance)
}

#[test]
fn everything_at_once_is_what_the_lanes_compute() {
    let tolerance = Tolerance::new(Precision::F32, false);
    compare(&cpu(), 30, 30, tolerance).expect("it is the CPU");
    for (views, chosen) in [(1, 0), (1, 1), (2, 1), (7, 0), (16, 3)] {
        compare(&device(Precision::F32), views, chosen, tolerance).expect("it is the same device");
    }
}

#[test]
fn half_precision_is_within_its_own_tolerance_and_not_within_that_of_single_precision() {
    for precision in [Precision::F16, Precision::Bf16] {
        let device = device(precision);
        compare(&device, 8, 2, Tolerance::new(precision, false)).expect("it is rounded");
        let single = compare(&device, 8, 2, Tolerance::new(Precision::F32, false));
        let message = single.expect_err("it is rounded more").to_string();
        assert!(message.starts_with("embeddings of views: the device is"), "{message}");
    }
}

#[test]
fn a_part_that_is_wrong_is_named() {
    let tolerance = Tolerance::new(Precision::F32, false);
    let mut other = device(Precision::F32);
    other.text = device(Precision::Bf16).text;
    let message = compare(&other, 4, 1, tolerance).expect_err("texts differ").to_string();
    assert!(message.starts_with("embeddings of texts: "), "{message}");
}
