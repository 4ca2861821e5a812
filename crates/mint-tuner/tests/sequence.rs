//! Whole adaptation sequences, step by step, against the official implementation.

use burn::tensor::{Int, Tensor};
use mint_clip::{Clip, normalize};
use mint_fixtures::{class_names, int_tensor, integers, small_clip, tensor, values, views};
use mint_golden::{AdamwReplay, Bound, Recording, assert_close, assert_within};
use mint_tuner::{Adaptation, ConfidentShare, MemoryBank, MintConfig, PromptLearner};

struct Sequence {
    name: &'static str,
    recording: Recording,
    clip: Clip,
    learner: PromptLearner,
    bank: MemoryBank,
    config: MintConfig,
    keys: AdamwReplay,
    prompts: AdamwReplay,
}

/// Largest differences seen, by quantity.
#[derive(Default)]
struct Differences(std::collections::BTreeMap<&'static str, f32>);

impl Differences {
    #[track_caller]
    fn check(
        &mut self,
        kind: &'static str,
        what: &str,
        ours: &[f32],
        theirs: &[f32],
        bound: Bound,
    ) {
        let largest = assert_close(&format!("{what} {kind}"), ours, theirs, bound);
        self.observe(kind, largest);
    }

    /// Checks a parameter after AdamW, which `replay` made as many steps with.
    #[track_caller]
    fn check_parameter(
        &mut self,
        kind: &'static str,
        what: &str,
        ours: &[f32],
        theirs: &[f32],
        replay: &AdamwReplay,
    ) {
        let limits = replay.uncertainty();
        let largest = assert_within(&format!("{what} {kind}"), ours, theirs, &limits);
        self.observe(kind, largest);
    }

    fn observe(&mut self, kind: &'static str, largest: f32) {
        let entry = self.0.entry(kind).or_default();
        *entry = entry.max(largest);
    }
}

/// How far each element of our gradient is from the recorded one.
fn errors(ours: &[f32], theirs: &[f32]) -> Vec<f32> {
    ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).collect()
}

/// How far the elements of a gradient may be from one that was not recorded. Slots that were not
/// picked have none at all.
fn possible_errors(gradient: &[f32]) -> Vec<f32> {
    let limit = Bound::PROBABILITY.limit(gradient);
    gradient.iter().map(|&value| if value == 0.0 { 0.0 } else { limit }).collect()
}

