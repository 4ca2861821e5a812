//! TPT, ZERO and MTA against recordings of their official implementations.

use burn::tensor::{Tensor, TensorData};
use mint_clip::{Clip, normalize};
use mint_fixtures::{class_names, small_clip, tensor, values, views};
use mint_golden::{AdamwReplay, Bound, Recording, assert_close, assert_within};
use mint_tuner::confidence::entropies;
use mint_tuner::mta::{affinity, find_mode};
use mint_tuner::tpt::ContextTuning;
use mint_tuner::zero::votes;
use mint_tuner::{
    ClassSet, ClassTexts, ConfidentShare, ImageViews, Method, Mta, MtaConfig, PromptLearner, Tpt,
    TptConfig, Zero, ZeroConfig, ZeroShot,
};

/// The inlierness of views and the mode, of the recorded affinities: sums of up to 64 products,
/// multiplied by `lambda_q / lambda_y = 20` in the exponent of a softmax.
const MEAN_SHIFT: Bound = Bound::relative(20.0 * 64.0);

/// The same where the affinities are ours: products of two probabilities, whose logits are 100
/// times sums of 32 products, each sum off by `sqrt(32)`, about 6 roundings.
const MEAN_SHIFT_OF_LOGITS: Bound = Bound::relative(20.0 * 2.0 * 100.0 * 6.4);

fn share(share: f64) -> ConfidentShare {
    ConfidentShare::new(share).expect("a share")
}

fn embeddings(clip: &Clip, image: usize, views: usize) -> Tensor<2> {
    clip.image.forward(mint_fixtures::views(image).narrow(0, 0, views))
}

#[test]
fn tpt_matches_step_by_step() {
    let clip = small_clip();
    let recording = Recording::open("tpt");
    let tokenizer = clip.tokenizer();
    for (tag, top, steps) in
        [("default", 0.1, 1), ("rendering10", 0.1, 1), ("rendering25", 0.25, 1), ("coop3", 0.25, 3)]
    {
        let config = TptConfig { confident_share: share(top), steps, ..TptConfig::default() };
        let start = tensor::<2>(&recording, &format!("{tag}.ctx_init"));
        let learner =
            PromptLearner::new(&clip, &tokenizer, &class_names(), start).expect("prompts");
        for image in 0..5 {
            let what = format!("{tag}.img{image}");
            let embeddings = embeddings(&clip, image, 16);
            let mut tuning = ContextTuning::new(&config, &clip, &learner, embeddings.clone())
                .expect("views are chosen");
            let chosen = recording.integers(&format!("{what}.selected_idx"));
            let mut replay = AdamwReplay::new(&values(learner.start()));
            for step in 0..steps {
                let at =
                    |quantity: &str| recording.floats(&format!("{what}.step{step}.{quantity}"));
                let outcome = tuning.step();
                let all = at("logits");
                let of_chosen: Vec<f32> = chosen
                    .iter()
                    .flat_map(|&view| all[view as usize * 12..][..12].to_vec())
                    .collect();
                assert_close(&what, &values(outcome.logits), &of_chosen, Bound::LOGITS);
                assert_close(&what, &values(outcome.loss), &at("loss"), Bound::LOGITS);
                let (ours, theirs) = (values(outcome.gradient), at("grad_ctx"));
                assert_close(&what, &ours, &theirs, Bound::PROBABILITY);
                let errors: Vec<f32> =
                    ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs()).collect();
                replay.step(&theirs, &errors);
                let context = values(tuning.context());
                assert_within(&what, &context, &at("ctx_after"), &replay.uncertainty());
            }
            let clean = embeddings.narrow(0, 0, 1);
            let logits = values(clip.logits(clean, tuning.features()));
            let expected = recording.floats(&format!("{what}.eval.logits"));
            assert_close(&what, &logits, &expected, Bound::LOGITS);
        }
    }
}

/// Cosines to logits, with the temperature 0.01 of the recordings.
fn zero_votes(cosines: &[f32], n_classes: usize, gamma: f64) -> Vec<f32> {
    let n_views = cosines.len() / n_classes;
    let data = TensorData::new(cosines.to_vec(), [n_views, n_classes]);
    let logits = Tensor::<2>::from_data(data, &mint_fixtures::device()) * 100.0;
    let entropies = values(entropies(logits.clone()));
    votes(&values(logits), n_classes, &entropies, share(gamma).count(n_views).unwrap_or(0))
}

#[test]
fn zero_counts_the_recorded_votes_of_images() {
    let clip = small_clip();
    let recording = Recording::open("zero");
    let texts = normalize(tensor::<2>(&recording, "text_features"));
    for image in 0..5 {
        let what = format!("img{image}");
        let images = normalize(embeddings(&clip, image, 16));
        let cosines = values(images.matmul(texts.clone().transpose()));
        assert_close(&what, &cosines, &recording.floats(&format!("{what}.cos")), Bound::COSINE);
        let ours = zero_votes(&cosines, 12, 0.3);
        assert_eq!(ours, recording.floats(&format!("{what}.p_bar")), "{what}");
    }
}

