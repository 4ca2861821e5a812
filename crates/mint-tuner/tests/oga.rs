//! OGA against its official code. Recorded in `mint-golden/data/oga.safetensors`.

use burn::tensor::TensorData;
use mint_clip::Clip;
use mint_fixtures::{class_names, small_clip, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::caches::Cached;
use mint_tuner::oga::Stored;
use mint_tuner::{
    ClassSet, ClassTexts, ImageViews, Memory, Method, MethodError, Oga, OgaConfig, OgaEstimator,
    Remembers,
};

/// Logits are 100 times sums of up to 32 products, each below a half, which the official code has in
/// single precision: about `sqrt(32) u`. A probability changes by a quarter of that at most.
const PROBABILITIES: Bound = Bound::absolute(6.0 * 6e-8 * 100.0 / 4.0);

/// The derivatives of an entropy by the logits hardly ever add up to more than one.
const ENTROPY: Bound = Bound::absolute(6.0 * 6e-8 * 100.0);

/// Sums of eight numbers, divided.
const MEANS: Bound = Bound::relative(16.0);

/// A quarter of the error of a logarithm of a density, which is up to 200, times its weight.
const DENSITIES: Bound = Bound::absolute(64.0 * 6e-8 * 200.0 * 0.05 / 4.0);

/// The errors of both factors.
const ANSWERS: Bound = DENSITIES.plus(6.0 * 6e-8 * 100.0 / 4.0);

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// The softmax of each row.
fn distributions(logits: &[f32], weight: f64, n_classes: usize) -> Vec<f32> {
    let row = |row: &[f32]| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let power = |logit: &f32| (weight * f64::from(logit - largest)).exp();
        let sum: f64 = row.iter().map(power).sum();
        row.iter().map(|logit| (power(logit) / sum) as f32).collect::<Vec<_>>()
    };
    logits.chunks_exact(n_classes).flat_map(row).collect()
}

/// Compares all batches of a tag.
fn check(tag: &str, config: &OgaConfig) {
    let recording = Recording::open("oga");
    let floats = |name: &str| recording.floats(&format!("{tag}.{name}"));
    let [_, width] = recording.shape(&format!("{tag}.text_features"))[..] else { panic!("2 axes") };
    let (texts, images) = (floats("text_features"), floats("image_features"));
    let n_classes = texts.len() / width;
    let (zero_shot, entropies) = (floats("zero_shot_probs"), floats("zero_shot_entropy"));
    let mut stored = Stored::default();
    let mut next = 0;
    let batches = (0..).map(|batch| format!("{tag}.batch{batch}"));
    for batch in batches.take_while(|batch| recording.names().contains(&format!("{batch}.output")))
    {
        let close = |what: &str, ours: &[f32], bound| {
            let name = format!("{batch}.{what}");
            assert_close(&name, ours, &recording.floats(&name), bound);
        };
        let integers = |what: &str| -> Vec<usize> {
            let values = recording.integers(&format!("{batch}.{what}"));
            values.into_iter().map(|value| value as usize).collect()
        };
        let size = recording.shape(&format!("{batch}.output"))[0];
        let rows = &images[next * width..][..size * width];
        let answers = stored.classify_batch(config, 100.0, width, &texts, rows).expect("it fits");
        for (place, opinion) in (next..).zip(&answers.zero_shot) {
            let what = format!("{batch}: image {place}");
            let expected = &zero_shot[place * n_classes..][..n_classes];
            assert_close(&what, &singles(&opinion.probabilities), expected, PROBABILITIES);
            assert_close(&what, &singles(&[opinion.entropy]), &[entropies[place]], ENTROPY);
        }
        assert_eq!(answers.accepted, integers("accepted"), "{batch}");
        let counts: Vec<usize> = stored.classes().iter().map(Vec::len).collect();
        assert_eq!(counts, integers("count_after"), "{batch}");
        let free = (n_classes as f32).ln();
        let places = stored.classes().iter().flat_map(|entries| {
            let entropy =
                |slot: usize| entries.get(slot).map_or(free, |entry: &Cached| entry.entropy);
            (0..config.slots).map(entropy).collect::<Vec<_>>()
        });
        close("memory_entropy_after", &places.collect::<Vec<_>>(), ENTROPY);
        let fitted = stored.fitted().expect("there were images");
        close("mu_after", &fitted.means, MEANS);
        if recording.names().contains(&format!("{batch}.inv_Sigma_after")) {
            let whitening = fitted.whitening.clone();
            let inverse = whitening.clone().matmul(whitening.transpose());
            close("inv_Sigma_after", &values(inverse), Bound::OPERATION);
        }
        close("log_probs", &answers.log_densities, Bound::OPERATION);
        let densities = distributions(&answers.log_densities, config.density_weight, n_classes);
        close("gauss_probs", &densities, DENSITIES);
        close("output", &singles(&answers.probabilities), ANSWERS);
        next += size;
    }
    assert_eq!(next * width, images.len(), "{tag}: all images were seen");
}

