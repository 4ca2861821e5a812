//! OnZeta against its official code. Recorded in `mint-golden/data/onzeta.safetensors`.

use mint_clip::Clip;
use mint_fixtures::{class_names, small_clip, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::onzeta::Stream;
use mint_tuner::{ClassSet, ClassTexts, ImageViews, Method, Onzeta, OnzetaConfig};

/// A cosine is off by `64 u` at most and a logit by 25 or 100 of that; the first steps of the
/// classifier, 12.5 times the residual each, carry the error on: up to ten of them are at work.
const AMPLIFIED: Bound = Bound::absolute(64.0 * 6e-8 * 80.0);

/// `rho` adds up steps of 20 times a probability.
const WEIGHTS: Bound = Bound::absolute(64.0 * 6e-8 * 15.0);

fn check(tag: &str, runs: usize, config: &OnzetaConfig) {
    let recording = Recording::open("onzeta");
    let texts = recording.floats(&format!("{tag}.text_features"));
    let [n_images, width] = recording.shape(&format!("{tag}.image_features"))[..] else {
        panic!("[image, embed]")
    };
    let n_classes = texts.len() / width;
    let images = recording.floats(&format!("{tag}.image_features"));
    for run in 0..runs {
        let name = |what: &str| format!("{tag}.run{run}.{what}");
        let row = |what: &str, place: usize| {
            recording.floats(&name(what))[place * n_classes..][..n_classes].to_vec()
        };
        let mut stream = Stream::default();
        for (place, image) in recording.integers(&name("order")).into_iter().enumerate() {
            let image = &images[image as usize * width..][..width];
            let opinions = stream.classify(config, n_images, &texts, image).expect("it fits");
            let at = |what: &str| format!("{} at {place}", name(what));
            let label = |what: &str, values: &[f32], bound| {
                assert_close(&at(what), values, &row(what, place), bound);
            };
            label("text_label", &opinions.texts, Bound::PROBABILITY);
            label("vision_label", &opinions.images, AMPLIFIED);
            label("combo", &opinions.combined, AMPLIFIED);
            label("rho_after", stream.class_weights(), WEIGHTS);
            let best =
                |values: &[f32]| (0..n_classes).max_by(|&a, &b| values[a].total_cmp(&values[b]));
            assert_eq!(best(&opinions.combined), best(&row("combo", place)), "{}", at("choice"));
            let after = name(&format!("w_after{place}"));
            if run == 0 && [0, 1, 4, 9].contains(&place) {
                assert_close(&after, stream.classifier(), &recording.floats(&after), AMPLIFIED);
            }
        }
        let last = name("w_final");
        assert_close(&last, stream.classifier(), &recording.floats(&last), AMPLIFIED);
    }
}

#[test]
fn the_defaults_match_the_official_code_in_two_orders() {
    check("a", 2, &OnzetaConfig::default());
}

#[test]
fn without_balance_only_the_images_teach() {
    check("b", 1, &OnzetaConfig { balance: 0.0, image_share: 0.4, ..OnzetaConfig::default() });
}

#[test]
fn another_balance_and_rate_match() {
    check("c", 1, &OnzetaConfig { balance: 2.0, balance_rate: 2.0, ..OnzetaConfig::default() });
}

fn scores(clip: &Clip, method: &mut Onzeta, classes: &ClassSet<'_>, image: usize) -> Vec<f32> {
    let views = ImageViews::new(clip, views(image));
    method.classify(classes, &views).expect("it can be classified").scores
}

#[test]
fn a_stream_goes_on_from_its_saved_memory_and_starts_anew_with_a_set() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, &names).with_image_count(4);
    let new = || Onzeta::new(OnzetaConfig::default(), ClassTexts::default());
    let mut whole = new();
    let expected: Vec<_> = (0..4).map(|image| scores(&clip, &mut whole, &classes, image)).collect();
    let mut first = new();
    (0..2)
        .for_each(|image| assert_eq!(scores(&clip, &mut first, &classes, image), expected[image]));
    let memory = first.remembers().expect("a memory").save().expect("it can be saved");
    let mut second = new();
    let remembers = second.remembers().expect("a memory");
    remembers.restore(&memory, &mint_fixtures::device()).expect("it fits");
    (2..4)
        .for_each(|image| assert_eq!(scores(&clip, &mut second, &classes, image), expected[image]));
    let total: f32 = expected[3].iter().map(|score| score.exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "logarithms of probabilities: {total}");
    whole.next_test_set();
    assert_eq!(scores(&clip, &mut whole, &classes, 0), expected[0]);
}

#[test]
fn the_length_of_the_stream_must_be_known_and_kept() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let pixels = ImageViews::new(&clip, views(0));
    let unknown = ClassSet::new(&clip, &tokenizer, &names);
    let mut method = Onzeta::new(OnzetaConfig::default(), ClassTexts::default());
    let message = method.classify(&unknown, &pixels).expect_err("it is not known").to_string();
    assert!(message.contains("set `images`"), "{message}");
    let config = OnzetaConfig { images: Some(1), ..OnzetaConfig::default() };
    let mut method = Onzeta::new(config, ClassTexts::default());
    method.classify(&unknown, &pixels).expect("the first");
    let message = method.classify(&unknown, &pixels).expect_err("one too many").to_string();
    assert!(message.contains("told of 1 images"), "{message}");
}
