//! Tuning the context with a term of the texts, against recordings of official code.

use burn::tensor::Tensor;
use mint_clip::normalize;
use mint_fixtures::{small_clip, tensor, values};
use mint_golden::{AdamwReplay, Bound, Recording, assert_close, assert_within};
use mint_tuner::tpt::{ContextTuning, TextTerm};
use mint_tuner::{ConfidentShare, PromptLearner, TptConfig};

/// Cosines are sums of 64 products, off by 8 roundings at most on both sides; logits are 100 times
/// that.
const LOGITS: Bound = Bound::absolute(16.0 * 6e-8 * 100.0);

/// Entropies of such logits, whose derivatives by them hardly ever add up to more than a fifth for
/// distributions as clear as the recorded ones.
const ENTROPY: Bound = Bound::absolute(16.0 * 6e-8 * 20.0);

/// Embeddings behind the three blocks of the small text tower, each of six sums of up to 512
/// products: `sqrt(3 * 6 * 512)` is 96; the largest numbers of a unit vector are about 0.4.
const TEXTS: Bound = Bound::absolute(96.0 * 6e-8 * 0.4);

/// What a recording has besides what all have.
pub struct Expected {
    pub recording: &'static str,
    /// The name of the term.
    pub term: &'static str,
    /// What the term is multiplied by in the recording.
    pub sign: f32,
    /// Of the term.
    pub bound: Bound,
    /// Of the gradients at the context.
    pub gradient: Bound,
}

impl Expected {
    /// Tunes to all images of a tag; `share` is what it was recorded with.
    pub fn check(&self, tag: &str, share: f64, term: TextTerm, names: &[String]) {
        let clip = small_clip();
        let (tokenizer, recording) = (clip.tokenizer(), Recording::open(self.recording));
        let has = |name: &str| recording.names().iter().any(|other| other == name);
        let start = tensor::<2>(&recording, &format!("{tag}.ctx_init"));
        let learner = PromptLearner::new(&clip, &tokenizer, names, start).expect("prompts fit");
        let texts = values(normalize(learner.start_features()));
        let name = format!("{tag}.text_features_init");
        assert_close(&name, &texts, &recording.floats(&name), TEXTS);
        let steps = (0..).take_while(|step| has(&format!("{tag}.img0.step{step}.logits"))).count();
        let images = (0..).take_while(|image| has(&format!("{tag}.img{image}.eval.logits")));
        let confident_share = ConfidentShare::new(share).expect("a share");
        let config = TptConfig { confident_share, steps, ..TptConfig::default() };
        let mut seen = 0;
        for image in images {
            let name = |what: &str| format!("{tag}.img{image}.{what}");
            let embeddings = clip.image.forward(mint_fixtures::views(image));
            let tuning = ContextTuning::new(&config, &clip, &learner, embeddings.clone());
            let mut tuning = tuning.expect("views are chosen").with_term(term);
            let chosen = recording.integers(&name("selected_idx"));
            let mut replay = AdamwReplay::new(&values(learner.start()));
            for step in 0..steps {
                let name = |what: &str| name(&format!("step{step}.{what}"));
                let close = |what: &str, ours: &[f32], bound| {
                    assert_close(&name(what), ours, &recording.floats(&name(what)), bound);
                };
                let texts = normalize(tuning.features());
                let value = values((term.value)(texts.autodiff()).inner())[0];
                close(self.term, &[self.sign * value], self.bound);
                let outcome = tuning.step();
                let n_classes = names.len();
                let all = recording.floats(&name("logits"));
                let of_view = |&view: &i64| &all[view as usize * n_classes..][..n_classes];
                let of_chosen: Vec<f32> = chosen.iter().flat_map(of_view).copied().collect();
                assert_close(&name("logits"), &values(outcome.logits), &of_chosen, LOGITS);
                let entropy = values(outcome.entropy);
                close("entropy", &entropy, ENTROPY);
                let loss = entropy[0] + term.weight as f32 * value;
                assert_close(&name("loss"), &values(outcome.loss), &[loss], Bound::OPERATION);

                let ours = values(outcome.gradient);
                close("grad_ctx", &ours, self.gradient);
                let theirs = recording.floats(&name("grad_ctx"));
                let errors: Vec<f32> =
                    ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs()).collect();
                replay.step(&theirs, &errors);
                let context = values(tuning.context());
                let expected = recording.floats(&name("ctx_after"));
                assert_within(&name("ctx_after"), &context, &expected, &replay.uncertainty());
            }
            let after = name("text_features_after");
            let texts = values(normalize(tuning.features()));
            assert_close(&after, &texts, &recording.floats(&after), TEXTS);
            let logits = clip.logits(embeddings.narrow(0, 0, 1), tuning.features());
            let name = name("eval.logits");
            assert_close(&name, &values(logits), &recording.floats(&name), LOGITS);
            seen += 1;
        }
        assert!(seen > 0 && steps > 0, "{tag} is recorded");
    }
}

/// The value of a term and its gradient at rows that need not be unit vectors.
pub fn differentiated(value: fn(Tensor<2>) -> Tensor<1>, rows: Tensor<2>) -> (f32, Vec<f32>) {
    let rows = rows.autodiff().require_grad();
    let value = value(normalize(rows.clone()));
    // So that there is something to follow back where the value is a constant.
    let followed = value.clone() + rows.clone().sum() * 0.0;
    let gradient = rows.grad(&followed.backward()).expect("the sum depends on the rows");
    (values(value.inner())[0], values(gradient))
}
