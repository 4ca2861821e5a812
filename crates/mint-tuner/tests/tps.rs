//! TPS against its official code. Recorded in `mint-golden/data/tps.safetensors`.

use std::sync::Arc;

use burn::tensor::Tensor;
use mint_clip::{Clip, normalize, scaled_cosines};
use mint_fixtures::{class_names, integers, small_clip, tensor, values, views};
use mint_golden::{AdamwReplay, Bound, Recording, assert_close, assert_within};
use mint_tuner::tps::ShiftTuning;
use mint_tuner::{
    ClassSet, ClassTextLists, ClassTexts, ConfidentShare, ImageViews, Method, MethodError,
    OptimizerConfig, TextMeans, Tps, TpsConfig, TpsPrototypes, ZeroShot,
};

/// Cosines of short vectors: sums of a few dozen products and their norms, 16 roundings, times the
/// scale 100.
const LOGITS: Bound = Bound::absolute(1e-4);

/// The entropy's derivatives by the logits hardly ever add up to one.
const LOSS: Bound = Bound::absolute(1e-5);

/// The entropy's derivative by a logit moves by a tenth of what the logits of its view do, 2e-5 in
/// the mean, and the scale 100 carries it to the prototypes.
const GRADIENT: Bound = Bound::absolute(2e-4);

/// What is recorded under a tag.
struct Case {
    recording: Recording,
    tag: &'static str,
    config: TpsConfig,
}

fn case(tag: &'static str) -> Case {
    let (share, learning_rate) = match tag {
        "micro" => (0.1, 5e-3),
        "macro" | "steps3" => (0.25, 1e-3),
        _ => (0.25, 5e-3),
    };
    let config = TpsConfig {
        prototypes: match tag {
            "micro" => TpsPrototypes::Micro,
            "macro" => TpsPrototypes::Macro,
            "steps3" => TpsPrototypes::Descriptors,
            _ => TpsPrototypes::Texts,
        },
        confident_share: ConfidentShare::new(share).expect("a share"),
        steps: if tag == "steps3" { 3 } else { 1 },
        shared_shift: tag == "shared",
        optimizer: OptimizerConfig { learning_rate, ..OptimizerConfig::default() },
    };
    Case { recording: Recording::open("tps"), tag, config }
}

impl Case {
    fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.tag)
    }

    fn has(&self, what: &str) -> bool {
        self.recording.names().contains(&self.name(what))
    }

    /// The means of plain texts, templates or nothing.
    fn texts(&self) -> TextMeans {
        let means = if self.has("class_embeddings") {
            tensor::<2>(&self.recording, &self.name("class_embeddings"))
        } else if self.has("template_embeddings") {
            let templates = tensor::<3>(&self.recording, &self.name("template_embeddings"));
            templates.mean_dim(1).squeeze_dim(1)
        } else {
            tensor::<2>(&self.recording, &self.name("prototypes")).zeros_like()
        };
        let counts = vec![1; means.dims()[0]];
        TextMeans { means, counts }
    }

    fn descriptors(&self) -> Option<TextMeans> {
        self.has("descriptor_counts").then(|| {
            let counts = self.recording.integers(&self.name("descriptor_counts"));
            let counts: Vec<usize> = counts.into_iter().map(|count| count as usize).collect();
            let all = tensor::<2>(&self.recording, &self.name("descriptor_embeddings"));
            let mut start = 0;
            let of_class = |&count: &usize| {
                start += count;
                all.clone().narrow(0, start - count, count).mean_dim(0)
            };
            let means = Tensor::cat(counts.iter().map(of_class).collect(), 0);
            TextMeans { means, counts }
        })
    }

    fn prototypes(&self) -> Tensor<2> {
        let descriptors = self.descriptors();
        let combined = self.config.prototypes.combine(&self.texts(), descriptors.as_ref());
        combined.expect("descriptors where they are needed")
    }

    fn tuning(&self, image: usize) -> (ShiftTuning, Tensor<2>, f32) {
        let all = tensor::<3>(&self.recording, &self.name("view_features"));
        let embeddings = all.narrow(0, image, 1).squeeze_dim::<2>(0);
        let scale = self.recording.double(&self.name("logit_scale")) as f32;
        let tuning = ShiftTuning::new(&self.config, scale, self.prototypes(), embeddings.clone());
        (tuning.expect("views are chosen"), embeddings, scale)
    }
}

