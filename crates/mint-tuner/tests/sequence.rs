//! Whole adaptation sequences, step by step, against the official implementation.

#[path = "../../mint-clip/tests/small_clip/mod.rs"]
mod small_clip;

use burn::tensor::{Int, Tensor};
use mint_clip::{Clip, Tokenizer, normalize};
use mint_golden::{Recording, assert_close};
use mint_tuner::{Adaptation, MemoryBank, MintConfig, PromptLearner};
use small_clip::{int_tensor, integers, small_clip, tensor, values};

/// What an independent re-implementation of the official code was measured to differ by.
mod tolerance {
    pub const LOGITS: f32 = 1e-4;
    pub const DISTANCES: f32 = 2e-6;
    pub const LOSS: f32 = 5e-6;
    pub const GRADIENT: f32 = 1e-5;
    pub const CONTEXT: f32 = 2e-6;
    /// Where a gradient is smaller than this, see [`super::Weak`].
    pub const WEAK_CONTEXT_GRADIENT: f32 = 3e-4;
    /// One unit in the last place of the largest keys, which lie between 2 and 4.
    pub const KEYS: f32 = 2.4e-7;
    pub const WEAK_KEYS_GRADIENT: f32 = 3e-6;
    /// Bound of a parameter whose gradient was weak.
    pub const WEAK: f32 = 1e-5;
    /// AdamW divides by the gradient's own size, and some gradients are as small as rounding.
    pub const PROMPTS: f32 = 2e-4;
    pub const FEATURES: f32 = 2e-5;
}

/// The elements of a parameter that ever had a weak gradient.
///
/// The first steps of AdamW divide a gradient by its own size. Where that is near the rounding
/// errors of a network's backward pass, two implementations step by slightly different amounts.
struct Weak {
    threshold: f32,
    elements: Vec<bool>,
}

impl Weak {
    fn new(threshold: f32, elements: usize) -> Self {
        Self { threshold, elements: vec![false; elements] }
    }

    fn observe(&mut self, gradient: &[f32]) {
        for (weak, gradient) in self.elements.iter_mut().zip(gradient) {
            *weak |= *gradient != 0.0 && gradient.abs() < self.threshold;
        }
    }

    /// The strong elements of a parameter, and the weak ones, which must be few.
    fn split(&self, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let of = |wanted: bool| -> Vec<f32> {
            let elements = values.iter().zip(&self.elements);
            elements.filter(|(_, weak)| **weak == wanted).map(|(value, _)| *value).collect()
        };
        let (strong, weak) = (of(false), of(true));
        assert!(weak.len() * 10 <= values.len(), "{} of {} are weak", weak.len(), values.len());
        (strong, weak)
    }
}

const CONTEXT: [&str; 2] = ["context", "context where its gradient was weak"];
const KEYS: [&str; 2] = ["keys", "keys where their gradient was weak"];

struct Sequence {
    name: &'static str,
    recording: Recording,
    clip: Clip,
    learner: PromptLearner,
    bank: MemoryBank,
    config: MintConfig,
    weak_keys: Weak,
}

