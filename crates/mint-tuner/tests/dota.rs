//! DOTA against its official code. Recorded in `mint-golden/data/dota.safetensors`.

use burn::tensor::{Tensor, TensorData};
use mint_clip::{Clip, normalize, scaled_cosines};
use mint_fixtures::{class_names, integers, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::confidence::{confident_views, entropies};
use mint_tuner::dota::{ChosenViews, Constants, Gaussians};
use mint_tuner::{
    ClassSet, ClassTexts, ConfidentShare, Dota, DotaConfig, ImageViews, LooksAt, Memory, Method,
    MethodError, ViewDemand, ViewLogits,
};

/// Cosines are sums of up to 40 products, each below a half: about `sqrt(40) u` on both sides together,
/// and logits 100 times that.
const LOGITS: Bound = Bound::absolute(6.0 * 6e-8 * 100.0);

/// A probability changes by a quarter of what its logit does at most, and counts add them up with
/// errors of random sign.
const PROBABILITIES: Bound = Bound::absolute(6.0 * 6e-8 * 100.0 / 4.0);

/// The error of the distributions' opinion (which is a difference of numbers of up to a hundred, as
/// logits are), weighed by 0.3 at most, and that of the logits.
const ANSWER: Bound = Bound::absolute(64.0 * 6e-8 * 100.0 * 0.3).plus(6.0 * 6e-8 * 100.0);

/// A mean over all classes of counts whose sum is a whole number.
const WEIGHT: Bound = Bound::relative(16.0);

/// The error of a probability times a product of two numbers of unit vectors, each below 0.3.
const COVARIANCE: Bound = Bound::absolute(6.0 * 6e-8 * 100.0 / 4.0 * 0.09);

/// The mean over all classes, whose errors cancel: sixteen updates of about two roundings each.
const MEAN_COVARIANCE: Bound = Bound::relative(32.0);

/// Errors of a covariance grow by its condition, which is below a thousand.
const INVERSE: Bound = Bound::relative(512.0);

const VIEWS: Constants =
    Constants { largest_weight: 0.3, weight_growth: 0.3, shrinkage: 1e-4, initial_variance: 0.002 };

const SINGLE: Constants =
    Constants { largest_weight: 0.2, weight_growth: 0.1, shrinkage: 2e-3, initial_variance: 0.002 };

/// The images of a tag as the method sees them.
fn images(recording: &Recording, tag: &str) -> Vec<ChosenViews> {
    let [n_images, n_views, width] = recording.shape(&format!("{tag}.view_features"))[..] else {
        panic!("[image, view, embed]")
    };
    let features = recording.floats(&format!("{tag}.view_features"));
    let texts = tensor::<2>(recording, &format!("{tag}.text_features"));
    let image = |image: usize| {
        let rows = features[image * n_views * width..][..n_views * width].to_vec();
        let rows = TensorData::new(rows, [n_views, width]);
        let embeddings = Tensor::<2>::from_data(rows, &mint_fixtures::device());
        let logits = scaled_cosines(embeddings.clone(), texts.clone(), 100.0);
        let name = format!("{tag}.img{image}.selected_idx");
        let expected = recording.integers(&name);
        assert_eq!(integers(confident_views(logits.clone(), expected.len())), expected, "{name}");
        let logits = ViewLogits { entropies: entropies(logits.clone()), logits };
        ChosenViews::new(ConfidentShare::TENTH, normalize(embeddings), logits).expect("they fit")
    };
    (0..n_images).map(image).collect()
}

/// The symmetric matrix with these rows of its lower half.
fn whole(half: &[f32], width: usize) -> Vec<f32> {
    let at = |row: usize, column: usize| half[row * (row + 1) / 2 + column];
    let places = (0..width * width).map(|place| (place / width, place % width));
    places.map(|(row, column)| at(row.max(column), row.min(column))).collect()
}

fn argmax(scores: &[f32]) -> usize {
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("scores")
}

/// Compares the whole stream of a tag; returns the predictions.
fn check(tag: &str, constants: &Constants) -> Vec<usize> {
    let recording = Recording::open("dota");
    let [_, width] = recording.shape(&format!("{tag}.text_features"))[..] else { panic!("2 axes") };
    let mut gaussians = Gaussians::default();
    let mut predictions = Vec::new();
    for (image, views) in images(&recording, tag).iter().enumerate() {
        let name = |what: &str| format!("{tag}.img{image}.{what}");
        let close = |what: &str, ours: &[f32], bound| {
            assert_close(&name(what), ours, &recording.floats(&name(what)), bound);
        };
        close("clip_logits", &views.mean_logits, LOGITS);
        close("prob_map", &views.probabilities, PROBABILITIES);
        let answer = gaussians.classify(constants, views).expect("it fits");
        close("dota_logits", &answer.distribution_logits, Bound::LOGITS);
        close("weight_unclamped", &[answer.weight], WEIGHT);
        close("final_logits", &answer.logits, ANSWER);
        close("mu_after", gaussians.means(), Bound::OPERATION);
        close("c_after", gaussians.counts(), PROBABILITIES);
        let covariance = gaussians.mean_covariance(constants);
        let covariance: Vec<f32> = covariance.into_iter().map(|value| value as f32).collect();
        close("overall_Sigma_after", &covariance, MEAN_COVARIANCE);
        if recording.names().contains(&name("Lambda_after")) {
            let whitening = gaussians.whitening(constants).expect("it can be inverted");
            let inverse = whitening.clone().matmul(whitening.transpose());
            close("Lambda_after", &values(inverse), INVERSE);
        }
        predictions.push(argmax(&answer.logits));
    }
    let expected = recording.floats(&format!("{tag}.final.Sigma"));
    for (class, expected) in expected.chunks_exact(width * width).enumerate() {
        let ours = whole(gaussians.covariance(class).expect("it was learned"), width);
        assert_close(&format!("{tag}.final.Sigma {class}"), &ours, expected, COVARIANCE);
    }
    predictions
}

#[test]
fn the_chosen_views_match_the_official_code_and_predict_what_its_half_precision_does() {
    let recording = Recording::open("dota");
    for (image, prediction) in check("views", &VIEWS).into_iter().enumerate() {
        let name = format!("views_half.img{image}.final_logits");
        assert_eq!(prediction, argmax(&recording.floats(&name)), "{name}");
    }
}

#[test]
fn single_views_match_the_official_code() {
    check("single", &SINGLE);
}

#[test]
fn a_class_that_no_view_shows_is_left_as_it_is() {
    let views = images(&Recording::open("dota"), "views");
    let mut gaussians = Gaussians::default();
    let n_classes = views[0].mean_logits.len();
    for image in &views {
        let mut image = image.clone();
        image.probabilities.iter_mut().skip(1).step_by(n_classes).for_each(|p| *p = 9e-12);
        gaussians.classify(&VIEWS, &image).expect("it fits");
    }
    assert!(gaussians.covariance(1).is_none() && gaussians.covariance(2).is_some());
    assert_eq!(gaussians.counts()[1], 1.0);
    let width = views[0].mean_embedding.len();
    assert_eq!(gaussians.means()[width..][..width], vec![0.001; width]);
}

const SHARE: f64 = 0.25;

fn new(config: DotaConfig) -> Dota {
    let confident_share = ConfidentShare::new(SHARE).expect("a share");
    Dota::new(DotaConfig { confident_share, ..config }, ClassTexts::default())
}

fn scores(clip: &Clip, method: &mut Dota, set: &str, image: usize) -> Vec<f32> {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names).with_set(set);
    let views = ImageViews::new(clip, views(image));
    method.classify(&classes, &views).expect("it can be classified").scores
}

