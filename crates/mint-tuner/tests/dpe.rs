//! DPE against its official code. Recorded in `mint-golden/data/dpe.safetensors`.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::TensorData;
use mint_clip::Clip;
use mint_fixtures::{class_names, integers, small_clip, tensor, values, views};
use mint_golden::{Bound, Recording, assert_close, assert_within};
use mint_tuner::dpe::{Constants, Prototypes, Step};
use mint_tuner::{
    ClassSet, ClassTextLists, ClassTexts, ConfidentShare, Dpe, DpeConfig, ImageViews, LooksAt,
    Memory, Method, MethodError, ViewDemand,
};

/// Means of unit vectors.
const QUERY: Bound = Bound::absolute(1e-6);

/// The official entropy is made of differences of logits of a hundred, each off by `100 u`. Where
/// one class has nearly all the probability its gradient by a logit is such a difference, and the
/// scale 100 carries it to the texts: `100 * 100 u`, or 6e-4, and the logits' own error.
const TEXT_GRADIENT: Bound = Bound::absolute(2e-3);

/// The same by the images, with a weight times sharpness of 30 at a vote that is well below one; the
/// alignment adds probabilities times the inverse of its temperature.
const IMAGE_GRADIENT: Bound = Bound::absolute(1e-4);

/// Losses are off as the logits are, and as the official entropy is.
const LOSS: Bound = Bound::absolute(2e-4);

/// Texts that have learned are off by up to 3e-6 in each number, and a unit vector sees a few of those,
/// times the scale 100.
const LOGITS: Bound = Bound::absolute(2e-3);

/// The texts are unit vectors that residuals have moved, and their means.
const TEXTS: Bound = Bound::absolute(3e-5);

/// How far residuals may be apart. They are the learning rate times `g / (|g| + 1e-3)`, whose slope
/// between two gradients is at most `1e-3 / (|g| + 1e-3)^2` of the smaller one.
fn residual_limits(rate: f64, ours: &[f32], theirs: &[f32]) -> Vec<f32> {
    let limit = |(&ours, &theirs): (&f32, &f32)| {
        let smaller = if ours * theirs > 0.0 { ours.abs().min(theirs.abs()) } else { 0.0 };
        let step = 1e-3 * (ours - theirs).abs() / (smaller + 1e-3).powi(2);
        rate as f32 * (step + 8.0 * f32::EPSILON)
    };
    ours.iter().zip(theirs).map(limit).collect()
}

struct Case {
    recording: Recording,
    tag: &'static str,
    config: DpeConfig,
    constants: Constants,
    answers_from: ViewDemand,
}

fn case(tag: &'static str) -> Case {
    let recording = Recording::open("dpe");
    let slots = recording.shape(&format!("{tag}.img0.cache_entropy"))[1];
    let ([weight, sharpness, rate, alignment], answers_from) = match tag {
        "shift" => ([3.0, 8.0, 6e-4, 0.5], ViewDemand::Clean),
        "adversarial" => ([6.0, 5.0, 3e-4, 2.5], ViewDemand::All),
        _ => ([6.0, 3.0, 5e-3, 0.2], ViewDemand::Clean),
    };
    let constants = Constants {
        image_weight: weight,
        image_sharpness: sharpness,
        learning_rate: rate,
        alignment_weight: alignment,
    };
    let config = DpeConfig { slots, ..DpeConfig::default() };
    Case { recording, tag, config, constants, answers_from }
}

impl Case {
    fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.tag)
    }

    fn images(&self) -> usize {
        self.recording.shape(&self.name("view_features"))[0]
    }

    fn classify(&self, prototypes: &mut Prototypes, image: usize) -> Step {
        let texts = tensor::<2>(&self.recording, &self.name("text_features"));
        let all = tensor::<3>(&self.recording, &self.name("view_features"));
        let views = all.narrow(0, image, 1).squeeze_dim::<2>(0);
        let step = prototypes.classify(
            &self.config,
            self.constants,
            100.0,
            texts,
            views,
            self.answers_from,
        );
        step.expect("the device works")
    }
}

