//! CoCoOp and MaPLe against PyTorch: outputs, and the gradients that their training would follow.
//!
//! Recorded by `mint-golden/generate/cocoop.py` and `maple.py`.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Gradients, Tensor};
use mint_clip::{Clip, ContextPlaces, PromptSet};
use mint_fixtures::{class_names, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::{
    ClassSet, Cocoop, CocoopPrompts, CoupledPrompt, ImageViews, Maple, MaplePrompts, Method,
};

const IMAGES: usize = 5;

/// View 0 of an image.
fn clean_view(image: usize) -> Tensor<4> {
    views(image).narrow(0, 0, 1)
}

/// Parameters that gradients are asked for, by their names in the checkpoint.
#[derive(Default)]
struct Leaves {
    matrices: Vec<(String, Tensor<2>)>,
    vectors: Vec<(String, Tensor<1>)>,
}

impl Leaves {
    fn matrix(&mut self, recording: &Recording, name: &str) -> Tensor<2> {
        let leaf = tensor::<2>(recording, name).autodiff().require_grad();
        self.matrices.push((name.to_owned(), leaf.clone()));
        leaf
    }

    /// A layer of PyTorch's, whose weight is `[out, in]`.
    fn linear(&mut self, recording: &Recording, name: &str) -> Linear {
        let weight = self.matrix(recording, &format!("{name}.weight"));
        let name = format!("{name}.bias");
        let bias = tensor::<1>(recording, &name).autodiff().require_grad();
        self.vectors.push((name, bias.clone()));
        let param = |weight: Tensor<2>| Param::initialized(burn::module::ParamId::new(), weight);
        let bias = Param::initialized(burn::module::ParamId::new(), bias);
        Linear { weight: param(weight.transpose()), bias: Some(bias) }
    }

    /// Compares all gradients with the recorded ones; returns their number.
    fn check(&self, recording: &Recording, what: &str, gradients: &Gradients) -> usize {
        for (name, leaf) in &self.matrices {
            let name = format!("{what}.grad.{name}");
            let gradient = leaf.grad(gradients).unwrap_or_else(|| panic!("no {name}"));
            assert_close(&name, &values(gradient), &recording.floats(&name), Bound::PROBABILITY);
        }
        for (name, leaf) in &self.vectors {
            let name = format!("{what}.grad.{name}");
            let gradient = leaf.grad(gradients).unwrap_or_else(|| panic!("no {name}"));
            assert_close(&name, &values(gradient), &recording.floats(&name), Bound::PROBABILITY);
        }
        self.matrices.len() + self.vectors.len()
    }
}

/// Cross-entropy of logits `[1, class]` with the recordings' label of an image.
fn loss(logits: Tensor<2>, image: usize) -> Tensor<1> {
    let label = 3 * image % 12;
    -log_softmax(logits, 1).narrow(1, label, 1).reshape([1])
}

/// Compares a method's scores with those recorded.
fn check_method(clip: &Clip, method: &mut dyn Method, recording: &Recording) {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names);
    for image in 0..IMAGES {
        let views = ImageViews::new(clip, clean_view(image));
        let scores = method.classify(&classes, &views).expect("the device works").scores;
        let expected = recording.floats(&format!("img{image}.logits"));
        assert_close(&format!("img{image}"), &scores, &expected, Bound::LOGITS);
    }
}

