//! A-TPT against its official code. Recorded in `mint-golden/data/atpt.safetensors`.

mod text_terms;

use burn::tensor::Tensor;
use mint_clip::normalize;
use mint_fixtures::{class_names, integers, small_clip, tensor, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::atpt::{mean_angle, nearest};
use mint_tuner::tpt::TextTerm;
use mint_tuner::{
    AngleDirection, Atpt, AtptConfig, ClassSet, ConfidentShare, ImageViews, Method, PromptLearner,
    StepSummary,
};
use text_terms::{Expected, differentiated};

/// The term is a mean of angles of about 0.2, whose derivative by a cosine is 5; cosines are sums of
/// 64 products, 8 roundings on both sides, and six or more pairs of texts have errors of their own:
/// 5 / sqrt(6) is 2. Gradients, of a size of 2.4, have gone through the small text tower and back, 96
/// roundings each (see `text_terms`).
const ATPT: Expected = Expected {
    recording: "atpt",
    term: "minus_mean_angle",
    sign: -1.0,
    bound: Bound::absolute(2.0 * 16.0 * 6e-8),
    gradient: Bound::absolute(2.0 * 96.0 * 6e-8 * 2.4),
};

/// The term for a set.
fn term(config: &AtptConfig, set: &str) -> TextTerm {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    config.term(&ClassSet::new(&clip, &tokenizer, &names).with_set(set))
}

fn directed(direction: AngleDirection, weight: f64) -> AtptConfig {
    AtptConfig { direction, weight: Some(weight), ..AtptConfig::default() }
}

/// Compares the nearest texts at the start, then tunes to all images of a tag.
fn check(tag: &str, term: TextTerm, names: &[String]) {
    let (clip, recording) = (small_clip(), Recording::open("atpt"));
    let start = tensor::<2>(&recording, &format!("{tag}.ctx_init"));
    let learner = PromptLearner::new(&clip, &clip.tokenizer(), names, start).expect("prompts fit");
    let nearest = integers(nearest(normalize(learner.start_features())));
    assert_eq!(nearest, recording.integers(&format!("{tag}.nearest_init")), "{tag}");
    ATPT.check(tag, 0.25, term, names);
}

#[test]
fn the_script_of_fine_grained_sets_moves_texts_together() {
    check("together", term(&AtptConfig::default(), "dtd"), &class_names());
}

#[test]
fn the_script_of_imagenets_variants_moves_texts_apart() {
    check("apart", term(&AtptConfig::default(), "V"), &class_names());
}

#[test]
fn a_random_context_matches_over_three_steps() {
    let config = directed(AngleDirection::Apart, 20.0);
    check("apart_steps3", term(&config, "dtd"), &class_names());
}

#[test]
fn classes_of_one_name_have_no_gradient_from_each_other() {
    let mut names = class_names();
    names[11] = "tabby cat".to_owned();
    check("apart_twins", term(&AtptConfig::default(), "K"), &names);
}

#[test]
fn weights_and_directions_are_the_sets_unless_set() {
    let official = AtptConfig::default();
    for (set, weight) in
        [("I", 80.0), ("A", -10.0), ("V", -10.0), ("R", -10.0), ("K", -10.0), ("pets", 80.0)]
    {
        assert_eq!(term(&official, set).weight, weight, "{set}");
        let apart = AtptConfig { direction: AngleDirection::Apart, ..official.clone() };
        assert_eq!(term(&apart, set).weight, -weight.abs(), "{set}");
        let together = AtptConfig { direction: AngleDirection::Together, ..official.clone() };
        assert_eq!(term(&together, set).weight, weight.abs(), "{set}");
        let lighter = directed(AngleDirection::Scripts, 2.0);
        assert_eq!(term(&lighter, set).weight, 2.0 * weight.signum(), "{set}");
    }
    let message = directed(AngleDirection::Apart, f64::NAN).check(64).expect_err("refused");
    assert!(message.to_string().starts_with("`weight` is NaN"), "{message}");
    assert!(official.check(64).is_ok() && official.check(9).is_err());
}

#[test]
fn each_text_is_drawn_to_its_nearest_one_and_the_first_of_equals() {
    let rows = |rows: &[[f32; 2]]| {
        let rows = Tensor::<1>::from_floats(rows.concat().as_slice(), &mint_fixtures::device());
        rows.reshape([-1, 2])
    };
    let (zero, one) = (0.0, 1.0);
    // The second lies between the others, the same angle away from both.
    let fan = rows(&[[one, zero], [one, one], [zero, one]]);
    assert_eq!(integers(nearest(normalize(fan.clone()))), [1, 0, 1]);
    let (angle, gradient) = differentiated(mean_angle, fan);
    assert_close("angle", &[angle], &[std::f32::consts::FRAC_PI_4], Bound::OPERATION);
    // An angle's gradient at a side points away from the other side, and is as large as 1 / length:
    // the first and second have each other twice, the third has the second, each a third of the mean.
    let third = 1.0 / 3.0;
    let expected = [zero, -2.0 * third, -0.5 * third, 0.5 * third, -third, zero];
    assert_close("gradient", &gradient, &expected, Bound::OPERATION);

    for alone in [rows(&[[one, zero]]), rows(&[[one, zero], [one, zero]])] {
        let (angle, gradient) = differentiated(mean_angle, alone);
        assert!(angle < 5e-3, "{angle}");
        assert!(gradient.iter().all(|&value| value == 0.0), "{gradient:?}");
    }
}

/// Scores and steps of an image with two steps.
fn classify(config: AtptConfig, names: &[String]) -> (Vec<f32>, Vec<StepSummary>) {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, names).with_set("pets");
    let confident_share = ConfidentShare::new(0.25).expect("a share");
    let start = tensor::<2>(&Recording::open("atpt"), "together.ctx_init");
    let mut method = Atpt::new(AtptConfig { confident_share, steps: 2, ..config }, start);
    assert!(method.remembers().is_none(), "nothing is remembered");
    let outcome = method.classify(&classes, &ImageViews::new(&clip, views(0)));
    let outcome = outcome.expect("it can be classified");
    (outcome.scores, outcome.steps)
}

#[test]
fn texts_move_where_the_direction_says() {
    let names = class_names();
    let angles = |config: AtptConfig| -> Vec<f32> {
        let weight = term(&config, "pets").weight as f32;
        let (_, steps) = classify(config, &names);
        steps.iter().map(|step| (step.loss - step.entropy) / weight).collect()
    };
    let together = angles(AtptConfig::default());
    let apart = angles(directed(AngleDirection::Apart, 80.0));
    assert_close("at the start", &together[..1], &apart[..1], Bound::OPERATION);
    assert!(together[1] < together[0] && apart[0] < apart[1], "{together:?} {apart:?}");
}

#[test]
fn a_single_class_is_tuned_by_its_entropy_alone() {
    let (scores, steps) = classify(AtptConfig::default(), &class_names()[..1]);
    assert_eq!(scores.len(), 1);
    assert!(steps.iter().all(|step| step.loss == step.entropy), "{steps:?}");
}