#[test]
fn zero_breaks_ties_as_recorded() {
    let recording = Recording::open("zero");
    let names = recording.names();
    let cases: Vec<&str> =
        names.iter().filter_map(|name| name.strip_prefix("syn.")?.strip_suffix(".cos")).collect();
    assert_eq!(cases.len(), 7, "{cases:?}");
    for case in cases {
        let cosines = recording.floats(&format!("syn.{case}.cos"));
        let gamma = recording.double(&format!("syn.{case}.gamma"));
        let ours = zero_votes(&cosines, 6, gamma);
        let theirs = recording.floats(&format!("syn.{case}.p_bar"));
        let predicted = recording.integers(&format!("syn.{case}.pred"))[0];
        match case {
            // Two probabilities underflow, so the official entropy of the surest view is not a
            // number and the view comes last; here it votes first. The answer is the same.
            "prob_underflow_nan_entropy" => {
                assert_eq!(ours, [0.0, 1.0, 1.0, 2.0, 0.0, 0.0], "{case}");
                assert_eq!(best(&ours), predicted, "{case}");
            }
            // No view decides. The official fallback inverts the bits of the tied classes instead
            // of excluding the others, and gives the vote to a class that is not tied.
            "tie2_unresolved_2" | "tie2_unresolved_3" => {
                assert_ne!(ours, theirs, "{case}");
                assert_eq!(best(&ours), predicted, "{case}: the lower of the tied classes wins");
            }
            "tie2_unresolved_bitwise_not_bug" => {
                assert_eq!(theirs, [1.0, 2.0, 0.0, 0.0, 2.0, 0.0], "{case}");
                assert_eq!(
                    ours,
                    [0.0, 2.0, 0.0, 0.0, 3.0, 0.0],
                    "{case}: by the next view's logits"
                );
            }
            _ => {
                assert_eq!(ours, theirs, "{case}");
                assert_eq!(best(&ours), predicted, "{case}");
            }
        }
    }
}

#[test]
fn a_view_with_two_best_classes_shares_its_vote() {
    let logits = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(votes(&logits, 3, &[0.1, 0.2], 2), [0.5, 0.5, 1.0]);
    // Of equally many votes, the next view decides.
    assert_eq!(votes(&logits, 3, &[0.2, 0.1], 1), [0.0, 0.0, 1.0]);
    let tied = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    assert_eq!(votes(&tied, 3, &[0.1, 0.2, 0.3], 2), [1.0, 2.0, 0.0]);
}

fn best(votes: &[f32]) -> i64 {
    let largest = votes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    votes.iter().position(|&vote| vote == largest).expect("there are classes") as i64
}

#[test]
fn mta_finds_the_recorded_modes() {
    let clip = small_clip();
    let recording = Recording::open("mta");
    let texts = tensor::<2>(&recording, "text_features");
    let config = MtaConfig::default();
    for image in 0..8 {
        let floats = |quantity: &str| recording.floats(&format!("img{image}.{quantity}"));
        let what = format!("img{image}");
        let n_views = recording.shape(&format!("{what}.y"))[0];
        let rows = normalize(embeddings(&clip, image, n_views));
        assert_close(&what, &values(rows.clone()), &floats("image_features"), Bound::TOWER);
        let logits = clip.logits(rows.clone(), texts.clone());
        assert_close(&what, &values(logits.clone()), &floats("logits"), Bound::LOGITS);
        let affinity = values(affinity(logits));
        assert_close(&what, &affinity, &floats("affinity"), Bound::PROBABILITY);
        // From the recorded numbers on, so that only this step's own rounding counts.
        let (rows, affinity) = (floats("image_features"), floats("affinity"));
        let found = find_mode(&config, &rows, &affinity, n_views).expect("enough views");
        assert_close(&what, &found.bandwidths, &floats("bandwidth"), Bound::OPERATION);
        assert_close(&what, &found.inlierness, &floats("y"), MEAN_SHIFT);
        assert_close(&what, &found.mode, &floats("mode"), MEAN_SHIFT);
        let mode =
            Tensor::<1>::from_floats(found.mode.as_slice(), &mint_fixtures::device()).unsqueeze();
        let output = values(clip.logits(mode, texts.clone()));
        assert_close(&what, &output, &floats("output"), Bound::LOGITS);
    }
}

