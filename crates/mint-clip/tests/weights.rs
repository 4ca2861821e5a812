//! Dimensions of a weight file, and files that do not fit.

use std::path::{Path, PathBuf};

use mint_clip::weights::{Layout, Origin};
use mint_clip::{Activation, Checkpoint, LoadOptions, WeightsError};
use mint_golden::EditableTensors;

fn demo_weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo/clip.safetensors")
}

fn problems(tensors: &EditableTensors) -> Vec<String> {
    let name = Path::new("changed.safetensors");
    match Checkpoint::from_bytes(name, tensors.bytes(), LoadOptions::default()) {
        Err(WeightsError::Mismatch { problems, .. }) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the weights do not fit"),
    }
}

#[test]
fn dimensions_are_read_off_the_tensors() {
    let checkpoint = Checkpoint::open(&[demo_weights()], LoadOptions::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let config = checkpoint.config().expect("both towers are there");
    let vision = &config.vision;
    assert_eq!((vision.image_size, vision.patch_size, vision.width), (64, 16, 128));
    assert_eq!((vision.layers, vision.heads, vision.mlp_width), (12, 2, 512));
    assert_eq!(vision.tokens(), 17);
    assert_eq!((config.text.layers, config.text.width, config.embed_dim), (4, 128, 128));
    assert_eq!((config.text.context_length, config.text.vocab_size), (77, 49_408));
    assert_eq!(checkpoint.layout(), Layout::OpenAi);
    assert_eq!(checkpoint.activation(), (Activation::QuickGelu, &Origin::Assumed));
}

#[test]
fn options_count_more_than_the_file() {
    let options = LoadOptions { activation: Some(Activation::Gelu), logit_scale: Some(50.0) };
    let checkpoint = Checkpoint::open(&[demo_weights()], options).expect("the file fits");
    assert_eq!(checkpoint.activation(), (Activation::Gelu, &Origin::Options));
    assert_eq!(checkpoint.logit_scale().expect("a scale"), (50.0, Origin::Options));
}

#[test]
fn every_missing_unused_and_misshapen_tensor_is_reported_at_once() {
    let mut tensors = EditableTensors::open(&demo_weights());
    let (gone, odd) = ("visual.ln_post.bias", "transformer.resblocks.2.mlp.c_fc.weight");
    tensors.remove(gone);
    tensors.insert(odd, &[3, 128], &[0.0; 384]);
    tensors.insert("visual.something.weight", &[1], &[0.0]);
    let problems = problems(&tensors);
    let said = |words: [&str; 2]| {
        problems.iter().any(|problem| words.iter().all(|word| problem.contains(word)))
    };
    assert!(said([gone, "missing"]), "{problems:#?}");
    assert!(said([odd, "[3, 128] instead of [512, 128]"]), "{problems:#?}");
    assert!(said(["visual.something.weight", "not used"]), "{problems:#?}");
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn empty_axes_odd_numbers_and_impossible_scales_are_refused() {
    let message = |change: &dyn Fn(&mut EditableTensors)| {
        let mut tensors = EditableTensors::open(&demo_weights());
        change(&mut tensors);
        let name = Path::new("changed.safetensors");
        Checkpoint::from_bytes(name, tensors.bytes(), LoadOptions::default())
            .and_then(|checkpoint| checkpoint.logit_scale())
            .expect_err("it is no model")
            .to_string()
    };
    let empty = message(&|tensors| tensors.insert("visual.proj", &[128, 0], &[]));
    assert!(empty.contains("`visual.proj` is empty"), "{empty}");
    let odd = "visual.transformer.resblocks.00.ln_1.weight";
    let odd = message(&|tensors| tensors.insert(odd, &[128], &[1.0; 128]));
    assert!(odd.contains("resblocks.00.ln_1.weight` is not used"), "{odd}");
    let scale = message(&|tensors| tensors.insert("logit_scale", &[], &[200.0]));
    assert_eq!(scale, "`changed.safetensors`: the scale of the logits is inf");
}

#[test]
fn a_graph_in_which_two_nodes_make_one_value_is_refused() {
    // A model of version 8 whose graph has two nodes with the output `y`.
    let graph = b"\x0a\x03\x12\x01y\x0a\x03\x12\x01y";
    let model = [&[0x08, 0x08, 0x3a, graph.len() as u8][..], graph].concat();
    let error = Checkpoint::from_bytes(Path::new("y.onnx"), model, LoadOptions::default());
    let message = error.expect_err("it is damaged").to_string();
    assert!(message.contains("two nodes make the value `y`"), "{message}");
}

#[test]
fn names_of_a_pickle_do_not_multiply() {
    // A dictionary of 1,100 entries, each the same dictionary of 1,100 tensors-to-be: a million
    // names of 100 bytes, from a few kilobytes.
    let key = |number: usize| {
        let text = format!("{number:0>100}");
        [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    };
    let mut pickle = b"\x80\x02}r\x00\x00\x00\x00(".to_vec();
    for number in 0..1100 {
        pickle.extend(key(number));
        pickle.push(b'N');
    }
    pickle.extend(b"u0}(");
    for number in 0..1100 {
        pickle.extend(key(number));
        pickle.extend(b"j\x00\x00\x00\x00");
    }
    pickle.extend(b"u.");
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
    let file = [&legacy[..], b"\x80\x02M\xe9\x03.", b"\x80\x02}.", &pickle, b"\x80\x02]."].concat();
    let error = Checkpoint::from_bytes(Path::new("names.pt"), file, LoadOptions::default());
    let message = error.expect_err("it holds no model").to_string();
    assert!(message.contains("longer than those of any model"), "{message}");
}

#[test]
fn a_file_of_nonsense_is_an_error_that_names_it() {
    let name = Path::new("nonsense.safetensors");
    let error = Checkpoint::from_bytes(name, &b"nonsense"[..], LoadOptions::default());
    let message = error.expect_err("it is no weight file").to_string();
    assert!(message.contains("nonsense.safetensors"), "{message}");
    let missing = Checkpoint::open(&["nowhere.safetensors".into()], LoadOptions::default());
    let message = missing.expect_err("it is not there").to_string();
    assert!(message.contains("nowhere.safetensors"), "{message}");
}
