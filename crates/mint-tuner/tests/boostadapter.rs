//! BoostAdapter against its official code. Recorded in `mint-golden/data/boostadapter.safetensors`.

use burn::tensor::{Tensor, TensorData};
use mint_clip::{Clip, normalize};
use mint_fixtures::{class_names, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::boostadapter::Boosting;
use mint_tuner::caches::{Cached, Caches};
use mint_tuner::confidence::entropies;
use mint_tuner::{
    Boostadapter, BoostadapterConfig, ClassSet, ClassTexts, ImageViews, LooksAt, Memory, Method,
    ViewDemand, ViewLogits,
};

/// Cosines are sums of some 40 products, off by 8 roundings at most on both sides; logits are 100
/// times that.
const LOGITS: Bound = Bound::absolute(16.0 * 6e-8 * 100.0);

/// Probabilities and entropies of such logits: their derivatives hardly ever add up to more than a
/// tenth where distributions are as clear as the recorded ones.
const ENTROPY: Bound = Bound::absolute(16.0 * 6e-8 * 10.0);

/// Means of a few unit vectors.
const FEATURE: Bound = Bound::relative(16.0);

/// What the numbers of the image's own views start at where a cache lists its sources.
const VIEWS: i64 = 10_000;

/// The entries of a cache, and what a recording says of it.
struct Check<'a> {
    recording: &'a Recording,
    /// Of the images so far.
    queries: &'a [Vec<f32>],
    /// Of this image.
    views: &'a [Vec<f32>],
}

impl Check<'_> {
    /// Where an entry comes from: the number of an image, or of a view of this one.
    fn source(&self, entry: &Cached) -> i64 {
        let place = |rows: &[Vec<f32>]| rows.iter().position(|row| *row == entry.feature);
        let image = place(self.queries).map(|image| image as i64);
        let view = || place(self.views).map(|view| VIEWS + view as i64);
        image.or_else(view).expect("it was seen")
    }

    /// Compares all classes' entries; free places hold -1 in the recording.
    fn cache(&self, what: &str, cache: &[Vec<&Cached>]) {
        let counts: Vec<i64> = cache.iter().map(|entries| entries.len() as i64).collect();
        assert_eq!(counts, self.recording.integers(&format!("{what}_count")), "{what}");
        let recorded = self.recording.integers(&format!("{what}_source"));
        let slots = recorded.len() / cache.len();
        let entropies = format!("{what}_entropy");
        let has_entropies = self.recording.names().contains(&entropies);
        for (class, entries) in cache.iter().enumerate() {
            let mut sources: Vec<i64> = entries.iter().map(|entry| self.source(entry)).collect();
            sources.resize(slots, -1);
            assert_eq!(sources, recorded[class * slots..][..slots], "{what} of class {class}");
            if has_entropies {
                let ours: Vec<f32> = entries.iter().map(|entry| entry.entropy).collect();
                let theirs = &self.recording.floats(&entropies)[class * slots..][..ours.len()];
                assert_close(&entropies, &ours, theirs, ENTROPY);
            }
        }
    }
}