fn check(tag: &'static str) {
    let case = case(tag);
    let mut prototypes = Prototypes::default();
    let mut queries: Vec<Vec<f32>> = Vec::new();
    for image in 0..case.images() {
        let name = |what: &str| case.name(&format!("img{image}.{what}"));
        let close = |what: &str, actual: Vec<f32>, bound| {
            assert_close(&name(what), &actual, &case.recording.floats(&name(what)), bound);
        };
        let whole = |what: &str| case.recording.integers(&name(what));
        let step = case.classify(&mut prototypes, image);
        let Step { sight, tuned, .. } = step;
        queries.push(values(sight.feature.clone()));

        if tag == "single" {
            assert_eq!(integers(sight.chosen), [0]);
        } else {
            assert_eq!(integers(sight.chosen), whole("selected_idx"), "{}", name("selected_idx"));
        }
        close("query", values(sight.feature), QUERY);
        close("clip_logits", values(sight.logits), LOGITS);
        assert_eq!([step.class as i64], *whole("pred"), "{}", name("pred"));
        close("entropy_normalised", vec![step.entropy], LOSS);

        let n_classes = case.recording.shape(&name("cache_entropy"))[0];
        let (mut sources, mut counts, mut entropies) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..n_classes {
            let cached: Vec<_> = prototypes.images(class).collect();
            let source = |feature: &[f32]| queries.iter().position(|query| query == feature);
            let mut of_class: Vec<i64> = cached
                .iter()
                .map(|(feature, _)| source(feature).expect("it was seen") as i64)
                .collect();
            counts.push(of_class.len() as i64);
            of_class.resize(case.config.slots, -1);
            sources.extend(of_class);
            let recorded = case.recording.floats(&name("cache_entropy"));
            let recorded = &recorded[class * case.config.slots..][..cached.len()];
            entropies.extend(cached.iter().map(|(_, entropy)| *entropy).zip(recorded.to_vec()));
        }
        assert_eq!(sources, whole("cache_source"), "{}", name("cache_source"));
        assert_eq!(counts, whole("cache_count"), "{}", name("cache_count"));
        let (ours, theirs): (Vec<f32>, Vec<f32>) = entropies.into_iter().unzip();
        assert_close(&name("cache_entropy"), &ours, &theirs, LOSS);

        close("train_logits", values(tuned.scores), LOGITS);
        close("loss_entropy", values(tuned.entropy), LOSS);
        close("loss_alignment", values(tuned.alignment.expect("it has a weight")), LOSS);
        let gradients = [("grad_text", TEXT_GRADIENT), ("grad_image", IMAGE_GRADIENT)];
        let residuals = tuned.residuals.map(values);
        for (place, (what, bound)) in gradients.into_iter().enumerate() {
            let (ours, theirs) =
                (values(tuned.gradients[place].clone()), case.recording.floats(&name(what)));
            assert_close(&name(what), &ours, &theirs, bound);
            let what = name(["residual_text", "residual_image"][place]);
            let limits = residual_limits(case.constants.learning_rate, &ours, &theirs);
            assert_within(&what, &residuals[place], &case.recording.floats(&what), &limits);
        }

        close("eval_clip_logits", values(step.logits), LOGITS);
        close("final_logits", values(step.scores), LOGITS);
        close("final_entropy_normalised", vec![step.final_entropy], LOSS);
        assert_eq!([i64::from(step.learned)], *whole("global_updated"), "{}", name("updated"));
        let texts = prototypes.texts().expect("there was an image").clone();
        close("global_after", values(texts), TEXTS);
    }
}

#[test]
fn answers_from_the_clean_view_match() {
    check("shift");
}

#[test]
fn answers_from_the_confident_views_match() {
    check("adversarial");
}

#[test]
fn a_single_view_stands_for_itself() {
    check("single");
}