fn check(tag: &'static str) {
    let case = case(tag);
    let expected = case.recording.floats(&case.name("prototypes"));
    // Unit vectors: no number of them is above one.
    let close = Bound::absolute(1e-6);
    assert_close(tag, &values(case.prototypes()), &expected, close);
    for image in 0..case.recording.shape(&case.name("view_features"))[0] {
        let (mut tuning, embeddings, scale) = case.tuning(image);
        let mut replay = AdamwReplay::new(&values(tuning.shift()));
        for step in 0..case.config.steps {
            let name = |what: &str| case.name(&format!("img{image}.step{step}.{what}"));
            let at = |what: &str| case.recording.floats(&name(what));
            let outcome = tuning.step();
            assert_close(&name("logits"), &values(outcome.logits), &at("logits"), LOGITS);
            let chosen = case.recording.integers(&name("selected_idx"));
            assert_eq!(integers(outcome.chosen), chosen, "{}", name("selected_idx"));
            assert_close(&name("loss"), &values(outcome.loss), &at("loss"), LOSS);
            let (ours, theirs) = (values(outcome.gradient), at("grad_shift"));
            assert_close(&name("gradient"), &ours, &theirs, GRADIENT);
            let errors: Vec<f32> =
                ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs()).collect();
            replay.step(&theirs, &errors);
            // The replay has the default's step size, to which all its numbers are proportional.
            let rate = (case.config.optimizer.learning_rate / 5e-3) as f32;
            let limits: Vec<f32> =
                replay.uncertainty().iter().map(|limit| limit * rate + 1e-9).collect();
            assert_within(&name("shift"), &values(tuning.shift()), &at("shift_after"), &limits);
        }
        let name = case.name(&format!("img{image}.final_logits"));
        let logits = scaled_cosines(embeddings.narrow(0, 0, 1), tuning.prototypes(), scale);
        assert_close(&name, &values(logits), &case.recording.floats(&name), LOGITS);
    }
}

#[test]
fn plain_texts_are_shifted_as_recorded() {
    check("plain");
}

#[test]
fn templates_and_descriptors_weigh_the_same_in_micro() {
    check("micro");
}

#[test]
fn descriptors_weigh_by_their_number_in_macro() {
    check("macro");
}

#[test]
fn one_shift_for_all_classes_is_the_sum_of_gradients() {
    check("shared");
}

#[test]
fn views_are_chosen_anew_in_each_step() {
    check("steps3");
    let case = case("steps3");
    let chosen = |image: usize, step: usize| {
        case.recording.integers(&case.name(&format!("img{image}.step{step}.selected_idx")))
    };
    let images = case.recording.shape(&case.name("view_features"))[0];
    let changes = (0..images).flat_map(|image| [(image, 0), (image, 1)]);
    let changes = changes.filter(|&(image, step)| chosen(image, step) != chosen(image, step + 1));
    assert!(changes.count() > 0, "the recording shows it");
}

/// A change of settings and what it is.
type Change = (&'static str, fn(&mut TpsConfig));

#[test]
fn a_wrong_or_missing_step_shows_in_the_answers() {
    let apart = |tag: &'static str, change: fn(&mut TpsConfig)| {
        let mut case = case(tag);
        change(&mut case.config);
        let difference = |image: usize| {
            let (mut tuning, embeddings, scale) = case.tuning(image);
            (0..case.config.steps).for_each(|_| drop(tuning.step()));
            let clean = embeddings.narrow(0, 0, 1);
            let logits = values(scaled_cosines(clean, tuning.prototypes(), scale));
            let expected = case.recording.floats(&case.name(&format!("img{image}.final_logits")));
            logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let images = case.recording.shape(&case.name("view_features"))[0];
        (0..images).map(difference).fold(0.0, f32::max)
    };
    for tag in ["plain", "micro", "macro", "shared", "steps3"] {
        assert!(apart(tag, |_| {}) <= 1e-4, "{tag}");
        let changes: [Change; 5] = [
            ("no step", |config| config.steps -= 1),
            ("a step upwards", |config| config.optimizer.learning_rate *= -1.0),
            ("another size", |config| config.optimizer.learning_rate *= 1.1),
            ("another shift", |config| config.shared_shift = !config.shared_shift),
            ("all views", |config| {
                config.confident_share = ConfidentShare::new(1.0).expect("a share");
            }),
        ];
        for (what, change) in changes {
            let apart = apart(tag, change);
            assert!(apart > 5e-4, "{tag}, {what}: {apart}");
        }
    }
}

#[test]
fn the_kinds_of_prototypes_differ() {
    let case = case("macro");
    let (texts, descriptors) = (case.texts(), case.descriptors());
    let kinds = [
        TpsPrototypes::Texts,
        TpsPrototypes::Descriptors,
        TpsPrototypes::Micro,
        TpsPrototypes::Macro,
    ];
    let made = kinds.map(|kind| {
        values(kind.combine(&texts, descriptors.as_ref()).expect("there are descriptors"))
    });
    for (kind, others) in made.iter().enumerate() {
        for other in &made[kind + 1..] {
            let apart = others.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart > 1e-3, "{apart}");
        }
    }
}

fn descriptors() -> Arc<ClassTextLists> {
    let list = |name: String| {
        let long = vec![format!("a {name} of its own"), "four legs".to_owned()];
        let short = vec!["often seen".to_owned()];
        (name.clone(), if name.len() > 8 { long } else { short })
    };
    let lists = ClassTextLists::of_descriptors(class_names().into_iter().map(list));
    Arc::new(lists.expect("every class has descriptors"))
}

