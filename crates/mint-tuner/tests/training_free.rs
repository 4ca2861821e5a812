//! VTE and TDA against PyTorch. Recorded by `mint-golden/generate/views.py`.

use burn::tensor::{Tensor, TensorData};
use mint_clip::Clip;
use mint_fixtures::{class_names, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::confidence::entropies;
use mint_tuner::tda::{Caches, Sighting};
use mint_tuner::{
    ClassSet, ClassTexts, ConfidentShare, ImageViews, Lifetime, Method, Mint, MintConfig, Sar,
    SarConfig, Tda, TdaConfig, ViewLogits, Vte, VteConfig,
};

fn share() -> ConfidentShare {
    ConfidentShare::new(0.25).expect("a share")
}

/// Compares a method's scores of images, of which the first `n_views` views are looked at.
fn check(clip: &Clip, name: &str, method: &mut dyn Method, images: usize, n_views: usize) {
    let recording = Recording::open("views");
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names);
    for image in 0..images {
        let views = ImageViews::new(clip, views(image).narrow(0, 0, n_views));
        let scores = method.classify(&classes, &views).expect("the device works").scores;
        let what = format!("{name}.img{image}.scores");
        assert_close(&what, &scores, &recording.floats(&what), Bound::LOGITS);
    }
}

#[test]
fn vte_matches_pytorch() {
    let config = VteConfig { confident_share: share() };
    check(&small_clip(), "vte", &mut Vte::new(config, ClassTexts::default()), 5, 16);
}

#[test]
fn tda_matches_pytorch_on_images() {
    let config =
        TdaConfig { confident_share: share(), positive_sharpness: 8.0, ..TdaConfig::default() };
    check(&small_clip(), "tda", &mut Tda::new(config, ClassTexts::default()), 8, 6);
}

#[test]
fn tdas_caches_fill_and_replace_as_in_pytorch() {
    let recording = Recording::open("views");
    let config =
        TdaConfig { confident_share: share(), positive_sharpness: 8.0, ..TdaConfig::default() };
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
        let embeddings = Tensor::<2>::from_data(rows, &mint_fixtures::device());
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
    let tokenizer = clip.tokenizer();
    let names = ["tabby cat", "astronaut"].map(str::to_owned);
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let pixels = views(0).narrow(0, 0, 4);
    let mut vte = Vte::new(VteConfig::default(), ClassTexts::default());
    let views = ImageViews::new(&clip, pixels.clone());
    let message = vte.classify(&classes, &views).expect_err("0.1 of 4 views is none").to_string();
    assert!(message.contains("at least 10 views"), "{message}");
    // A single view is the image itself to TDA.
    let mut tda = Tda::new(TdaConfig::default(), ClassTexts::default());
    let views = ImageViews::new(&clip, pixels.narrow(0, 0, 1));
    assert!(tda.classify(&classes, &views).is_ok());
    assert!(values(views.embeddings()).iter().all(|value| value.is_finite()));
}

#[test]
fn methods_say_how_long_they_remember() {
    let lifetime_of = |method: &mut dyn Method| method.remembers().map(|memory| memory.lifetime());
    let mut vte = Vte::new(VteConfig::default(), ClassTexts::default());
    assert_eq!(lifetime_of(&mut vte), None);
    let mut tda = Tda::new(TdaConfig::default(), ClassTexts::default());
    assert_eq!(lifetime_of(&mut tda), Some(Lifetime::TestSet));
    let clip = small_clip();
    for lifetime in [Lifetime::Run, Lifetime::TestSet, Lifetime::Image] {
        let config = SarConfig { lifetime, ..SarConfig::default() };
        let mut sar = Sar::new(config, &clip, ClassTexts::default()).expect("it fits");
        assert_eq!(lifetime_of(&mut sar), Some(lifetime));
        let config = MintConfig { bank_lifetime: lifetime, ..MintConfig::default() };
        let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
        let mut mint = Mint::new(config, &clip, context).expect("it fits");
        assert_eq!(lifetime_of(&mut mint), Some(lifetime));
    }
}

#[test]
fn caches_of_other_classes_are_refused() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let (all, few) =
        (ClassSet::new(&clip, &tokenizer, &names), ClassSet::new(&clip, &tokenizer, &names[..3]));
    let views = ImageViews::new(&clip, views(0).narrow(0, 0, 1));
    let mut tda = Tda::new(TdaConfig::default(), ClassTexts::default());
    tda.classify(&all, &views).expect("the device works");
    let message = tda.classify(&few, &views).expect_err("other classes").to_string();
    assert_eq!(message, "TDA's caches are of 12 classes and the test set has 3");
    tda.next_test_set();
    assert!(tda.classify(&few, &views).is_ok());
}