#[test]
fn a_stream_goes_on_from_its_saved_memory_and_starts_anew_with_a_set() {
    let clip = small_clip();
    for set in ["A", "food101"] {
        let mut whole = new(DotaConfig::default());
        let expected: Vec<_> = (0..5).map(|image| scores(&clip, &mut whole, set, image)).collect();
        let mut first = new(DotaConfig::default());
        (0..3).for_each(|image| {
            assert_eq!(scores(&clip, &mut first, set, image), expected[image]);
        });
        let memory = first.remembers().expect("a memory").save().expect("it can be saved");
        let mut second = new(DotaConfig::default());
        // What it has seen before does not matter.
        scores(&clip, &mut second, set, 4);
        let remembers = second.remembers().expect("a memory");
        remembers.restore(&memory, &mint_fixtures::device()).expect("it fits");
        assert_eq!(remembers.save().expect("it can be saved"), memory);
        (3..5).for_each(|image| {
            assert_eq!(scores(&clip, &mut second, set, image), expected[image]);
        });
        whole.next_test_set();
        assert_eq!(scores(&clip, &mut whole, set, 0), expected[0]);
        assert_ne!(scores(&clip, &mut whole, set, 4), expected[4], "images are remembered");
    }
}

#[test]
fn each_set_has_its_constants_and_its_views() {
    let clip = small_clip();
    let run = |config: DotaConfig, set: &str| -> Vec<f32> {
        let mut method = new(config);
        (0..3).flat_map(|image| scores(&clip, &mut method, set, image)).collect()
    };
    let official = DotaConfig::default;
    let stated = |weight, growth, shrinkage, looks_at| DotaConfig {
        largest_weight: Some(weight),
        weight_growth: Some(growth),
        shrinkage: Some(shrinkage),
        looks_at,
        ..official()
    };
    let sketch = run(official(), "K");
    assert_eq!(sketch, run(stated(0.8, 0.03, 1e-4, LooksAt::Views), "I"));
    let caltech = run(official(), "caltech101");
    assert_eq!(caltech, run(stated(0.3, 0.02, 2e-3, LooksAt::Clean), "A"));
    assert_eq!(run(official(), "I"), run(official(), "a set of one's own"));
    assert_ne!(sketch, run(official(), "A"));
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let demand = |set: &str| {
        let classes = ClassSet::new(&clip, &tokenizer, &names).with_set(set);
        new(official()).view_demand(&classes)
    };
    let all = |sets: [&str; 4], expected| sets.into_iter().all(|set| demand(set) == expected);
    assert!(all(["A", "V", "R", "K"], ViewDemand::All));
    assert!(all(["I", "dtd", "pets", "sun397"], ViewDemand::Clean));
}

