//! Both towers, layer by layer, against the official implementation.

use mint_clip::attention::Mask;
use mint_clip::block::Rows;
use mint_clip::prompt::{Item, class_text};
use mint_clip::{ContextPlaces, PassConfig, PromptSet, normalize};
use mint_fixtures::{small_clip, tensor, values};
use mint_golden::{Bound, Recording, assert_close};

/// Prints and checks the largest difference.
#[track_caller]
fn check(what: &str, actual: &[f32], expected: &[f32]) {
    let largest = assert_close(what, actual, expected, Bound::TOWER);
    println!("{what}: largest difference {largest:.1e}");
}

#[test]
fn the_image_tower_matches_layer_by_layer() {
    let clip = small_clip();
    let tower = clip.image.tower();
    let recording = Recording::open("image_encoder");
    let pixels = tensor::<4>(&recording, "pixels");

    let tokens = tower.embed(pixels.clone());
    let first = values(tokens.clone().narrow(0, 0, 1));
    check("ln_pre of image 0", &first, &recording.floats("ln_pre_tokens_img0"));
    let block_0 = tower.blocks[0].forward(tokens.narrow(0, 0, 1), Rows::All, Mask::None);
    check("block 0 of image 0", &values(block_0), &recording.floats("block0_tokens_img0"));

    let layers = tower.blocks.len();
    let config = PassConfig { levels: (0..layers).collect(), prompted_block: 0 };
    let pass = tower.unprompted_pass(pixels.clone(), &config);
    let expected = recording.floats("cls_per_layer");
    for (layer, class_tokens) in pass.class_tokens.into_iter().enumerate() {
        let size = expected.len() / layers;
        let expected = &expected[layer * size..][..size];
        check(&format!("class token after block {layer}"), &values(class_tokens), expected);
    }
    check("embedding", &values(pass.embeddings), &recording.floats("embedding"));
    let embeddings = clip.image.forward(pixels);
    check("embedding in lanes", &values(embeddings.clone()), &recording.floats("embedding"));
    check("normalised", &values(normalize(embeddings)), &recording.floats("embedding_norm"));
}

/// The names in the recordings' metadata.
fn class_names(recording: &Recording) -> Vec<String> {
    serde_json::from_str(&recording.metadata("classes")).expect("a list of names")
}

fn token_ids(prompts: &PromptSet, class: usize) -> Vec<u32> {
    let id = |item| match item {
        Item::Token(id) => id,
        Item::Context(_) => panic!("the prompt is learned"),
    };
    prompts.prompt(class).expect("the class exists").into_iter().map(id).collect()
}

/// Checks that a prompt has the official tokens after its context vectors.
fn check_tokens(recording: &Recording, tag: &str, prompts: &PromptSet) {
    let tokenized = recording.integers(&format!("{tag}.tokenized"));
    for (class, row) in tokenized.chunks(77).enumerate() {
        let items = prompts.prompt(class).expect("the class exists");
        let ids: Vec<i64> = items
            .iter()
            .filter_map(|item| match item {
                Item::Token(id) => Some(i64::from(*id)),
                Item::Context(_) => None,
            })
            .collect();
        let n_context = items.len() - ids.len();
        let official: Vec<i64> = [&row[..1], &row[1 + n_context..items.len()]].concat();
        assert_eq!(ids, official, "{tag}: tokens of class {class}");
        assert!(row[items.len()..].iter().all(|&id| id == 0), "{tag}: class {class} ends");
    }
}

#[test]
fn the_text_tower_matches_for_every_placement_of_the_context() {
    let clip = small_clip();
    let recording = Recording::open("text_encoder");
    let names = class_names(&recording);
    let tokenizer = clip.tokenizer();
    let check_features = |tag: &str, features| {
        check(
            &format!("{tag} features"),
            &values(features),
            &recording.floats(&format!("{tag}.features")),
        );
    };
    for (tag, places) in [
        ("end", ContextPlaces::leading(4)),
        ("a_photo_of_a", ContextPlaces::leading(4)),
        ("middle", ContextPlaces { before: 2, after: 2 }),
        ("photo_of_CLS_in_style", ContextPlaces { before: 4, after: 2 }),
    ] {
        let prompts = PromptSet::with_context(&tokenizer, &names, places).expect("prompts fit");
        check_tokens(&recording, tag, &prompts);
        let context = tensor::<2>(&recording, &format!("{tag}.ctx"));
        let features = clip.text.forward(&prompts, Some(&context));
        check_features(tag, features.clone());
        let expected = recording.floats(&format!("{tag}.features_norm"));
        check(&format!("{tag} normalised"), &values(normalize(features)), &expected);
        let (traced, _) = clip.text.forward_traced(&prompts, &context);
        check_features(tag, traced);
    }

    let prompts =
        PromptSet::from_template(&tokenizer, &names, "a photo of a {}.").expect("prompts fit");
    let tokenized = recording.integers("zeroshot.tokenized");
    for (class, row) in tokenized.chunks(77).enumerate() {
        let ids: Vec<i64> = token_ids(&prompts, class).into_iter().map(i64::from).collect();
        assert_eq!(ids, row[..ids.len()], "tokens of class {class}");
    }
    assert_eq!(prompts.prefix().len(), 5, "start of text and `a photo of a` are shared");
    check_features("zeroshot", clip.text.forward(&prompts, None));
}

#[test]
fn context_from_words_is_their_token_embeddings() {
    let clip = small_clip();
    let recording = Recording::open("text_encoder");
    let tokenizer = clip.tokenizer();
    let ids = tokenizer.encode(&class_text("a_photo_of_a"));
    let context = clip.text.tower().token_rows(&ids);
    assert_close("context", &values(context), &recording.floats("a_photo_of_a.ctx"), Bound::EXACT);
}

#[test]
fn the_number_of_lanes_changes_no_bit() {
    use mint_clip::{ImageEncoder, Lanes};
    let clip = small_clip();
    let recording = Recording::open("pixels");
    let pixels = tensor::<4>(&recording, "img0");
    let encode = |lanes| {
        let encoder = ImageEncoder::new(clip.image.tower().clone(), Lanes::new(lanes));
        values(encoder.forward(pixels.clone()))
    };
    assert_eq!(encode(1), encode(3));
}

#[test]
fn gains_and_offsets_of_norms_are_put_where_they_were_read() {
    use mint_clip::{ImageEncoder, Lanes};
    let clip = small_clip();
    let tower = clip.image.tower();
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0").narrow(0, 0, 2);
    let encode = |tower| values(ImageEncoder::new(tower, Lanes::new(1)).forward(pixels.clone()));
    let parameters = tower.norm_parameters(9);
    assert_eq!(parameters.dims(), [9, 2, 2, clip.config.vision.width]);
    let same = tower.with_norm_parameters(&parameters);
    assert_eq!(values(same.norm_parameters(9)), values(parameters.clone()));
    assert_eq!(encode(same), encode(tower.clone()));
    let scaled = tower.with_norm_parameters(&(parameters.clone() * 1.01));
    assert_eq!(values(scaled.norm_parameters(9)), values(parameters * 1.01));
    assert_ne!(encode(scaled), encode(tower.clone()));
}
