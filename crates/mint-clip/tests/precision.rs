//! Towers in half precision compared with those in single precision: outputs and gradients.

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::{Clip, ContextPlaces, PassConfig, Precision, PromptSet, Tokenizer};
use mint_fixtures::{small_clip, tensor, values};
use mint_golden::Recording;

/// Largest difference, relative to the largest value.
fn difference<const D: usize>(half: Tensor<D>, single: Tensor<D>) -> f32 {
    let (half, single) = (values(half), values(single));
    let largest = single.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let pairs = half.iter().zip(&single);
    pairs.fold(0.0f32, |worst, (half, single)| worst.max((half - single).abs())) / largest
}

/// Numbers between -1 and 1 without a pattern that matters.
fn uneven<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|index| (1.0 + 37.7 * index as f32).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// What a model computes of some views and texts, and gradients of both.
struct Outputs {
    images: Tensor<2>,
    class_tokens: Tensor<2>,
    texts: Tensor<2>,
    at_prompts: Tensor<3>,
    at_context: Tensor<2>,
    at_norms: Tensor<4>,
}

fn outputs(clip: &Clip, gradient_factor: f64) -> Outputs {
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0");
    let config = PassConfig { levels: vec![3, 7, 11], prompted_block: 0 };
    let pass = clip.image.unprompted_pass(pixels.clone(), &config);
    let prompts = uneven([16, 2, 128]);
    let all = Tensor::from_ints([0, 3, 5], &Device::flex());
    let chosen = prompts.narrow(0, 0, 3);
    let (_, trace) = clip.image.resume_traced(&pass.entry, all, chosen);
    let at_images = uneven([3, 64]) * gradient_factor;
    let tokenizer = Tokenizer::clip(77);
    let names = ["tabby cat", "astronaut", "great white shark"].map(str::to_owned);
    let places = ContextPlaces::leading(4);
    let texts = PromptSet::with_context(&tokenizer, &names, places).expect("prompts fit");
    let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
    let (features, text_trace) = clip.text.forward_traced(&texts, &context);
    let at_texts = uneven([3, 64]) * gradient_factor;
    let weights = uneven([16, 64]) * gradient_factor;
    let (_, at_norms) = clip.image.norm_gradient(pixels, 9, |embeddings| {
        (Some(weights.clone().narrow(0, 0, embeddings.dims()[0])), ())
    });
    Outputs {
        images: pass.embeddings,
        class_tokens: Tensor::cat(pass.class_tokens, 0),
        texts: features,
        at_prompts: clip.image.pullback(&trace, at_images),
        at_context: clip.text.pullback(&texts, &text_trace, at_texts),
        at_norms,
    }
}

#[test]
fn half_precision_stays_near_single_precision() {
    let single = outputs(&small_clip(), 1.0);
    // Rounding to 11 and to 8 bits, through 12 blocks forward and 12 back.
    for (precision, bound) in [(Precision::F16, 0.01), (Precision::Bf16, 0.08)] {
        let half = outputs(&small_clip().with_precision(precision), 1.0);
        let single = &single;
        let differences = [
            ("images", difference(half.images, single.images.clone())),
            ("class tokens", difference(half.class_tokens, single.class_tokens.clone())),
            ("texts", difference(half.texts, single.texts.clone())),
            ("gradient at prompts", difference(half.at_prompts, single.at_prompts.clone())),
            ("gradient at context", difference(half.at_context, single.at_context.clone())),
            ("gradient at norms", difference(half.at_norms, single.at_norms.clone())),
        ];
        for (what, difference) in differences {
            println!("{precision} {what}: {difference:.1e}");
            assert!(difference > 0.0, "{precision} {what}: nothing was rounded");
            assert!(difference < bound, "{precision} {what}: {difference} is over {bound}");
        }
    }
}

#[test]
fn gradients_of_any_size_pass_through_half_precision() {
    let clip = small_clip().with_precision(Precision::F16);
    let usual = outputs(&clip, 1.0);
    // Beyond the range of half precision on both sides.
    for factor in [1e-9, 1e7] {
        let scaled = outputs(&clip, factor);
        let close = |scaled: f32| assert!(scaled < 1e-3, "{factor}: {scaled}");
        close(difference(scaled.at_prompts / factor, usual.at_prompts.clone()));
        close(difference(scaled.at_context / factor, usual.at_context.clone()));
        close(difference(scaled.at_norms / factor, usual.at_norms.clone()));
    }
    let nothing = outputs(&clip, 0.0);
    assert!(values(nothing.at_prompts).iter().all(|&value| value == 0.0));
}

#[test]
fn single_precision_converts_nothing() {
    let (one, other) = (small_clip(), small_clip().with_precision(Precision::F32));
    let (one, other) = (outputs(&one, 1.0), outputs(&other, 1.0));
    assert_eq!(values(one.images), values(other.images));
    assert_eq!(values(one.at_context), values(other.at_context));
}
