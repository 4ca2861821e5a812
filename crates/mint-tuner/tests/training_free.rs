//! VTE and TDA against PyTorch. Recorded by `mint-golden/generate/views.py`.

#[path = "../../mint-clip/tests/small_clip/mod.rs"]
mod small_clip;

use burn::tensor::{Device, Tensor, TensorData};
use mint_clip::{Clip, Tokenizer};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::confidence::entropies;
use mint_tuner::tda::{Caches, Sighting};
use mint_tuner::{
    ClassSet, ClassTexts, ImageViews, Lifetime, Method, Mint, MintConfig, Sar, SarConfig, Tda,
    TdaConfig, ViewLogits, Vte, VteConfig,
};
use small_clip::{small_clip, tensor, values};

const SHARE: f64 = 0.25;

/// Compares a method's scores of images, of which the first `n_views` views are looked at.
fn check(clip: &Clip, name: &str, method: &mut dyn Method, images: usize, n_views: usize) {
    let recording = Recording::open("views");
    let classes = Recording::open("mint_seq").metadata("classes");
    let names: Vec<String> = serde_json::from_str(&classes).expect("a list of names");
    let tokenizer = Tokenizer::clip(clip.config.text.context_length);
    method.start_test_set(&ClassSet::new(clip, &tokenizer, &names)).expect("prompts fit");
    let pass = MintConfig::default().pass(&clip.config).expect("the blocks exist");
    for image in 0..images {
        let pixels = tensor::<4>(&Recording::open("pixels"), &format!("img{image}"));
        let views = ImageViews::new(clip, pixels.narrow(0, 0, n_views), &pass);
        let scores = method.classify(&views).expect("the device works").scores;
        let what = format!("{name}.img{image}.scores");
        assert_close(&what, &scores, &recording.floats(&what), Bound::LOGITS);
    }
}

#[test]
fn vte_matches_pytorch() {
    let config = VteConfig { confident_share: SHARE };
    check(&small_clip(), "vte", &mut Vte::new(config, ClassTexts::default()), 5, 16);
}

#[test]
fn tda_matches_pytorch_on_images() {
    let config =
        TdaConfig { confident_share: SHARE, positive_sharpness: 8.0, ..TdaConfig::default() };
    check(&small_clip(), "tda", &mut Tda::new(config, ClassTexts::default()), 8, 6);
}

#[test]
fn tdas_caches_fill_and_replace_as_in_pytorch() {
    let recording = Recording::open("views");
    let config =
        TdaConfig { confident_share: SHARE, positive_sharpness: 8.0, ..TdaConfig::default() };
    let [n_images, n_views, width] = recording.shape("tda.syn.features")[..] else {
        panic!("[image, view, embed]")
    };
    let features = recording.floats("tda.syn.features");
    let texts = tensor::<2>(&recording, "tda.syn.texts");
    let scale = recording.double("tda.syn.scale");
    let expected = recording.floats("tda.syn.scores");
    let mut caches = Caches::default();
    for image in 0..n_images {
        let rows = features[image * n_views * width..][..n_views * width].to_vec();
        let rows = TensorData::new(rows, [n_views, width]);
        let embeddings = Tensor::<2>::from_data(rows, &Device::flex());
        let logits = embeddings.clone().matmul(texts.clone().transpose()) * scale;
        let logits = ViewLogits { entropies: entropies(logits.clone()), logits };
        let sighting = Sighting::new(&config, embeddings, logits).expect("views are chosen");
        let scores = caches.classify(&config, sighting);
        assert_close(
            &format!("image {image}"),
            &scores,
            &expected[image * 6..][..6],
            Bound::LOGITS,
        );
    }
    let sizes = |name: &str| -> Vec<usize> {
        recording.integers(name).into_iter().map(|size| size as usize).collect()
    };
    assert_eq!(caches.sizes(), [sizes("tda.syn.positive"), sizes("tda.syn.negative")]);
}

#[test]
fn too_few_views_are_an_error_that_says_how_many_are_needed() {
    let clip = small_clip();
    let tokenizer = Tokenizer::clip(clip.config.text.context_length);
    let names = ["tabby cat", "astronaut"].map(str::to_owned);
    let pass = MintConfig::default().pass(&clip.config).expect("the blocks exist");
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0").narrow(0, 0, 4);
    let mut vte = Vte::new(VteConfig::default(), ClassTexts::default());
    vte.start_test_set(&ClassSet::new(&clip, &tokenizer, &names)).expect("prompts fit");
    let views = ImageViews::new(&clip, pixels.clone(), &pass);
    let message = vte.classify(&views).expect_err("0.1 of 4 views is none").to_string();
    assert!(message.contains("at least 10 views"), "{message}");
    // A single view is the image itself to TDA.
    let mut tda = Tda::new(TdaConfig::default(), ClassTexts::default());
    tda.start_test_set(&ClassSet::new(&clip, &tokenizer, &names)).expect("prompts fit");
    let views = ImageViews::new(&clip, pixels.narrow(0, 0, 1), &pass);
    assert!(tda.classify(&views).is_ok());
    assert!(values(views.embeddings()).iter().all(|value| value.is_finite()));
}

#[test]
fn methods_say_how_long_they_remember() {
    assert!(Vte::new(VteConfig::default(), ClassTexts::default()).memory_lifetime().is_none());
    let tda = Tda::new(TdaConfig::default(), ClassTexts::default());
    assert_eq!(tda.memory_lifetime(), Some(Lifetime::TestSet));
    let clip = small_clip();
    for lifetime in [Lifetime::Run, Lifetime::TestSet, Lifetime::Image] {
        let config = SarConfig { lifetime, ..SarConfig::default() };
        let sar = Sar::new(config, &clip, ClassTexts::default()).expect("it fits");
        assert_eq!(sar.memory_lifetime(), Some(lifetime));
        let config = MintConfig { bank_lifetime: lifetime, ..MintConfig::default() };
        let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
        let mint = Mint::new(config, &clip, context).expect("it fits");
        assert_eq!(mint.memory_lifetime(), Some(lifetime));
    }
}
