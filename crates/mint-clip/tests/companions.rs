//! Models of other sizes, and what the configurations next to a weight file say about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use mint_clip::config::{Preprocessing, ResizeMode};
use mint_clip::weights::Origin;
use mint_clip::{Checkpoint, Lanes, LoadOptions, WeightsError};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Dimensions of a random model with OpenAI's names.
#[derive(Clone, Copy)]
struct Size {
    image: usize,
    patch: usize,
    width: usize,
    vocabulary: usize,
}

const SMALL: Size = Size { image: 32, patch: 8, width: 64, vocabulary: 100 };

/// Writes a model of one block in each tower.
fn write_model(folder: &Path, Size { image, patch, width, vocabulary }: Size) -> PathBuf {
    const EMBED: usize = 32;
    const TEXT: usize = 64;
    let tokens = (image / patch).pow(2) + 1;
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::from([
        ("visual.conv1.weight".into(), vec![width, 3, patch, patch]),
        ("visual.class_embedding".into(), vec![width]),
        ("visual.positional_embedding".into(), vec![tokens, width]),
        ("visual.proj".into(), vec![width, EMBED]),
        ("token_embedding.weight".into(), vec![vocabulary, TEXT]),
        ("positional_embedding".into(), vec![77, TEXT]),
        ("text_projection".into(), vec![TEXT, EMBED]),
        ("logit_scale".into(), vec![]),
    ]);
    let mut norm = |name: String, width: usize| {
        shapes.insert(format!("{name}.weight"), vec![width]);
        shapes.insert(format!("{name}.bias"), vec![width]);
    };
    for (name, width) in [("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", TEXT)] {
        norm(name.to_owned(), width);
    }
    for (block, width) in
        [("visual.transformer.resblocks.0", width), ("transformer.resblocks.0", TEXT)]
    {
        norm(format!("{block}.ln_1"), width);
        norm(format!("{block}.ln_2"), width);
    }
    for (block, width) in
        [("visual.transformer.resblocks.0", width), ("transformer.resblocks.0", TEXT)]
    {
        for (name, shape) in [
            ("attn.in_proj_weight", vec![3 * width, width]),
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("mlp.c_fc.weight", vec![4 * width, width]),
            ("mlp.c_fc.bias", vec![4 * width]),
            ("mlp.c_proj.weight", vec![width, 4 * width]),
            ("mlp.c_proj.bias", vec![width]),
        ] {
            shapes.insert(format!("{block}.{name}"), shape);
        }
    }
    let bytes: BTreeMap<&String, Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            let value = |index: usize| ((index * 7919 % 101) as f32 - 50.0) / 500.0;
            (name, (0..count).flat_map(|index| value(index).to_le_bytes()).collect())
        })
        .collect();
    let views = shapes.iter().map(|(name, shape)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).expect("the bytes fit"))
    });
    let file = folder.join("open_clip_model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("the file can be written");
    file
}

fn open(file: &Path) -> Result<Checkpoint, WeightsError> {
    Checkpoint::open(&[file.to_owned()], LoadOptions::default())
}

fn configure(folder: &Path, config: &Value) {
    std::fs::write(folder.join("open_clip_config.json"), config.to_string()).expect("a file");
}