fn three_slots() -> OgaConfig {
    OgaConfig { slots: 3, ..OgaConfig::default() }
}

#[test]
fn one_image_at_a_time_matches_the_official_code() {
    check("single", &three_slots());
}

#[test]
fn batches_match_the_official_code() {
    check("batch", &three_slots());
}

#[test]
fn the_pseudo_inverse_takes_over_as_in_the_official_code() {
    check("switch", &OgaConfig::default());
}

#[test]
fn unit_means_and_the_ridge_match_the_official_code() {
    let estimator = OgaEstimator::Ridge;
    check("normalised", &OgaConfig { normalize_means: true, estimator, ..three_slots() });
}

#[test]
fn equal_images_fill_places_in_turn_and_the_first_of_them_goes() {
    let (texts, image) = ([0.8, 0.6, 0.6, 0.8], [0.8, 0.6]);
    for estimator in [OgaEstimator::EmpiricalBayes, OgaEstimator::PseudoInverse] {
        let mut stored = Stored::default();
        let config = OgaConfig { estimator, ..three_slots() };
        let mut classify = |image: [f32; 2]| {
            let answers = stored.classify_batch(&config, 10.0, 2, &texts, &image).expect("it fits");
            assert!(answers.probabilities.iter().all(|p| p.is_finite()), "{answers:?}");
            assert!(answers.probabilities[0] > answers.probabilities[1]);
        };
        (0..3).for_each(|_| classify(image));
        classify([1.0, 0.0]);
        classify([0.75, 0.66]);
        let entries = &stored.classes()[0];
        let features: Vec<_> = entries.iter().map(|entry| entry.feature.clone()).collect();
        assert_eq!(features, [[1.0, 0.0], image, image]);
        assert!(stored.classes()[1].is_empty());
    }
}

fn scores(clip: &Clip, method: &mut Oga, image: usize) -> Vec<f32> {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let views = ImageViews::new(clip, views(image));
    method.classify(&classes, &views).expect("it can be classified").scores
}

fn new() -> Oga {
    Oga::new(OgaConfig::default(), ClassTexts::default())
}

fn saved(method: &mut Oga) -> Memory {
    method.remembers().expect("a memory").save().expect("it can be saved")
}

#[test]
fn a_stream_goes_on_from_its_saved_memory_and_starts_anew_with_a_set() {
    let clip = small_clip();
    for slots in [1, 3] {
        let config = OgaConfig { slots, ..OgaConfig::default() };
        let new = || Oga::new(config.clone(), ClassTexts::default());
        let mut whole = new();
        // The first one comes often enough for a covariance.
        let images = [0, 1, 0, 2, 0, 3, 4, 1];
        let expected = images.map(|image| scores(&clip, &mut whole, image));
        let mut first = new();
        for place in 0..5 {
            assert_eq!(scores(&clip, &mut first, images[place]), expected[place]);
        }
        let memory = saved(&mut first);
        let mut second = new();
        // What it has seen before does not matter.
        scores(&clip, &mut second, 4);
        let remembers = second.remembers().expect("a memory");
        remembers.restore(&memory, &mint_fixtures::device()).expect("it fits");
        assert_eq!(saved(&mut second), memory);
        for place in 5..8 {
            assert_eq!(scores(&clip, &mut second, images[place]), expected[place]);
        }
        assert_eq!(saved(&mut second), saved(&mut whole));
        let total: f32 = expected[7].iter().map(|score| score.exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "logarithms of probabilities: {total}");
        whole.next_test_set();
        assert_eq!(scores(&clip, &mut whole, 0), expected[0]);
    }
}

