//! C-TPT against its official code. Recorded in `mint-golden/data/ctpt.safetensors`.

mod text_terms;

use burn::tensor::Tensor;
use mint_clip::Clip;
use mint_fixtures::{class_names, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::ctpt::dispersion;
use mint_tuner::tpt::{ContextTuning, TextTerm};
use mint_tuner::{
    ClassSet, ConfidentShare, Ctpt, CtptConfig, ImageViews, Method, StepSummary, TptConfig,
};
use text_terms::{Expected, differentiated};

/// The term is a mean of distances, sums of 64 products: 8 roundings on both sides. Gradients, of a
/// size of 1, have gone through the small text tower and back, 96 roundings each (see
/// `text_terms`), the largest of them times 1.7.
const CTPT: Expected = Expected {
    recording: "ctpt",
    term: "dispersion",
    sign: 1.0,
    bound: Bound::absolute(16.0 * 6e-8),
    gradient: Bound::absolute(2.0 * 96.0 * 6e-8 * 1.7),
};

/// The official term for a set.
fn official(set: &str) -> TextTerm {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    CtptConfig::default().term(&ClassSet::new(&clip, &tokenizer, &names).with_set(set))
}

#[test]
fn imagenets_variants_match_the_official_code() {
    CTPT.check("shift20", 0.25, official("A"), &class_names());
}

#[test]
fn fine_grained_sets_match_the_official_code() {
    CTPT.check("fine50", 0.25, official("dtd"), &class_names());
}

#[test]
fn a_learned_context_matches_over_three_steps() {
    CTPT.check("only_step3", 0.1, official("K"), &class_names());
}

#[test]
fn weights_are_the_sets_unless_set() {
    for (set, weight) in
        [("I", 50.0), ("A", 20.0), ("V", 20.0), ("R", 20.0), ("K", 20.0), ("pets", 50.0)]
    {
        assert_eq!(official(set).weight, -weight, "{set}");
    }
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let config = CtptConfig { weight: Some(3.0), ..CtptConfig::default() };
    assert_eq!(config.term(&ClassSet::new(&clip, &tokenizer, &names)).weight, -3.0);
    let message = CtptConfig { weight: Some(-1.0), ..config }.check(64).expect_err("refused");
    assert!(message.to_string().starts_with("`weight` is -1"), "{message}");
    assert!(CtptConfig::default().check(64).is_ok() && CtptConfig::default().check(9).is_err());
}

#[test]
fn texts_that_are_alone_or_equal_have_no_gradient() {
    for rows in [vec![[0.6, 0.8]], vec![[0.6, 0.8]; 2]] {
        let rows = Tensor::<1>::from_floats(rows.concat().as_slice(), &mint_fixtures::device());
        let (value, gradient) = differentiated(dispersion, rows.reshape([-1, 2]));
        assert!(value < 1e-11, "{value}");
        assert!(gradient.iter().all(|&value| value == 0.0), "{gradient:?}");
    }
    // Two texts at right angles are half a diagonal from their mean.
    let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &mint_fixtures::device());
    let (value, gradient) = differentiated(dispersion, rows);
    assert_close("value", &[value], &[0.5f32.sqrt()], Bound::OPERATION);
    let slope = -0.125f32.sqrt();
    assert_close("gradient", &gradient, &[0.0, slope, slope, 0.0], Bound::OPERATION);
}

fn classify(clip: &Clip, config: &CtptConfig, names: &[String]) -> (Vec<f32>, Vec<StepSummary>) {
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(clip, &tokenizer, names).with_set("R");
    let start = tensor::<2>(&Recording::open("ctpt"), "shift20.ctx_init");
    let mut method = Ctpt::new(config.clone(), start);
    assert!(method.remembers().is_none(), "nothing is remembered");
    method.prepare(&classes).expect("prompts fit");
    let outcome = method.classify(&classes, &ImageViews::new(clip, views(0)));
    let outcome = outcome.expect("it can be classified");
    (outcome.scores, outcome.steps)
}

#[test]
fn the_method_gives_what_its_parts_give() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let confident_share = ConfidentShare::new(0.25).expect("a share");
    let config = CtptConfig { confident_share, steps: 2, ..CtptConfig::default() };
    let (scores, steps) = classify(&clip, &config, &names);

    let classes = ClassSet::new(&clip, &tokenizer, &names).with_set("R");
    let start = tensor::<2>(&Recording::open("ctpt"), "shift20.ctx_init");
    let learner = classes.learner(&start.into()).expect("prompts fit");
    let embeddings = clip.image.forward(views(0));
    let tuned = TptConfig { confident_share, steps: 2, ..TptConfig::default() };
    let tuning = ContextTuning::new(&tuned, &clip, &learner, embeddings.clone());
    let mut tuning = tuning.expect("views are chosen").with_term(config.term(&classes));
    for summary in steps {
        let step = tuning.step();
        assert_eq!(values(step.loss), [summary.loss]);
        assert_eq!(values(step.entropy), [summary.entropy]);
        assert!(summary.loss < summary.entropy);
    }
    let logits = clip.logits(embeddings.narrow(0, 0, 1), tuning.features());
    assert_close("scores", &scores, &values(logits), Bound::LOGITS);
}

#[test]
fn a_single_class_is_tuned_by_its_entropy_alone() {
    let confident_share = ConfidentShare::new(0.25).expect("a share");
    let config = CtptConfig { confident_share, ..CtptConfig::default() };
    let (scores, steps) = classify(&small_clip(), &config, &class_names()[..1]);
    assert_eq!(scores.len(), 1);
    assert!(steps[0].loss.abs() < 1e-9 && steps[0].entropy == 0.0, "{steps:?}");
}