/// Replays a recorded stream.
fn check(tag: &str, boosting: &Boosting) {
    let recording = Recording::open("boostadapter");
    let all = format!("{tag}.view_features");
    let [n_images, n_views, width] = recording.shape(&all)[..] else {
        panic!("[image, view, embed]")
    };
    let all = recording.floats(&all);
    let texts = tensor::<2>(&recording, &format!("{tag}.text_features"));
    let mut caches = Caches::default();
    let mut queries = Vec::new();
    for image in 0..n_images {
        let rows = all[image * n_views * width..][..n_views * width].to_vec();
        let rows =
            Tensor::from_data(TensorData::new(rows, [n_views, width]), &mint_fixtures::device());
        let embeddings: Tensor<2> = normalize(rows);
        let rows: Vec<Vec<f32>> =
            values(embeddings.clone()).chunks(width).map(<[f32]>::to_vec).collect();
        let logits = embeddings.clone().matmul(texts.clone().transpose()) * 100.0;
        let logits = ViewLogits { entropies: entropies(logits.clone()), logits };
        let seen = boosting.see(embeddings, logits).expect("views are chosen");

        let name = |what: &str| format!("{tag}.img{image}.{what}");
        let close = |what: &str, ours: &[f32], bound| {
            assert_close(&name(what), ours, &recording.floats(&name(what)), bound);
        };
        let of_view = |&view: &i64| rows[view as usize].clone();
        let chosen = match n_views {
            1 => Vec::new(),
            _ => recording.integers(&name("selected_idx")).iter().map(of_view).collect(),
        };
        let boosters: Vec<_> = seen.views.iter().map(|view| view.feature.clone()).collect();
        assert_eq!(boosters, chosen, "{}", name("selected_idx"));
        close("query", &seen.query.feature, FEATURE);
        close("clip_logits", &seen.query.logits, LOGITS);
        close("prob_map", &seen.query.probabilities, ENTROPY);
        close("entropy", &[seen.query.entropy()], ENTROPY);
        queries.push(seen.query.feature.clone());

        close("final_logits", &boosting.classify(&mut caches, &seen), LOGITS);
        let class = recording.integers(&name("pred"))[0] as usize;
        let is_query = |entry: &Cached| entry.feature == seen.query.feature;
        let joined = caches.negative()[class].last().is_some_and(is_query);
        assert_eq!(i64::from(joined), recording.integers(&name("negative_updated"))[0]);
        let check = Check { recording: &recording, queries: &queries, views: &rows };
        let negative: Vec<Vec<&Cached>> =
            caches.negative().iter().map(|entries| entries.iter().collect()).collect();
        check.cache(&name("neg"), &negative);
        check.cache(&name("pos"), &boosting.boosted(&caches, &[]));
        check.cache(&name("boost"), &boosting.boosted(&caches, &seen.views));
    }
}

/// Of a recorded stream, for a set whose rules it was recorded with.
fn boosting(set: &str, config: &BoostadapterConfig) -> Boosting {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    config.boosting(&ClassSet::new(&clip, &tokenizer, &names).with_set(set))
}

/// Everything but the constants that a set has officially.
fn config(slots: usize, negative_slots: usize, uncertain: (f64, f64)) -> BoostadapterConfig {
    BoostadapterConfig {
        positive_slots: slots,
        negative_slots,
        uncertain,
        ..BoostadapterConfig::default()
    }
}

#[test]
fn the_mean_of_confident_views_is_boosted_as_officially() {
    // ImageNet-A's own constants are those of the recording.
    check("ood", &boosting("A", &config(3, 2, (0.05, 0.5))));
}

#[test]
fn the_clean_view_is_boosted_as_officially() {
    let config = BoostadapterConfig {
        boosted_slots: Some(2),
        positive_weight: Some(3.0),
        positive_sharpness: Some(8.0),
        ..config(2, 2, (0.1, 0.5))
    };
    check("fine", &boosting("ucf101", &config));
}

#[test]
fn a_single_view_is_not_boosted() {
    // ImageNet's own constants are those of the recording.
    check("single", &boosting("I", &config(2, 1, (0.1, 0.5))));
}

#[test]
fn views_and_queries_follow_the_set() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let classes = || ClassSet::new(&clip, &tokenizer, &names);
    let demand = |config: &BoostadapterConfig, classes: &ClassSet<'_>| {
        Boostadapter::new(config.clone(), ClassTexts::default()).view_demand(classes)
    };
    let official = BoostadapterConfig::default();
    for (set, expected) in [
        ("I", ViewDemand::Clean),
        ("A", ViewDemand::All),
        ("pets", ViewDemand::All),
        ("holidays", ViewDemand::Clean),
    ] {
        assert_eq!(demand(&official, &classes().with_set(set)), expected, "{set}");
    }
    assert_eq!(demand(&official, &classes()), ViewDemand::Clean);
    let views = BoostadapterConfig { looks_at: LooksAt::Views, ..official.clone() };
    assert_eq!(demand(&views, &classes()), ViewDemand::All);

    // The query is the clean view, or the mean of two of twenty.
    let query = |config: &BoostadapterConfig, set: &str| {
        let embeddings = normalize(clip.image.forward(pixels_of_two_images().narrow(0, 0, 20)));
        let texts = classes().features(&ClassTexts::default()).expect("prompts fit").tensor();
        let logits = clip.logits(embeddings.clone(), texts);
        let logits = ViewLogits { entropies: entropies(logits.clone()), logits };
        let clean = values(embeddings.clone().narrow(0, 0, 1));
        let seen = config.boosting(&classes().with_set(set)).see(embeddings, logits);
        let seen = seen.expect("views are chosen");
        assert_eq!(seen.views.len(), 2);
        seen.query.feature == clean
    };
    assert!(query(&official, "dtd") && query(&official, "I") && !query(&official, "R"));
    assert!(!query(&BoostadapterConfig { query: LooksAt::Views, ..official.clone() }, "dtd"));
    assert!(query(&BoostadapterConfig { query: LooksAt::Clean, ..official }, "R"));
}

