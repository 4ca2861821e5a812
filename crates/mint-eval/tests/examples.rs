//! The examples, on the demo's weights.

use std::path::Path;

use mint_eval::MethodId;

#[allow(dead_code, reason = "the program's own entry is not called here")]
#[path = "../examples/classify.rs"]
mod classify;

#[test]
fn a_pictogram_is_named_by_every_method_that_needs_nothing() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo");
    let names = ["airplane", "bicycle", "umbrella"].map(str::to_owned);
    let picture = demo.join("images/I/umbrella/twemoji-umbrella.png");
    for method in [MethodId::Clip, MethodId::Tpt, MethodId::Mint, MethodId::Tda, MethodId::Vte] {
        let labels = classify::classify(&demo.join("clip.safetensors"), method, &picture, &names);
        let labels = labels.expect("the example runs");
        assert_eq!(labels[0].0, "umbrella", "{method:?}: {labels:?}");
    }
    let votes =
        classify::classify(&demo.join("clip.safetensors"), MethodId::Zero, &picture, &names);
    assert!(votes.expect_err("ZERO votes").to_string().contains("votes"));
}