#[test]
fn a_single_view_is_enough_and_others_do_not_count() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let one = ImageViews::new(&clip, views(0).narrow(0, 0, 1));
    let single = new().classify(&classes, &one).expect("one view is enough").scores;
    // Towers round by the number of views that they see at once.
    let many = scores(&clip, &mut new(), 0);
    assert_close("the clean view", &single, &many, Bound::LOGITS);
}

#[test]
fn other_classes_and_damaged_memories_are_refused() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let few = ClassSet::new(&clip, &tokenizer, &names[..3]);
    let mut method = new();
    (0..3).for_each(|image| drop(scores(&clip, &mut method, image)));
    let memory = saved(&mut method);
    let views = ImageViews::new(&clip, views(0));
    let message = method.classify(&few, &views).expect_err("other classes").to_string();
    assert_eq!(message, "OGA's stored images are of other classes than the test set");
    assert_eq!(saved(&mut method), memory);
    let mut stored = Stored::default();
    let narrow = [1.0, 0.0, 0.0, 1.0];
    stored.classify_batch(&three_slots(), 100.0, 2, &narrow, &narrow).expect("it fits");
    let wide = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    assert!(stored.classify_batch(&three_slots(), 100.0, 3, &wide, &wide).is_err());
    let remembers = method.remembers().expect("a memory");
    assert!(remembers.restore(&Memory::default(), &mint_fixtures::device()).is_err());
    for name in memory.tensors().keys() {
        let mut tensors = memory.tensors().clone();
        tensors.remove(name);
        assert!(
            remembers.restore(&Memory::new(tensors.clone()), &mint_fixtures::device()).is_err()
        );
        tensors.insert(name.clone(), TensorData::new(vec![-1i64], [1]));
        assert!(
            remembers.restore(&Memory::new(tensors), &mint_fixtures::device()).is_err(),
            "{name}"
        );
    }
    assert_eq!(saved(&mut method), memory, "it is left alone");
}

#[test]
fn numbers_that_are_not_finite_are_no_answer() {
    let texts = [0.8, 0.6, 0.6, 0.8];
    let mut stored = Stored::default();
    let images = [[0.8, 0.6], [0.8, 0.6], [0.6, 0.8], [0.6, 0.8]].concat();
    stored.classify_batch(&three_slots(), 10.0, 2, &texts, &images).expect("it fits");
    let mut tensors = stored.save().expect("it can be saved").tensors().clone();
    tensors.insert("stored-features".to_owned(), TensorData::new(vec![1e30f32; 8], [8]));
    // Densities are nowhere finite, or with a third image the covariance is not.
    for slots in [2, 3] {
        let config = OgaConfig { slots, ..OgaConfig::default() };
        let memory = Memory::new(tensors.clone());
        stored.restore(&memory, &mint_fixtures::device()).expect("these numbers are finite");
        let answers = stored.classify_batch(&config, 10.0, 2, &texts, &[0.8, 0.6]);
        assert!(matches!(answers, Err(MethodError::NotFinite)), "{answers:?}");
    }
}

#[test]
fn senseless_settings_are_refused_by_name() {
    let official = OgaConfig::default;
    assert!(official().check().is_ok());
    for (config, setting) in [
        (OgaConfig { slots: 0, ..official() }, "slots"),
        (OgaConfig { slots: usize::MAX, ..official() }, "slots"),
        (OgaConfig { density_weight: -0.1, ..official() }, "density-weight"),
        (OgaConfig { density_weight: f64::NAN, ..official() }, "density-weight"),
    ] {
        let message = config.check().expect_err("it is refused").to_string();
        assert!(message.starts_with(&format!("`{setting}` is")), "{message}");
    }
}