#[test]
fn too_few_views_and_other_classes_are_an_error_and_leave_the_memory_alone() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, &names).with_set("A");
    let few = ClassSet::new(&clip, &tokenizer, &names[..3]).with_set("A");
    let mut method = Dota::new(DotaConfig::default(), ClassTexts::default());
    let of = |count: usize| ImageViews::new(&clip, views(0).narrow(0, 0, count));
    let message = method.classify(&classes, &of(9)).expect_err("too few").to_string();
    assert!(message.contains("chooses none of 9 views"), "{message}");
    assert_eq!(saved(&mut method), saved(&mut new(DotaConfig::default())));
    let one = method.classify(&classes, &of(1)).expect("it is the image itself");
    assert!(one.scores.iter().all(|score| score.is_finite()));
    let memory = saved(&mut method);
    let message = method.classify(&few, &of(1)).expect_err("other classes").to_string();
    assert_eq!(message, "DOTA's distributions are of other classes than the test set");
    assert_eq!(saved(&mut method), memory);
}

fn saved(method: &mut Dota) -> Memory {
    method.remembers().expect("a memory").save().expect("it can be saved")
}

#[test]
fn damaged_memories_are_refused() {
    let clip = small_clip();
    let mut method = new(DotaConfig::default());
    scores(&clip, &mut method, "A", 0);
    let memory = saved(&mut method);
    let mut refuses = |name: &str, data: Option<TensorData>| {
        let mut tensors = memory.tensors().clone();
        match data {
            Some(data) => tensors.insert(name.to_owned(), data),
            None => tensors.remove(name),
        };
        let remembers = method.remembers().expect("a memory");
        let damaged = remembers.restore(&Memory::new(tensors), &mint_fixtures::device());
        assert!(damaged.is_err(), "{name}");
        assert_eq!(remembers.save().expect("it can be saved"), memory, "it is left alone");
    };
    for (name, data) in memory.tensors() {
        refuses(name, None);
        let length = data.num_elements() - 1;
        if let Ok(mut numbers) = data.clone().try_into_vec::<f32>() {
            numbers[length] = f32::NAN;
            refuses(name, Some(TensorData::new(numbers.clone(), [length + 1])));
            refuses(name, Some(TensorData::new(numbers[..length].to_vec(), [length])));
        } else {
            let mut numbers = data.clone().try_into_vec::<i64>().expect("whole numbers");
            refuses(name, Some(TensorData::new(numbers[..length].to_vec(), [length])));
            numbers[length] = -1;
            refuses(name, Some(TensorData::new(numbers.clone(), [length + 1])));
            numbers[length] = i64::MAX;
            refuses(name, Some(TensorData::new(numbers, [length + 1])));
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_no_answer() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let mut method = new(DotaConfig::default());
    scores(&clip, &mut method, "I", 0);
    let mut tensors = saved(&mut method).tensors().clone();
    let length = tensors["means"].num_elements();
    tensors.insert("means".to_owned(), TensorData::new(vec![1e30f32; length], [length]));
    let remembers = method.remembers().expect("a memory");
    remembers
        .restore(&Memory::new(tensors), &mint_fixtures::device())
        .expect("these numbers are finite");
    let answer = method.classify(&classes, &ImageViews::new(&clip, views(1)));
    assert!(matches!(answer, Err(MethodError::NotFinite)));
}

#[test]
fn senseless_settings_are_refused_by_name() {
    let official = DotaConfig::default;
    assert!(official().check(64).is_ok() && official().check(1).is_ok());
    for (config, setting) in [
        (DotaConfig { largest_weight: Some(-1.0), ..official() }, "largest-weight"),
        (DotaConfig { weight_growth: Some(f64::NAN), ..official() }, "weight-growth"),
        (DotaConfig { shrinkage: Some(0.0), ..official() }, "shrinkage"),
        (DotaConfig { shrinkage: Some(1.1), ..official() }, "shrinkage"),
        (DotaConfig { initial_variance: 0.0, ..official() }, "initial-variance"),
    ] {
        let message = config.check(64).expect_err("it is refused").to_string();
        assert!(message.starts_with(&format!("`{setting}` is")), "{message}");
    }
    assert!(official().check(9).is_err());
    assert!(DotaConfig { looks_at: LooksAt::Clean, ..official() }.check(9).is_ok());
}