fn pixels_of_two_images() -> Tensor<4> {
    Tensor::cat(vec![views(0), views(1)], 0)
}

fn scores(clip: &Clip, method: &mut Boostadapter, set: &str, image: usize) -> Vec<f32> {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names).with_set(set);
    let views = ImageViews::new(clip, views(image));
    method.classify(&classes, &views).expect("it can be classified").scores
}

#[test]
fn a_stream_goes_on_from_its_saved_memory_and_starts_anew_with_a_set() {
    let clip = small_clip();
    let new = || {
        let config = BoostadapterConfig { uncertain: (0.0, 1.0), ..BoostadapterConfig::default() };
        Boostadapter::new(config, ClassTexts::default())
    };
    for set in ["A", "I", "food101"] {
        let mut whole = new();
        let expected: Vec<_> = (0..5).map(|image| scores(&clip, &mut whole, set, image)).collect();
        let mut first = new();
        (0..3).for_each(|image| {
            assert_eq!(scores(&clip, &mut first, set, image), expected[image]);
        });
        let memory = first.remembers().expect("a memory").save().expect("it can be saved");
        let mut second = new();
        let remembers = second.remembers().expect("a memory");
        remembers.restore(&memory, &mint_fixtures::device()).expect("it fits");
        (3..5).for_each(|image| {
            assert_eq!(scores(&clip, &mut second, set, image), expected[image]);
        });
        whole.next_test_set();
        assert_eq!(scores(&clip, &mut whole, set, 0), expected[0]);
        assert_ne!(scores(&clip, &mut whole, set, 4), expected[4], "images are remembered");
    }
}

#[test]
fn boosting_needs_enough_views_and_caches_need_the_same_classes() {
    let (clip, names) = (small_clip(), class_names());
    let tokenizer = clip.tokenizer();
    let classes = ClassSet::new(&clip, &tokenizer, &names).with_set("dtd");
    let few = ClassSet::new(&clip, &tokenizer, &names[..3]).with_set("dtd");
    let mut method = Boostadapter::new(BoostadapterConfig::default(), ClassTexts::default());
    let of = |count: usize| ImageViews::new(&clip, views(0).narrow(0, 0, count));
    let message = method.classify(&classes, &of(9)).expect_err("too few").to_string();
    assert!(message.contains("at least 10 views"), "{message}");
    let one = method.classify(&classes, &of(1)).expect("it is the image itself");
    assert!(one.scores.iter().all(|score| score.is_finite()));
    let message = method.classify(&few, &of(1)).expect_err("other classes").to_string();
    assert_eq!(message, "BoostAdapter's caches are of 12 classes and the test set has 3");
    let remembers = method.remembers().expect("a memory");
    assert!(remembers.restore(&Memory::default(), &mint_fixtures::device()).is_err());
}

#[test]
fn senseless_settings_are_refused_by_name() {
    let official = BoostadapterConfig::default;
    assert!(official().check(64).is_ok() && official().check(1).is_ok());
    for (config, setting) in [
        (BoostadapterConfig { positive_weight: Some(f64::NAN), ..official() }, "positive-weight"),
        (
            BoostadapterConfig { positive_sharpness: Some(f64::INFINITY), ..official() },
            "positive-sharpness",
        ),
        (BoostadapterConfig { boosted_slots: Some(usize::MAX), ..official() }, "boosted-slots"),
        (BoostadapterConfig { negative_slots: usize::MAX, ..official() }, "negative-slots"),
        (BoostadapterConfig { uncertain: (0.0, f64::NAN), ..official() }, "uncertain"),
    ] {
        let message = config.check(64).expect_err("it is refused").to_string();
        assert!(message.starts_with(&format!("`{setting}` is")), "{message}");
    }
    assert!(official().check(9).is_err());
    let clean = BoostadapterConfig { looks_at: LooksAt::Clean, ..official() };
    assert!(clean.check(9).is_ok());
}