fn scores(clip: &Clip, method: &mut dyn Method, n_views: usize) -> Result<Vec<f32>, MethodError> {
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let templates = ["a photo of a {}.", "art of a {}."].map(str::to_owned);
    let classes = ClassSet::new(clip, &tokenizer, &names).with_ensemble(templates);
    method.prepare(&classes)?;
    let views = ImageViews::new(clip, views(0).narrow(0, 0, n_views));
    Ok(method.classify(&classes, &views)?.scores)
}

fn config(prototypes: TpsPrototypes, steps: usize) -> TpsConfig {
    TpsConfig { prototypes, steps, ..TpsConfig::default() }
}

#[test]
fn without_steps_the_prototypes_themselves_answer() {
    let clip = small_clip();
    let texts = || ClassTexts::EnsembleOfSet;
    let expected = scores(&clip, &mut ZeroShot::new(texts()), 1).expect("it can be classified");
    let mut method = Tps::new(config(TpsPrototypes::Texts, 0), texts(), None);
    let plain = scores(&clip, &mut method, 1).expect("no view needs to be chosen");
    assert_close("texts", &plain, &expected, Bound::LOGITS);
    let lists = descriptors();
    let mut of_lists = ZeroShot::new(ClassTexts::PerClass(lists.clone()));
    let expected = scores(&clip, &mut of_lists, 1).expect("it can be classified");
    let mut method = Tps::new(config(TpsPrototypes::Descriptors, 0), texts(), Some(lists));
    let plain = scores(&clip, &mut method, 1).expect("it can be classified");
    assert_close("descriptors", &plain, &expected, Bound::LOGITS);
}

#[test]
fn a_row_shifts_what_its_texts_and_descriptors_make() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let embedded =
        |texts: &ClassTexts| texts.features(&clip, &tokenizer, &class_names()).expect("they fit").1;
    let templates = ["a photo of a {}.", "art of a {}."].map(str::to_owned);
    let texts = embedded(&ClassTexts::Ensemble(templates.to_vec()));
    assert_eq!(texts.counts, vec![2; 12]);
    let lists = descriptors();
    let described = embedded(&ClassTexts::PerClass(lists.clone()));
    assert!(described.counts.contains(&1) && described.counts.contains(&2));
    for kind in [TpsPrototypes::Micro, TpsPrototypes::Macro] {
        let config = config(kind, 1);
        let prototypes = kind.combine(&texts, Some(&described)).expect("there are descriptors");
        let embeddings = clip.image.forward(views(0));
        let tuning = ShiftTuning::new(&config, clip.logit_scale, prototypes, embeddings.clone());
        let mut tuning = tuning.expect("a view is chosen");
        tuning.step();
        let expected = values(clip.logits(embeddings.narrow(0, 0, 1), tuning.prototypes()));
        let mut method = Tps::new(config, ClassTexts::EnsembleOfSet, Some(lists.clone()));
        let ours = scores(&clip, &mut method, 16).expect("it can be classified");
        assert_close("row", &ours, &expected, Bound::LOGITS);
        assert_eq!(scores(&clip, &mut method, 16).expect("again"), ours, "nothing is kept");
    }
    let plain = normalize(texts.means);
    let (_, of_template) =
        ClassTexts::default().features(&clip, &tokenizer, &class_names()).expect("they fit");
    assert_eq!(of_template.counts, vec![1; 12]);
    assert_ne!(values(of_template.means), values(plain));
}

#[test]
fn missing_descriptors_few_views_and_bad_settings_are_refused() {
    let clip = small_clip();
    for kind in [TpsPrototypes::Descriptors, TpsPrototypes::Micro, TpsPrototypes::Macro] {
        let mut method = Tps::new(config(kind, 1), ClassTexts::default(), None);
        let message = scores(&clip, &mut method, 16).expect_err("there are none").to_string();
        assert_eq!(message, "TPS needs descriptors, unless its `prototypes` are `texts`");
    }
    for n_views in [1, 9] {
        let mut method = Tps::new(TpsConfig::default(), ClassTexts::default(), None);
        let message = scores(&clip, &mut method, n_views).expect_err("none is chosen").to_string();
        assert!(message.ends_with("use at least 10 views"), "{message}");
        assert!(TpsConfig::default().check(n_views).is_err());
    }
    assert!(TpsConfig::default().check(10).is_ok());
    assert!(config(TpsPrototypes::Texts, 0).check(1).is_ok());
    let message =
        config(TpsPrototypes::Texts, 1 << 20).check(64).expect_err("too many").to_string();
    assert!(message.starts_with("`steps` is"), "{message}");
    let optimizer = OptimizerConfig { learning_rate: f64::NAN, ..OptimizerConfig::default() };
    let message = TpsConfig { optimizer, ..TpsConfig::default() }.check(64);
    assert!(message.expect_err("not a number").to_string().starts_with("`learning-rate` is"));
}