impl Sequence {
    fn open(name: &'static str, images: usize) -> Self {
        let recording = Recording::open(name);
        let clip = small_clip();
        let names = class_names();
        let tokenizer = clip.tokenizer();
        let context = tensor::<2>(&recording, "init.ctx");
        let learner = PromptLearner::new(&clip, &tokenizer, &names, context).expect("prompts fit");
        let keys = tensor::<2>(&recording, "init.keys");
        let bank = MemoryBank::new(keys, tensor::<3>(&recording, "init.prompts"));
        let confident_share = ConfidentShare::new(0.25).expect("a share");
        let config =
            MintConfig { bank_slots: bank.slots(), confident_share, ..MintConfig::default() };
        let last = format!("img{}.eval.logits", images - 1);
        assert!(recording.names().contains(&last), "{images} images are recorded");
        let keys_replay = AdamwReplay::new(&values(bank.keys.clone()));
        let prompts_replay = AdamwReplay::new(&values(bank.prompts.clone()));
        Self {
            name,
            recording,
            clip,
            learner,
            bank,
            config,
            keys: keys_replay,
            prompts: prompts_replay,
        }
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
        let pixels = views(image);
        let pass_config = self.config.pass(&self.clip.config).expect("the blocks exist");
        // The smaller recording uses the first views only.
        let [_, views, _] = self.recording.shape(&format!("img{image}.queries"))[..] else {
            panic!("queries have three axes")
        };
        let pass = self.clip.image.unprompted_pass(pixels.narrow(0, 0, views), &pass_config);
        let queries = Tensor::cat(pass.class_tokens.clone(), 0);
        let expected = self.floats(&format!("img{image}.queries"));
        differences.check(
            "queries",
            &format!("img{image}"),
            &values(queries),
            &expected,
            Bound::TOWER,
        );

        let mut bank = self.bank.clone();
        let mut replayed = 0;
        let mut context_replay = AdamwReplay::new(&values(self.learner.start()));
        self.keys.reset_moments();
        self.prompts.reset_moments();
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

            let floats = |quantity: &str| self.recording.floats(&at(quantity));
            let context_gradient = values(outcome.context_gradient);
            let keys_gradient = values(outcome.keys_gradient);
            let prompts_gradient = values(outcome.prompts_gradient);
            let expected = floats("grad_ctx");
            context_replay.step(&expected, &errors(&context_gradient, &expected));
            if full {
                let (keys, prompts) = (floats("grad_keys"), floats("grad_prompts"));
                self.keys.step(&keys, &errors(&keys_gradient, &keys));
                self.prompts.step(&prompts, &errors(&prompts_gradient, &prompts));
            } else {
                self.keys.step(&keys_gradient, &possible_errors(&keys_gradient));
                self.prompts.step(&prompts_gradient, &possible_errors(&prompts_gradient));
            }
            let context = values(adaptation.context());
            let after = floats("ctx_after");
            differences.check_parameter("context", &what, &context, &after, &context_replay);
            // Between the two slots of a pair the order may differ where they are tied.
            let mut distances = [values(outcome.distances), floats("distance_selected")];
            for distances in &mut distances {
                distances.chunks_mut(2).for_each(|pair| pair.sort_by(f32::total_cmp));
            }
            let [ours, theirs] = distances;
            let mut check = |kind, ours: Vec<f32>, theirs: Vec<f32>, bound| {
                differences.check(kind, &what, &ours, &theirs, bound);
            };
            check("logits", values(outcome.logits), of_chosen(floats("logits")), Bound::LOGITS);
            check("distances", ours, theirs, Bound::COSINE);
            check("entropy", values(outcome.entropy), floats("entropy"), Bound::LOGITS);
            check("loss", values(outcome.loss), floats("loss"), Bound::LOGITS);
            check("context gradient", context_gradient, expected, Bound::PROBABILITY);
            if full {
                let features = values(normalize(outcome.text_features));
                check("text features", features, floats("text_features"), Bound::TOWER);
                check("keys gradient", keys_gradient, floats("grad_keys"), Bound::PROBABILITY);
                let expected = floats("grad_prompts");
                check("prompts gradient", prompts_gradient, expected, Bound::PROBABILITY);
                let keys = values(adaptation.bank().keys.clone());
                differences.check_parameter(
                    "keys",
                    &what,
                    &keys,
                    &floats("keys_after"),
                    &self.keys,
                );
                let prompts = values(adaptation.bank().prompts.clone());
                let expected = floats("prompts_after");
                differences.check_parameter("prompts", &what, &prompts, &expected, &self.prompts);
            }
        }
        let what = format!("img{image}.eval");
        let picks = self.picks(adaptation.clean_picks(), &what, 0, false);
        let logits = values(adaptation.predict_with(picks));
        let expected = self.floats(&format!("{what}.logits"));
        differences.check("final logits", &what, &logits, &expected, Bound::LOGITS);
        let usage = integers(adaptation.bank().usage().counts());
        let expected = self.recording.integers(&format!("{what}.usage_train"));
        assert_eq!(usage, expected, "{what}: a prediction counts nothing");
        self.bank = bank;
        replayed
    }

    fn finish(&self, differences: &mut Differences) {
        let keys = values(self.bank.keys.clone());
        let expected = self.floats("final.keys");
        differences.check_parameter("keys", "final", &keys, &expected, &self.keys);
        let prompts = values(self.bank.prompts.clone());
        let expected = self.floats("final.prompts");
        differences.check_parameter("prompts", "final", &prompts, &expected, &self.prompts);
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