#[test]
fn other_image_sizes_patches_and_widths_run() {
    for size in [
        Size { image: 336, patch: 14, ..SMALL }, // 577 tokens, as OpenAI's ViT-L/14@336px
        Size { image: 224, patch: 32, width: 128, ..SMALL },
        Size { image: 224, patch: 14, width: 96, ..SMALL },
        Size { image: 378, patch: 14, ..SMALL },
    ] {
        let folder = TempDir::new().expect("a folder");
        let checkpoint = open(&write_model(folder.path(), size)).expect("the model fits");
        let clip = checkpoint.load(&Device::flex(), Lanes::new(1)).expect("it can be read");
        let vision = &clip.config.vision;
        assert_eq!(
            (vision.image_size, vision.patch_size, vision.width),
            (size.image, size.patch, size.width)
        );
        assert_eq!(vision.tokens(), (size.image / size.patch).pow(2) + 1);
        let pixels = Tensor::zeros([2, 3, size.image, size.image], &clip.device);
        let embeddings = clip.image.forward(pixels);
        assert_eq!(embeddings.dims(), [2, 32]);
        let values = embeddings.into_data().try_into_vec::<f32>().expect("floats");
        assert!(values.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn positions_that_are_no_square_are_refused() {
    let folder = TempDir::new().expect("a folder");
    // 4 x 4 patches and a class token are 17 rows; this file has 18.
    let file = write_model(folder.path(), SMALL);
    let bytes = std::fs::read(&file).expect("the file");
    let text = "\"visual.positional_embedding\"";
    let place =
        bytes.windows(text.len()).position(|part| part == text.as_bytes()).expect("it is named");
    let shape = bytes[place..].windows(7).position(|part| part == b"[17,64]").expect("its shape");
    let mut other = bytes;
    // As long as before, so that the offsets stay right.
    other[place + shape..place + shape + 7].copy_from_slice(b"[34,32]");
    std::fs::write(&file, other).expect("the file can be written");
    let message = open(&file).expect_err("34 rows are no square and a token").to_string();
    assert!(message.contains("34 rows"), "{message}");
}

#[test]
fn preprocessing_beside_the_weights_is_applied_and_survives_a_conversion() {
    let folder = TempDir::new().expect("a folder");
    let file = write_model(folder.path(), SMALL);
    let plain = open(&file).expect("the model fits");
    assert_eq!(plain.preprocessing(), (Preprocessing::default(), &Origin::Assumed));
    configure(
        folder.path(),
        &json!({"model_cfg": {"vision_cfg": {"image_size": 32, "width": 64, "head_width": 16}},
            "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.4, 0.3], "resize_mode": "squash"}}),
    );
    let expected = Preprocessing {
        image_mean: [0.5; 3],
        image_std: [0.5, 0.4, 0.3],
        resize: ResizeMode::Squash,
    };
    let checkpoint = open(&file).expect("the model fits");
    assert_eq!(checkpoint.preprocessing().0, expected);
    assert!(matches!(checkpoint.preprocessing().1, Origin::Beside(_)));
    let config = checkpoint.config().expect("both towers");
    assert_eq!((config.preprocessing, config.vision.heads), (expected, 4));
    let converted = folder.path().join("converted.safetensors");
    checkpoint.write(&converted, Default::default()).expect("the file can be written");
    let converted = open(&converted).expect("it is the same model");
    assert_eq!(converted.config().expect("both towers"), config);
    assert_eq!(converted.preprocessing(), (expected, &Origin::File));
}

#[test]
fn a_configuration_of_another_model_is_refused_with_all_that_differs() {
    let folder = TempDir::new().expect("a folder");
    let file = write_model(folder.path(), SMALL);
    configure(
        folder.path(),
        &json!({"model_cfg": {"embed_dim": 512,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16, "pool_type": "avg"},
            "text_cfg": {"context_length": 64, "vocab_size": 49408, "layers": 12, "no_causal_mask": true}}}),
    );
    let WeightsError::Mismatch { problems, .. } = open(&file).expect_err("another model") else {
        panic!("it is a mismatch")
    };
    let problems = problems.join("\n");
    for part in [
        "`open_clip_config.json` next to the weights: `model_cfg.vision_cfg.pool_type` is \"avg\"",
        "`model_cfg.text_cfg.no_causal_mask` is true",
        "image tower has the width 64, but the configuration next to the file says 768",
        "image tower has the patch size 8",
        "image tower has the number of blocks 1",
        "image tower has the image size 32",
        "text tower has the context length 77",
        "text tower has the vocabulary 100",
        "the embedding has the width 32",
    ] {
        assert!(problems.contains(part), "`{part}` is not in\n{problems}");
    }
}

#[test]
fn a_vocabulary_that_is_not_the_tokenizers_is_refused_by_name() {
    for vocabulary in [100, 32_000, 49_407, 49_409] {
        let folder = TempDir::new().expect("a folder");
        let file = write_model(folder.path(), Size { vocabulary, ..SMALL });
        let checkpoint = open(&file).expect("the tensors fit each other");
        let message = checkpoint.check_vocabulary().expect_err("another vocabulary").to_string();
        assert!(message.contains(&format!("{vocabulary} rows")), "{message}");
        assert!(message.contains("token_embedding.weight"), "{message}");
    }
    let folder = TempDir::new().expect("a folder");
    let file = write_model(folder.path(), Size { vocabulary: 49_408, ..SMALL });
    open(&file).and_then(|checkpoint| checkpoint.check_vocabulary()).expect("CLIP's own");
}

#[test]
fn what_is_known_says_which_file_it_is_from() {
    let folder = TempDir::new().expect("a folder");
    let import =
        mint_golden::unpack(&mint_golden::path("import.tar.xz"), folder.path()).join("import");
    let beside = folder.path().join("beside");
    std::fs::create_dir(&beside).expect("a folder can be made");
    for name in ["hf.safetensors", "config.json"] {
        std::fs::copy(import.join(name), beside.join(name)).expect("the file can be copied");
    }
    let preprocessor = json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]});
    std::fs::write(beside.join("preprocessor_config.json"), preprocessor.to_string())
        .expect("a file");
    let checkpoint = open(&beside.join("hf.safetensors")).expect("the model fits");
    let from = |origin: &Origin| match origin {
        Origin::Beside(file) => file.file_name().expect("a name").to_string_lossy().into_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(from(checkpoint.activation().1), "config.json");
    assert_eq!(from(checkpoint.preprocessing().1), "preprocessor_config.json");
    assert_eq!(checkpoint.preprocessing().0.image_mean, [0.5; 3]);
}