#[test]
fn cocoop_matches_pytorch_with_its_gradients() {
    let clip = small_clip();
    let recording = Recording::open("cocoop");
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let places = ContextPlaces::leading(4);
    let texts = PromptSet::with_context(&tokenizer, &names, places).expect("prompts fit");
    for image in 0..IMAGES {
        let what = format!("img{image}");
        let at = |quantity: &str| recording.floats(&format!("{what}.{quantity}"));
        let mut leaves = Leaves::default();
        let prompts = CocoopPrompts {
            context: leaves.matrix(&recording, "ctx"),
            meta_net_in: leaves.linear(&recording, "meta_net.linear1"),
            meta_net_out: leaves.linear(&recording, "meta_net.linear2"),
        };
        let embedding = clip.image.forward(clean_view(image)).autodiff();
        let context = prompts.context_of(embedding.clone());
        let shift = context.clone().narrow(0, 0, 1) - prompts.context.clone().narrow(0, 0, 1);
        assert_close(&what, &values(shift.inner()), &at("shift"), Bound::TOWER);
        let features = clip.text.forward(&texts, Some(&context));
        assert_close(&what, &values(features.clone().inner()), &at("text_features"), Bound::TOWER);
        let logits = clip.logits(embedding, features);
        assert_close(&what, &values(logits.clone().inner()), &at("logits"), Bound::LOGITS);
        let loss = loss(logits, image);
        assert_close(&what, &values(loss.clone().inner()), &at("loss"), Bound::LOGITS);
        assert_eq!(leaves.check(&recording, &what, &loss.backward()), 5);
    }
    let plain = |name: &str| tensor::<2>(&recording, name);
    let layer = |name: &str| Linear {
        weight: Param::from_tensor(plain(&format!("{name}.weight")).transpose()),
        bias: Some(Param::from_tensor(tensor::<1>(&recording, &format!("{name}.bias")))),
    };
    let mut method = Cocoop::new(CocoopPrompts {
        context: plain("ctx"),
        meta_net_in: layer("meta_net.linear1"),
        meta_net_out: layer("meta_net.linear2"),
    });
    check_method(&clip, &mut method, &recording);
}

/// MaPLe's prompts, with gradients or without.
fn maple_prompts(
    mut linear: impl FnMut(&str) -> Linear,
    mut matrix: impl FnMut(&str) -> Tensor<2>,
) -> MaplePrompts {
    let mut coupled = |text: &str, projection: &str| CoupledPrompt {
        text: matrix(text),
        projection: linear(projection),
    };
    MaplePrompts {
        blocks: vec![
            coupled("ctx", "proj"),
            coupled("compound_prompts_text.0", "compound_prompt_projections.0"),
            coupled("compound_prompts_text.1", "compound_prompt_projections.1"),
        ],
    }
}

#[test]
fn maple_matches_pytorch_with_its_gradients() {
    let clip = small_clip();
    let recording = Recording::open("maple");
    let tokenizer = clip.tokenizer();
    let names = class_names();
    for image in 0..IMAGES {
        let what = format!("img{image}");
        let at = |quantity: &str| recording.floats(&format!("{what}.{quantity}"));
        let leaves = std::cell::RefCell::new(Leaves::default());
        let prompts = maple_prompts(
            |name| leaves.borrow_mut().linear(&recording, name),
            |name| leaves.borrow_mut().matrix(&recording, name),
        );
        let texts = prompts.texts(&tokenizer, &names).expect("prompts fit");
        let features = clip.text.forward_with_deep_prompts(&texts, &prompts.text());
        let expected = recording.floats("text_features");
        assert_close(&what, &values(features.clone().inner()), &expected, Bound::TOWER);
        let pixels = clean_view(image).autodiff();
        let embedding = clip.image.forward_with_deep_prompts(pixels, &prompts.image());
        assert_close(
            &what,
            &values(embedding.clone().inner()),
            &at("image_features"),
            Bound::TOWER,
        );
        let logits = clip.logits(embedding, features);
        assert_close(&what, &values(logits.clone().inner()), &at("logits"), Bound::LOGITS);
        let loss = loss(logits, image);
        assert_close(&what, &values(loss.clone().inner()), &at("loss"), Bound::LOGITS);
        assert_eq!(leaves.borrow().check(&recording, &what, &loss.backward()), 9);
    }
    let plain = |name: &str| tensor::<2>(&recording, name);
    let layer = |name: &str| Linear {
        weight: Param::from_tensor(plain(&format!("{name}.weight")).transpose()),
        bias: Some(Param::from_tensor(tensor::<1>(&recording, &format!("{name}.bias")))),
    };
    let mut method = Maple::new(maple_prompts(layer, plain));
    check_method(&clip, &mut method, &recording);
}