/// A change of settings and what it is.
type Change = (&'static str, fn(&mut Case));

/// The largest difference of the recorded answers with other constants or settings.
fn apart(change: impl Fn(&mut Case)) -> f32 {
    let mut case = case("shift");
    change(&mut case);
    let mut prototypes = Prototypes::default();
    let difference = |image: usize| {
        let scores = values(case.classify(&mut prototypes, image).scores);
        let expected = case.recording.floats(&case.name(&format!("img{image}.final_logits")));
        scores.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    (0..case.images()).map(difference).fold(0.0, f32::max)
}

#[test]
fn every_part_shows_in_the_answers() {
    let limit = LOGITS.limit(&[]);
    assert!(apart(|_| {}) <= limit);
    let changes: [Change; 9] = [
        ("no votes", |case| case.constants.image_weight = 0.0),
        ("votes against", |case| case.constants.image_weight *= -1.0),
        ("blunt votes", |case| case.constants.image_sharpness = 0.0),
        ("no step", |case| case.constants.learning_rate = 0.0),
        ("a step upwards", |case| case.constants.learning_rate *= -1.0),
        ("no alignment", |case| case.constants.alignment_weight = 0.0),
        ("a warm alignment", |case| case.config.alignment_temperature = 1.0),
        ("texts that never learn", |case| case.config.certain = 0.0),
        ("answers from other views", |case| case.answers_from = ViewDemand::All),
    ];
    for (what, change) in changes {
        let apart = apart(change);
        assert!(apart > 5.0 * limit, "{what}: {apart}");
    }
}

#[test]
fn an_alignment_without_weight_is_not_computed() {
    let mut case = case("shift");
    case.constants.alignment_weight = 0.0;
    let tuned = case.classify(&mut Prototypes::default(), 0).tuned;
    assert!(tuned.alignment.is_none());
    assert_eq!(values(tuned.loss), values(tuned.entropy));
}

/// The scores of an image, of which the first `n_views` views are looked at, on a test set.
fn scores(
    method: &mut Dpe,
    clip: &Clip,
    set: Option<&str>,
    image: usize,
    n_views: usize,
) -> Result<Vec<f32>, MethodError> {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let classes = match set {
        Some(set) => classes.with_set(set),
        None => classes,
    };
    let views = ImageViews::new(clip, views(image).narrow(0, 0, n_views));
    Ok(method.classify(&classes, &views)?.scores)
}

/// A quarter of the 16 views, and answers that are certain enough to learn from.
fn config() -> DpeConfig {
    let confident_share = ConfidentShare::new(0.25).expect("a share");
    DpeConfig { confident_share, certain: 0.3, ..DpeConfig::default() }
}

fn new(config: DpeConfig) -> Dpe {
    Dpe::new(config, ClassTexts::default(), None)
}

#[test]
fn a_stream_goes_on_from_its_saved_memory_and_starts_anew_with_a_set() {
    let clip = small_clip();
    let run = |method: &mut Dpe, image: usize| {
        scores(method, &clip, Some("I"), image, 16).expect("it can be classified")
    };
    for rested in 0..4 {
        let mut whole = new(config());
        let expected: Vec<_> = (0..5).map(|image| run(&mut whole, image)).collect();
        let mut first = new(config());
        (0..rested).for_each(|image| assert_eq!(run(&mut first, image), expected[image]));
        let memory = first.remembers().expect("a memory").save().expect("it can be saved");
        let mut second = new(config());
        let remembers = second.remembers().expect("a memory");
        remembers.restore(&memory, &mint_fixtures::device()).expect("it fits");
        assert_eq!(remembers.save().expect("it can be saved"), memory);
        (rested..5).for_each(|image| assert_eq!(run(&mut second, image), expected[image]));
        whole.next_test_set();
        assert_eq!(run(&mut whole, 0), expected[0]);
        assert_ne!(run(&mut whole, 0), expected[0], "something was learned");
    }
}

#[test]
fn damaged_and_foreign_memories_are_refused() {
    let clip = small_clip();
    let mut method = new(config());
    scores(&mut method, &clip, None, 0, 16).expect("it can be classified");
    let saved = method.remembers().expect("a memory").save().expect("it can be saved");
    let numbers = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
    let whole = |values: &[i64]| TensorData::new(values.to_vec(), [values.len()]);
    let texts = saved.tensors()["texts"].clone().try_into_vec::<f32>().expect("numbers");
    let mut broken = texts.clone();
    broken[0] = f32::NAN;
    let refuse = |method: &mut Dpe, tensors: BTreeMap<String, TensorData>| {
        let remembers = method.remembers().expect("a memory");
        let error = remembers.restore(&Memory::new(tensors), &mint_fixtures::device());
        assert!(matches!(error, Err(MethodError::Memory(_))), "{error:?}");
    };
    for (name, value) in [
        ("texts", numbers(&texts[1..])),
        ("texts", numbers(&texts[12..])),
        ("texts", numbers(&[])),
        ("texts", numbers(&broken)),
        ("texts", whole(&[1])),
        ("learned", whole(&[-1])),
        ("learned", whole(&[])),
        ("learned", whole(&[1, 1])),
        ("learned", numbers(&[1.0])),
        ("images-sizes", whole(&[1])),
        ("images-sizes", whole(&[])),
        ("images-features", numbers(&[1.0, 0.0])),
    ] {
        let mut tensors = saved.tensors().clone();
        tensors.insert(name.to_owned(), value);
        refuse(&mut method, tensors);
    }
    for name in saved.tensors().keys() {
        let mut tensors = saved.tensors().clone();
        tensors.remove(name);
        refuse(&mut method, tensors);
    }
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let few = ClassSet::new(&clip, &tokenizer, &names[..3]);
    let image = ImageViews::new(&clip, views(0));
    let message = method.classify(&few, &image).expect_err("other classes").to_string();
    assert_eq!(message, "DPE's prototypes are of other classes than the test set");
    method.next_test_set();
    assert!(method.classify(&few, &image).is_ok());
}

#[test]
fn official_rules_and_constants_are_those_of_the_set() {
    let clip = small_clip();
    let stream = |config: DpeConfig, set: Option<&str>, n_views: usize| {
        let mut method = new(config);
        let mut run = |image| scores(&mut method, &clip, set, image, n_views).expect("it can");
        (0..3).map(&mut run).collect::<Vec<_>>()
    };
    let explicit =
        |looks_at, answers_from, [weight, sharpness, rate, alignment]: [f64; 4]| DpeConfig {
            looks_at,
            answers_from,
            image_weight: Some(weight),
            image_sharpness: Some(sharpness),
            learning_rate: Some(rate),
            alignment_weight: Some(alignment),
            ..config()
        };
    let (clean, all) = (LooksAt::Clean, LooksAt::Views);
    for (set, explicit) in [
        (Some("I"), explicit(all, clean, [6.0, 5.0, 6e-4, 0.5])),
        (Some("elsewhere"), explicit(all, clean, [6.0, 5.0, 6e-4, 0.5])),
        (Some("A"), explicit(all, all, [6.0, 5.0, 3e-4, 2.5])),
        (Some("R"), explicit(all, clean, [3.0, 8.0, 6e-4, 0.0])),
        (Some("caltech101"), explicit(clean, clean, [15.0, 5.0, 6e-4, 0.2])),
        (Some("ucf101"), explicit(clean, clean, [9.0, 8.0, 4e-4, 0.2])),
    ] {
        assert_eq!(stream(config(), set, 16), stream(explicit, None, 16), "{set:?}");
    }
    assert_eq!(stream(config(), Some("dtd"), 16), stream(config(), Some("dtd"), 1));
    assert_ne!(stream(config(), Some("I"), 16), stream(config(), Some("I"), 1));
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let demand = |config: DpeConfig, set: &str| {
        new(config).view_demand(&ClassSet::new(&clip, &tokenizer, &names).with_set(set))
    };
    assert_eq!(demand(config(), "K"), ViewDemand::All);
    assert_eq!(demand(config(), "cars"), ViewDemand::Clean);
    assert_eq!(demand(DpeConfig { looks_at: all, ..config() }, "cars"), ViewDemand::All);
}

#[test]
fn texts_and_descriptions_are_one_ensemble() {
    let clip = small_clip();
    let templates = ["a photo of a {}.", "art of a {}.", "a toy {}."].map(str::to_owned);
    let described = |name: &String| vec![format!("{name}, which can be seen"); 1 + name.len() % 2];
    let with = |lists: &dyn Fn(&String) -> Vec<String>| {
        let lists = class_names().into_iter().map(|name| (name.clone(), lists(&name)));
        Arc::new(ClassTextLists::new(lists).expect("every class has texts"))
    };
    let both = |name: &String| {
        let templates = templates.iter().map(|template| template.replace("{}", name));
        templates.chain(described(name)).collect()
    };
    let mut one = Dpe::new(config(), ClassTexts::PerClass(with(&both)), None);
    let texts = ClassTexts::Ensemble(templates.to_vec());
    let mut two = Dpe::new(config(), texts, Some(with(&described)));
    let expected = scores(&mut one, &clip, None, 0, 16).expect("it can be classified");
    let ours = scores(&mut two, &clip, None, 0, 16).expect("it can be classified");
    assert_close("scores", &ours, &expected, Bound::LOGITS);
    let plain = scores(&mut new(config()), &clip, None, 0, 16).expect("it can be classified");
    assert_ne!(plain, expected);
}

#[test]
fn few_views_and_bad_settings_are_refused() {
    let clip = small_clip();
    let message = scores(&mut new(DpeConfig::default()), &clip, None, 0, 9);
    let message = message.expect_err("none is chosen").to_string();
    assert!(message.ends_with("use at least 10 views"), "{message}");
    assert!(scores(&mut new(DpeConfig::default()), &clip, None, 0, 1).is_ok());
    let default = DpeConfig::default;
    assert!(default().check(9).is_err() && default().check(1).is_ok());
    assert!(DpeConfig { looks_at: LooksAt::Clean, ..default() }.check(9).is_ok());
    for (name, config) in [
        ("slots", DpeConfig { slots: 0, ..default() }),
        ("image-weight", DpeConfig { image_weight: Some(f64::NAN), ..default() }),
        ("image-sharpness", DpeConfig { image_sharpness: Some(f64::INFINITY), ..default() }),
        ("learning-rate", DpeConfig { learning_rate: Some(-1.0), ..default() }),
        ("alignment-weight", DpeConfig { alignment_weight: Some(-1.0), ..default() }),
        ("alignment-temperature", DpeConfig { alignment_temperature: 0.0, ..default() }),
        ("certain", DpeConfig { certain: f64::NAN, ..default() }),
    ] {
        let message = config.check(64).expect_err("it makes no sense").to_string();
        assert!(message.starts_with(&format!("`{name}` is")), "{message}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_an_error_and_one_class_is_not() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let embeddings = clip.image.forward(views(0)) * f32::NAN;
    let error = new(config()).classify(&classes, &ImageViews::of_embeddings(&clip, embeddings));
    assert!(matches!(error, Err(MethodError::NotFinite)), "{error:?}");
    let mut wild = new(DpeConfig { learning_rate: Some(1e40), ..config() });
    let error = scores(&mut wild, &clip, None, 0, 16);
    assert!(matches!(error, Err(MethodError::Diverged { step: 1 })), "{error:?}");
    let alone = ClassSet::new(&clip, &tokenizer, &names[..1]);
    let mut method = new(config());
    method.classify(&alone, &ImageViews::new(&clip, views(0))).expect("one class is enough");
    let remembers = method.remembers().expect("a memory");
    let memory = remembers.save().expect("it can be saved");
    remembers.restore(&memory, &mint_fixtures::device()).expect("it is whole");
}
