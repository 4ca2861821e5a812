//! The hand-written pullbacks against Burn's autodiff through the plain forward passes.

use burn::tensor::{Device, Distribution, Int, Tensor};
use mint_clip::attention::KeyValue;
use mint_clip::{Activation, Clip, ContextPlaces, PassConfig, PromptSet};
use mint_fixtures::{small_clip, tensor, values};
use mint_golden::{Bound, Recording, assert_close};

/// Weights of a scalar function of a tensor, so that every output matters differently.
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Device::flex().seed(7);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn names() -> Vec<String> {
    ["tabby cat", "astronaut", "great white shark", "kite (bird of prey)"].map(str::to_owned).into()
}

fn check_context_gradient(clip: &Clip, places: ContextPlaces) {
    let tokenizer = clip.tokenizer();
    let prompts = PromptSet::with_context(&tokenizer, &names(), places).expect("prompts fit");
    let context = random([prompts.n_context(), clip.config.text.width]) * 0.3;
    let output_gradient = random([prompts.n_classes(), clip.config.embed_dim]);

    let (_, trace) = clip.text.forward_traced(&prompts, &context);
    let ours = clip.text.pullback(&prompts, &trace, output_gradient.clone());
    let again = clip.text.pullback(&prompts, &trace, output_gradient.clone());
    assert_eq!(values(ours.clone()), values(again), "a trace can be pulled back twice");

    let leaf = context.autodiff().require_grad();
    let features = clip.text.forward(&prompts, Some(&leaf));
    let gradients = (features * output_gradient.autodiff()).sum().backward();
    let autodiff = leaf.grad(&gradients).expect("the context has a gradient");
    let largest = assert_close("context", &values(ours), &values(autodiff), Bound::ROUND_TRIP);
    println!("{places:?}: largest difference {largest:.1e}");
}

#[test]
fn the_texts_pullback_is_autodiffs_gradient_at_the_context() {
    let clip = small_clip();
    for (before, after) in [(4, 0), (2, 2), (0, 3), (1, 0)] {
        check_context_gradient(&clip, ContextPlaces { before, after });
    }
}

#[test]
fn the_images_pullback_is_autodiffs_gradient_at_the_prompts() {
    let clip = small_clip();
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0");
    let layers = clip.config.vision.layers;
    // The first block is the official one; the last has no blocks after it.
    for prompted_block in [0, 5, layers - 1] {
        let config = PassConfig { levels: vec![layers - 1], prompted_block };
        let pass = clip.image.unprompted_pass(pixels.clone(), &config);
        let views = Tensor::<1, Int>::from_ints([3, 0, 7, 8, 15], &Device::flex());
        let prompts = random([5, 2, clip.config.vision.width]);
        let output_gradient = random([5, clip.config.embed_dim]);

        let (embeddings, trace) =
            clip.image.resume_traced(&pass.entry, views.clone(), prompts.clone());
        let ours = clip.image.pullback(&trace, output_gradient.clone());

        let leaf = prompts.autodiff().require_grad();
        let plain = clip.image.tower().resume(pass.entry.select(views), leaf.clone());
        let difference = assert_close(
            "forward",
            &values(embeddings),
            &values(plain.clone().inner()),
            Bound::TOWER,
        );
        let gradients = (plain * output_gradient.autodiff()).sum().backward();
        let autodiff = leaf.grad(&gradients).expect("the prompts have a gradient");
        let largest = assert_close("prompts", &values(ours), &values(autodiff), Bound::ROUND_TRIP);
        println!("block {prompted_block}: forward {difference:.1e}, gradient {largest:.1e}");
    }
}

#[test]
fn the_activations_derivatives_are_autodiffs() {
    let x = random([4, 33]) * 3.0;
    for activation in [Activation::QuickGelu, Activation::Gelu] {
        let leaf = x.clone().autodiff().require_grad();
        let gradients = activation.forward(leaf.clone()).sum().backward();
        let autodiff = leaf.grad(&gradients).expect("the input has a gradient");
        let ours = activation.derivative(x.clone());
        assert_close(
            &format!("{activation:?}"),
            &values(ours),
            &values(autodiff),
            Bound::OPERATION,
        );
    }
}

#[test]
fn an_extra_token_moves_the_result() {
    let clip = small_clip();
    let block = &clip.image.tower().blocks[0];
    let width = clip.config.vision.width;
    let x = random([2, 5, width]);
    let prepared = block.prepare(x, mint_clip::block::Rows::All);
    let run = |extra: Option<KeyValue>| {
        values(block.finish(prepared.clone(), extra, mint_clip::attention::Mask::None))
    };
    let token = random([2, 1, width]);
    let extra = block.attention.key_value(token.clone(), token);
    assert_ne!(run(None), run(Some(extra)));
}