/// Largest differences seen, by quantity.
#[derive(Default)]
struct Differences(std::collections::BTreeMap<&'static str, f32>);

impl Differences {
    #[track_caller]
    fn check(&mut self, kind: &'static str, what: &str, ours: &[f32], theirs: &[f32], bound: f32) {
        let largest = assert_close(&format!("{what} {kind}"), ours, theirs, bound);
        let entry = self.0.entry(kind).or_default();
        *entry = entry.max(largest);
    }

    /// Checks a parameter after AdamW, weak elements apart.
    #[track_caller]
    fn check_parameter(
        &mut self,
        kinds: [&'static str; 2],
        what: &str,
        ours: &[f32],
        theirs: &[f32],
        bound: f32,
        weak: &Weak,
    ) {
        let (ours, theirs) = (weak.split(ours), weak.split(theirs));
        self.check(kinds[0], what, &ours.0, &theirs.0, bound);
        self.check(kinds[1], what, &ours.1, &theirs.1, tolerance::WEAK);
    }
}

impl Sequence {
    fn open(name: &'static str, images: usize) -> Self {
        let recording = Recording::open(name);
        let clip = small_clip();
        let names: Vec<String> = {
            let classes = Recording::open("mint_seq").metadata("classes");
            serde_json::from_str(&classes).expect("a list of names")
        };
        let tokenizer = Tokenizer::clip(clip.config.text.context_length);
        let context = tensor::<2>(&recording, "init.ctx");
        let learner = PromptLearner::new(&clip, &tokenizer, &names, context).expect("prompts fit");
        let keys = tensor::<2>(&recording, "init.keys");
        let bank = MemoryBank::new(keys, tensor::<3>(&recording, "init.prompts"));
        let config =
            MintConfig { bank_slots: bank.slots(), confident_share: 0.25, ..MintConfig::default() };
        let last = format!("img{}.eval.logits", images - 1);
        assert!(recording.names().contains(&last), "{images} images are recorded");
        let n_keys = values(bank.keys.clone()).len();
        let weak_keys = Weak::new(tolerance::WEAK_KEYS_GRADIENT, n_keys);
        Self { name, recording, clip, learner, bank, config, weak_keys }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.recording.floats(name)
    }

    /// The picks of a forward pass: ours, or the recorded ones where every distance is tied at 0.
    fn picks(
        &self,
        ours: Tensor<2, Int>,
        what: &str,
        n_unused: usize,
        scaled: bool,
    ) -> Tensor<2, Int> {
        let recorded = self.recording.integers(&format!("{what}.keys_idx"));
        let tied = scaled && n_unused >= 2;
        if tied && self.bank.slots() < 128 {
            // PyTorch's choice among tied slots of so small a bank is its sorting algorithm's.
            return int_tensor(&self.recording, &format!("{what}.keys_idx"));
        }
        let pairs = |picks: &[i64]| -> Vec<[i64; 2]> {
            picks.chunks(2).map(|pair| [pair[0].min(pair[1]), pair[0].max(pair[1])]).collect()
        };
        assert_eq!(pairs(&integers(ours.clone())), pairs(&recorded), "{what}: picked slots");
        ours
    }

    /// Runs one image; `full` says whether the recording has features, keys and prompts as well.
    fn run(&mut self, image: usize, full: bool, differences: &mut Differences) -> usize {
        let pixels = tensor::<4>(&Recording::open("pixels"), &format!("img{image}"));
        let pass_config = self.config.pass(&self.clip.config).expect("the blocks exist");
        // The smaller recording uses the first views only.
        let [_, views, _] = self.recording.shape(&format!("img{image}.queries"))[..] else {
            panic!("queries have three axes")
        };
        let pass = self.clip.image.unprompted_pass(pixels.narrow(0, 0, views), &pass_config);
        let queries = Tensor::cat(pass.class_tokens.clone(), 0);
        let expected = self.floats(&format!("img{image}.queries"));
        differences.check("queries", &format!("img{image}"), &values(queries), &expected, 2e-5);

        let mut bank = self.bank.clone();
        let mut replayed = 0;
        let n_context = values(self.learner.start()).len();
        let mut weak_context = Weak::new(tolerance::WEAK_CONTEXT_GRADIENT, n_context);
        let mut adaptation =
            Adaptation::new(&self.config, &self.clip, &self.learner, &mut bank, &pass)
                .expect("the configuration fits");
        for step in 0..self.config.steps {
            let what = format!("img{image}.step{step}");
            let at = |quantity: &str| format!("{what}.{quantity}");
            let usage = adaptation.bank().usage();
            let total = usage.total();
            let scaled = total > 0 && total <= (adaptation.bank().slots() * views) as u64;
            let n_unused = integers(usage.counts()).iter().filter(|&&count| count == 0).count();
            let picks = self.picks(adaptation.picks(), &what, n_unused, scaled);
            replayed += usize::from(scaled && n_unused >= 2 && self.bank.slots() < 128);
            let outcome = adaptation.step_with(picks);

            let chosen = integers(adaptation.chosen().expect("a step was made"));
            let recorded = self.recording.integers(&format!("img{image}.selected_idx"));
            assert_eq!(chosen, recorded, "{what}: chosen views");
            let of_chosen = |all: Vec<f32>| -> Vec<f32> {
                let width = all.len() / views;
                chosen
                    .iter()
                    .flat_map(|&view| all[view as usize * width..][..width].to_vec())
                    .collect()
            };
            let usage = integers(adaptation.bank().usage().counts());
            assert_eq!(usage, self.recording.integers(&at("usage_train")), "{what}: usage");

            let context_gradient = values(outcome.context_gradient);
            let keys_gradient = values(outcome.keys_gradient);
            weak_context.observe(&context_gradient);
            self.weak_keys.observe(&keys_gradient);
            let floats = |quantity: &str| self.recording.floats(&at(quantity));
            let context = values(adaptation.context());
            differences.check_parameter(
                CONTEXT,
                &what,
                &context,
                &floats("ctx_after"),
                tolerance::CONTEXT,
                &weak_context,
            );
            // Between the two slots of a pair the order may differ where they are tied.
            let mut distances = [values(outcome.distances), floats("distance_selected")];
            for distances in &mut distances {
                distances.chunks_mut(2).for_each(|pair| pair.sort_by(f32::total_cmp));
            }
            let [ours, theirs] = distances;
            let mut check = |kind, ours: Vec<f32>, theirs: Vec<f32>, bound| {
                differences.check(kind, &what, &ours, &theirs, bound);
            };
            check("logits", values(outcome.logits), of_chosen(floats("logits")), tolerance::LOGITS);
            check("distances", ours, theirs, tolerance::DISTANCES);
            check("entropy", values(outcome.entropy), floats("entropy"), tolerance::LOSS);
            check("loss", values(outcome.loss), floats("loss"), tolerance::LOSS);
            check("context gradient", context_gradient, floats("grad_ctx"), tolerance::GRADIENT);
            if full {
                let features = values(normalize(outcome.text_features));
                check("text features", features, floats("text_features"), tolerance::FEATURES);
                check("keys gradient", keys_gradient, floats("grad_keys"), tolerance::GRADIENT);
                let gradient = values(outcome.prompts_gradient);
                check("prompts gradient", gradient, floats("grad_prompts"), tolerance::GRADIENT);
                let prompts = values(adaptation.bank().prompts.clone());
                check("prompts", prompts, floats("prompts_after"), tolerance::PROMPTS);
                let keys = values(adaptation.bank().keys.clone());
                let (expected, weak) = (floats("keys_after"), &self.weak_keys);
                differences.check_parameter(KEYS, &what, &keys, &expected, tolerance::KEYS, weak);
            }
        }
        let what = format!("img{image}.eval");
        let picks = self.picks(adaptation.clean_picks(), &what, 0, false);
        let logits = values(adaptation.predict_with(picks));
        let expected = self.floats(&format!("{what}.logits"));
        differences.check("final logits", &what, &logits, &expected, tolerance::LOGITS);
        let usage = integers(adaptation.bank().usage().counts());
        let expected = self.recording.integers(&format!("{what}.usage_train"));
        assert_eq!(usage, expected, "{what}: a prediction counts nothing");
        self.bank = bank;
        replayed
    }

    fn finish(&self, differences: &mut Differences) {
        let keys = values(self.bank.keys.clone());
        let expected = self.floats("final.keys");
        let weak = &self.weak_keys;
        differences.check_parameter(KEYS, "final", &keys, &expected, tolerance::KEYS, weak);
        let prompts = values(self.bank.prompts.clone());
        let expected = self.floats("final.prompts");
        differences.check("prompts", "final", &prompts, &expected, tolerance::PROMPTS);
        for (kind, largest) in &differences.0 {
            println!("{}: {kind}: largest difference {largest:.1e}", self.name);
        }
    }
}

#[test]
fn five_images_of_three_steps_match_the_official_run() {
    let mut sequence = Sequence::open("mint_seq", 5);
    let mut differences = Differences::default();
    let replayed: usize = (0..5).map(|image| sequence.run(image, true, &mut differences)).sum();
    assert_eq!(replayed, 5, "forward passes 2 to 6 pick among ties");
    sequence.finish(&mut differences);
}

#[test]
fn a_bank_of_128_slots_needs_no_replay() {
    let mut sequence = Sequence::open("mint_seq_b128", 8);
    let mut differences = Differences::default();
    let replayed: usize = (0..8).map(|image| sequence.run(image, false, &mut differences)).sum();
    assert_eq!(replayed, 0);
    sequence.finish(&mut differences);
}
