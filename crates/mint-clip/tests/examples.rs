//! The examples, on the demo's weights.

use std::path::Path;

#[allow(dead_code, reason = "the program's own entry is not called here")]
#[path = "../examples/zero_shot.rs"]
mod zero_shot;

#[test]
fn a_pictogram_is_named() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo");
    let names = ["airplane", "bicycle", "umbrella"].map(str::to_owned);
    let picture = demo.join("images/I/umbrella/twemoji-umbrella.png");
    let ranked = zero_shot::classify(&demo.join("clip.safetensors"), &picture, &names);
    let ranked = ranked.expect("the example runs");
    assert_eq!(ranked[0].0, "umbrella", "{ranked:?}");
    let total: f32 = ranked.iter().map(|(_, probability)| probability).sum();
    assert!((total - 1.0).abs() < 1e-5, "{ranked:?}");
}