#[test]
fn mta_finds_the_modes_of_synthetic_views() {
    let recording = Recording::open("mta");
    let config = MtaConfig::default();
    for case in 0..4 {
        let what = format!("syn{case}");
        let at = |quantity: &str| format!("{what}.{quantity}");
        let rows = tensor::<2>(&recording, &at("features"));
        let texts = tensor::<2>(&recording, &at("text"));
        let n_views = rows.dims()[0];
        let affinity = values(affinity(rows.clone().matmul(texts.clone().transpose()) * 100.0));
        let found = find_mode(&config, &values(rows), &affinity, n_views);
        if case == 3 {
            // 0.3 of 3 other views is none: the official code computes NaN.
            assert!(recording.floats(&at("mode")).iter().all(|value| value.is_nan()));
            let message = found.expect_err("too few views").to_string();
            assert!(message.contains("at least 5 views"), "{message}");
            continue;
        }
        let found = found.expect("enough views");
        assert_close(&what, &found.bandwidths, &recording.floats(&at("bandwidth")), Bound::COSINE);
        assert_close(&what, &found.inlierness, &recording.floats(&at("y")), MEAN_SHIFT_OF_LOGITS);
        assert_close(&what, &found.mode, &recording.floats(&at("mode")), MEAN_SHIFT_OF_LOGITS);
        let mode =
            Tensor::<1>::from_floats(found.mode.as_slice(), &mint_fixtures::device()).unsqueeze();
        let output = values(mode.matmul(texts.transpose()) * 100.0);
        assert_close(&what, &output, &recording.floats(&at("output")), Bound::LOGITS);
    }
}

#[test]
fn mta_stops_where_a_step_is_shorter_than_the_tolerance() {
    let recording = Recording::open("mta");
    let rows = tensor::<2>(&recording, "syn0.features");
    let texts = tensor::<2>(&recording, "syn0.text");
    let n_views = rows.dims()[0];
    let affinity = values(affinity(rows.clone().matmul(texts.transpose()) * 100.0));
    let rows = values(rows);
    let mode = |config| find_mode(&config, &rows, &affinity, n_views).expect("enough views");
    let once = mode(MtaConfig { most_iterations: 1, ..MtaConfig::default() });
    assert_eq!(mode(MtaConfig { tolerance: 1e9, ..MtaConfig::default() }), once);
    assert_ne!(mode(MtaConfig { most_iterations: 2, ..MtaConfig::default() }), once);
}

/// Scores of two images by a method, through the interface that evaluation uses.
fn scores(clip: &Clip, method: &mut dyn Method) -> Vec<Vec<f32>> {
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let classify = |image: usize| {
        let views = ImageViews::new(clip, views(image));
        method.classify(&classes, &views).expect("the device works").scores
    };
    let scores = [0, 1].map(classify).into();
    assert!(method.remembers().is_none(), "nothing is remembered");
    scores
}

#[test]
fn methods_give_what_their_parts_give() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let texts = classes.features(&ClassTexts::default()).expect("prompts fit").tensor();
    let of_images = |part: &dyn Fn(Tensor<2>) -> Vec<f32>| {
        [0, 1].map(|image| part(embeddings(&clip, image, 16))).to_vec()
    };
    let check = |what: &str, ours: Vec<Vec<f32>>, parts: Vec<Vec<f32>>| {
        for (ours, parts) in ours.iter().zip(&parts) {
            assert_close(what, ours, parts, Bound::LOGITS);
        }
    };
    let logits = |embeddings: Tensor<2>| clip.logits(embeddings, texts.clone());

    let parts = of_images(&|embeddings| values(logits(embeddings.narrow(0, 0, 1))));
    check("clip", scores(&clip, &mut ZeroShot::default()), parts);

    let config = MtaConfig::default();
    let parts = of_images(&|embeddings| {
        let rows = normalize(embeddings.clone());
        let affinity = values(affinity(logits(embeddings)));
        let found = find_mode(&config, &values(rows), &affinity, 16).expect("enough views");
        let mode = Tensor::<1>::from_floats(found.mode.as_slice(), &mint_fixtures::device());
        values(logits(mode.unsqueeze()))
    });
    check("mta", scores(&clip, &mut Mta::new(config.clone(), ClassTexts::default())), parts);

    let config = ZeroConfig { confident_share: share(0.3), ..ZeroConfig::default() };
    let parts = of_images(&|embeddings| {
        let logits = logits(embeddings);
        votes(&values(logits.clone()), names.len(), &values(entropies(logits)), 4)
    });
    assert_eq!(scores(&clip, &mut Zero::new(config, ClassTexts::default())), parts);

    let config = TptConfig { confident_share: share(0.25), steps: 2, ..TptConfig::default() };
    let start = tensor::<2>(&Recording::open("tpt"), "default.ctx_init");
    let learner = classes.learner(&start.clone().into()).expect("prompts fit");
    let parts = of_images(&|embeddings| {
        let mut tuning = ContextTuning::new(&config, &clip, &learner, embeddings.clone())
            .expect("views are chosen");
        tuning.step();
        tuning.step();
        values(clip.logits(embeddings.narrow(0, 0, 1), tuning.features()))
    });
    check("tpt", scores(&clip, &mut Tpt::new(config.clone(), start)), parts);
}
