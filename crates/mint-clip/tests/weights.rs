//! Weight files that do not fit.

use std::path::Path;

use burn::tensor::Device;
use mint_clip::weights::RawTensor;
use mint_clip::{Clip, Lanes, LoadOptions, StateDict, WeightsError};

fn demo_weights() -> StateDict {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/clip.safetensors");
    StateDict::open(&file).expect("the demo's weights are there")
}

fn problems(tensors: StateDict) -> Vec<String> {
    let lanes = Lanes::new(1);
    match Clip::from_state_dict(tensors, LoadOptions::default(), &Device::flex(), lanes) {
        Err(WeightsError::Mismatch { problems, .. }) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the weights do not fit"),
    }
}

#[test]
fn dimensions_are_read_off_the_tensors() {
    let clip = Clip::from_state_dict(
        demo_weights(),
        LoadOptions::default(),
        &Device::flex(),
        Lanes::new(1),
    );
    let config = clip.expect("the demo's weights fit").config;
    let vision = &config.vision;
    assert_eq!((vision.image_size, vision.patch_size, vision.width), (64, 16, 128));
    assert_eq!((vision.layers, vision.heads, vision.tokens()), (12, 2, 17));
    assert_eq!((config.text.layers, config.text.width, config.embed_dim), (4, 128, 128));
    assert_eq!((config.text.context_length, config.text.vocab_size), (77, 49_408));
}

#[test]
fn every_missing_unused_and_misshapen_tensor_is_reported_at_once() {
    let mut tensors = demo_weights();
    let (gone, odd) = ("visual.ln_post.bias", "transformer.resblocks.2.mlp.c_fc.weight");
    tensors.take(gone).expect("the tensor is there");
    tensors.insert(odd, RawTensor { shape: vec![3, 128], values: vec![0.0; 384] });
    tensors.insert("visual.attnpool.weight", RawTensor { shape: vec![1], values: vec![0.0] });
    let problems = problems(tensors);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    let said = |words: [&str; 2]| {
        problems.iter().any(|problem| words.iter().all(|word| problem.contains(word)))
    };
    assert!(said([gone, "missing"]), "{problems:#?}");
    assert!(said([odd, "[3, 128] instead of [512, 128]"]), "{problems:#?}");
    assert!(said(["visual.attnpool.weight", "not used"]), "{problems:#?}");
}

#[test]
fn a_file_of_nonsense_is_an_error_that_names_it() {
    let error = StateDict::from_safetensors(Path::new("nonsense.safetensors"), b"nonsense");
    let message = error.expect_err("it is no weight file").to_string();
    assert!(message.contains("nonsense.safetensors"), "{message}");
    let missing = StateDict::open(Path::new("nowhere.safetensors")).expect_err("it is not there");
    assert!(missing.to_string().contains("nowhere.safetensors"), "{missing}");
}
