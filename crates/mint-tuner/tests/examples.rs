//! The examples, on the demo's weights.

use std::path::{Path, PathBuf};

#[allow(dead_code, reason = "the program's own entry is not called here")]
#[path = "../examples/mint.rs"]
mod mint;
#[allow(dead_code, reason = "the program's own entry is not called here")]
#[path = "../examples/own_method.rs"]
mod own_method;

fn demo(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo").join(file)
}

fn names() -> [String; 3] {
    ["airplane", "bicycle", "umbrella"].map(str::to_owned)
}

#[test]
fn mint_adapts_to_each_picture_in_three_steps() {
    let pictures =
        ["images/I/umbrella/twemoji-umbrella.png", "images/I/bicycle/twemoji-bicycle.png"]
            .map(demo);
    let pictures = pictures.each_ref().map(PathBuf::as_path);
    let outcomes = mint::adapt(&demo("clip.safetensors"), &names(), &pictures);
    let outcomes = outcomes.expect("the example runs");
    for (outcome, class) in outcomes.iter().zip([2, 1]) {
        assert_eq!(outcome.steps.len(), 3);
        let best = (0..3).max_by(|&a, &b| outcome.scores[a].total_cmp(&outcome.scores[b]));
        assert_eq!(best, Some(class), "{outcome:?}");
    }
}

#[test]
fn a_method_of_ones_own_gives_probabilities() {
    let picture = demo("images/I/umbrella/twemoji-umbrella.png");
    let outcome = own_method::classify(&demo("clip.safetensors"), &picture, &names());
    let scores = outcome.expect("the example runs").scores;
    let total: f32 = scores.iter().map(|score| score.exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{scores:?}");
    assert!(scores[2] > scores[0] && scores[2] > scores[1], "{scores:?}");
}
