//! All views and all texts at once, as devices get them that are parallel inside, give what many
//! small jobs give.

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::{Clip, ContextPlaces, Lanes, PassConfig, PromptSet, Tokenizer};
use mint_fixtures::{small_clip, small_clip_in, tensor, values};
use mint_golden::{Bound, Recording, assert_close};

fn uneven<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|index| (1.0 + 37.7 * index as f32).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Names whose prompts have different lengths.
fn names() -> Vec<String> {
    ["kite (bird of prey)", "retina", "great white shark", "tabby cat", "jack-o'-lantern"]
        .map(str::to_owned)
        .into()
}

#[test]
fn texts_filled_up_to_one_length_keep_embeddings_and_gradients() {
    let (lanes, at_once) = (small_clip(), small_clip_in(Lanes::inline()));
    let tokenizer = Tokenizer::clip(77);
    let template = PromptSet::from_template(&tokenizer, &names(), "a photo of a {}.");
    let template = template.expect("prompts fit");
    assert!(template.groups().len() > 2, "the lengths differ");
    assert_eq!(template.merged().map(|group| group.classes.len()), Some(5));
    let run = |clip: &Clip| values(clip.text.forward(&template, None));
    assert_close("template", &run(&at_once), &run(&lanes), Bound::ROUND_TRIP);

    // Context after the name stands at a place of its own in each text, so nothing is filled up.
    for (before, after) in [(4, 0), (2, 2)] {
        let places = ContextPlaces { before, after };
        let prompts = PromptSet::with_context(&tokenizer, &names(), places).expect("prompts fit");
        assert_eq!(prompts.merged().is_some(), after == 0);
        let context = uneven([4, 128]) * 0.3;
        let gradient = uneven([5, 64]);
        let run = |clip: &Clip| {
            let (features, trace) = clip.text.forward_traced(&prompts, &context);
            let pulled = clip.text.pullback(&prompts, &trace, gradient.clone());
            [values(features), values(pulled), values(clip.text.forward(&prompts, Some(&context)))]
        };
        for (ours, theirs) in run(&at_once).iter().zip(&run(&lanes)) {
            assert_close(&format!("{places:?}"), ours, theirs, Bound::ROUND_TRIP);
        }
    }
}

#[test]
fn views_at_once_keep_embeddings_and_gradients() {
    let pixels = tensor::<4>(&Recording::open("pixels"), "img1");
    let config = PassConfig { levels: vec![3, 7, 11], prompted_block: 0 };
    let run = |clip: &Clip| {
        let pass = clip.image.unprompted_pass(pixels.clone(), &config);
        let chosen = Tensor::from_ints([2, 9, 11, 4, 15], &Device::flex());
        let prompts = uneven([5, 2, 128]);
        let (embeddings, trace) = clip.image.resume_traced(&pass.entry, chosen, prompts);
        let at_prompts = clip.image.pullback(&trace, uneven([5, 64]));
        let (_, at_norms) = clip
            .image
            .norm_gradient(pixels.clone(), 9, |embeddings| (Some(embeddings.clone()), ()));
        [
            values(pass.embeddings),
            values(Tensor::cat(pass.class_tokens, 0)),
            values(embeddings),
            values(at_prompts),
            values(clip.image.forward_each(pixels.clone())),
            values(at_norms),
        ]
    };
    let (lanes, at_once) = (run(&small_clip()), run(&small_clip_in(Lanes::inline())));
    for (index, (ours, theirs)) in at_once.iter().zip(&lanes).enumerate() {
        assert_close(&format!("output {index}"), ours, theirs, Bound::ROUND_TRIP);
    }
}
