//! What methods share of a test set's classes, and which settings are refused.

use mint_clip::{ContextPlaces, PromptSet, normalize};
use mint_fixtures::{small_clip, tensor, values};
use mint_golden::Bound;
use mint_golden::{Recording, assert_close};
use mint_tuner::{ClassSet, ClassTexts, ConfidentShare, Context, MintConfig};

fn names() -> Vec<String> {
    ["tabby cat", "astronaut", "retina"].map(str::to_owned).into()
}

#[test]
fn equal_texts_are_embedded_once_and_others_on_their_own() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
    let kinds = || {
        [
            ClassTexts::Template("a photo of a {}.".to_owned()),
            ClassTexts::Template("a sketch of a {}.".to_owned()),
            ClassTexts::Ensemble(vec!["a photo of a {}.".to_owned(), "art of a {}.".to_owned()]),
            ClassTexts::Ensemble(vec!["a photo of a {}.".to_owned(), "a toy {}.".to_owned()]),
            ClassTexts::Context(context.clone().into()),
            ClassTexts::Context((context.clone() * 0.5).into()),
        ]
    };
    let first = kinds().map(|texts| values(classes.features(&texts).expect("fits").tensor()));
    let again = kinds().map(|texts| values(classes.features(&texts).expect("fits").tensor()));
    assert_eq!(first, again);
    for (index, features) in first.iter().enumerate() {
        for other in &first[index + 1..] {
            assert_ne!(features, other, "texts {index}");
        }
    }
    let template = |template: &str| {
        let prompts = PromptSet::from_template(&tokenizer, &names, template).expect("they fit");
        normalize(clip.text.forward(&prompts, None))
    };
    let mean = normalize(template("a photo of a {}.") + template("art of a {}."));
    assert_close("template", &first[0], &values(template("a photo of a {}.")), Bound::OPERATION);
    assert_close("ensemble", &first[2], &values(mean), Bound::OPERATION);
    let places = ContextPlaces::leading(context.dims()[0]);
    let prompts = PromptSet::with_context(&tokenizer, &names, places).expect("they fit");
    let expected = normalize(clip.text.forward(&prompts, Some(&context)));
    assert_close("context", &first[4], &values(expected), Bound::OPERATION);
}

#[test]
fn learners_are_shared_by_methods_with_an_equal_start_only() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let start = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
    let other = start.clone() * 2.0;
    let learner_of = |start: Context| classes.learner(&start).expect("prompts fit");
    let learner = learner_of(start.clone().into());
    assert_eq!(values(learner.start()), values(start.clone()));
    assert_eq!(values(learner_of(other.clone().into()).start()), values(other));
    let again = learner_of((start * 1.0).into());
    assert!(std::rc::Rc::ptr_eq(&learner, &again), "the texts of a start run once");
}

#[test]
fn a_text_of_none_is_embedded_as_it_is_beside_fixed_and_learned_texts() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = names();
    // The text that the words before the first name make of it.
    let none = ["a photo of a tabby cat.".to_owned(), "x_y".to_owned()];
    let alone = ClassSet::new(&clip, &tokenizer, &names);
    let classes = ClassSet::new(&clip, &tokenizer, &names).with_none(&none).expect("they fit");
    assert_eq!((classes.names(), classes.none_texts()), (&names[..], &none[..]));
    let width = clip.config.embed_dim;
    let words = clip.context_of(&tokenizer, "a photo of a");
    for texts in [
        ClassTexts::Template("a photo of a {}.".to_owned()),
        ClassTexts::Ensemble(vec!["a photo of a {}.".to_owned(), "art of a {}.".to_owned()]),
        ClassTexts::Context(words.clone().into()),
    ] {
        let features = classes.features(&texts).expect("they fit");
        let expected = alone.features(&texts).expect("they fit");
        let rows = values(features.tensor());
        assert_eq!(rows.len(), 5 * width);
        assert_eq!(rows[..3 * width], values(expected.tensor()));
        assert_eq!(features.means().counts[3..], [1, 1]);
        let template = alone.features(&ClassTexts::default()).expect("they fit");
        let of_cat = &values(template.tensor())[..width];
        assert_close("none", &rows[3 * width..4 * width], of_cat, Bound::OPERATION);
        let prompts: Vec<_> = tokenizer.tokens("x_y").expect("it fits");
        let prompts = prompts.into_iter().map(mint_clip::prompt::Item::Token).collect();
        let plain = normalize(clip.text.forward(&PromptSet::new(vec![prompts]), None));
        assert_close("as it is", &rows[4 * width..], &values(plain), Bound::OPERATION);
    }

    let [learner, without] =
        [&classes, &alone].map(|set| set.learner(&words.clone().into()).expect("they fit"));
    let moved = words.clone() * 1.5;
    let (features, trace) = learner.features_traced(&clip, &moved);
    let (expected, of_classes) = without.features_traced(&clip, &moved);
    let (rows, start) = (values(features.clone()), values(learner.start_features()));
    assert_eq!(rows[..3 * width], values(expected));
    assert_eq!(rows[3 * width..], start[3 * width..], "no context moves them");
    let untraced = values(learner.features(&clip, &moved));
    assert_close("untraced", &untraced, &rows, Bound::OPERATION);
    // Whatever pulls at them, the context feels nothing of it.
    let pull = features.ones_like();
    let gradient = learner.pullback(&clip, Some(&trace), pull.clone());
    let expected = without.pullback(&clip, Some(&of_classes), pull.clone().narrow(0, 0, 3));
    assert_eq!(values(gradient), values(expected));
    let at_start = without.pullback(&clip, None, pull.clone().narrow(0, 0, 3));
    assert_eq!(values(learner.pullback(&clip, None, pull)), values(at_start));

    let long = ["word ".repeat(100)];
    let message = ClassSet::new(&clip, &tokenizer, &names).with_none(&long);
    assert!(message.is_err_and(|error| error.to_string().contains("prompt")));
}

#[test]
fn settings_are_accepted_up_to_their_limits_and_refused_beyond() {
    let accepted = |change: fn(&mut MintConfig)| {
        let mut config = MintConfig { bank_slots: 8, ..MintConfig::default() };
        change(&mut config);
        config.check().is_ok()
    };
    assert!(accepted(|config| config.picks_per_block = 1));
    assert!(accepted(|config| config.picks_per_block = 8));
    assert!(!accepted(|config| config.picks_per_block = 0));
    assert!(!accepted(|config| config.picks_per_block = 9));
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        let mut config = MintConfig::default();
        config.optimizer.learning_rate = rate;
        let message = config.check().expect_err("no step size").to_string();
        assert!(message.contains("learning-rate"), "{message}");
    }
}

#[test]
fn views_are_chosen_by_share_and_none_is_an_error_only_if_there_are_steps() {
    let config = |share, steps| {
        let confident_share = ConfidentShare::new(share).expect("a share");
        MintConfig { confident_share, steps, ..MintConfig::default() }
    };
    assert_eq!(config(0.1, 3).chosen(64).expect("some"), 6);
    assert_eq!(config(1.0, 3).chosen(5).expect("all"), 5);
    assert_eq!(config(0.1, 0).chosen(4).expect("nothing is chosen without steps"), 0);
    let message = config(0.1, 1).chosen(9).expect_err("none").to_string();
    assert!(message.contains("at least 10 views"), "{message}");
}

#[test]
fn blocks_are_thirds_of_the_model_and_others_must_exist_in_order() {
    let clip = small_clip().config;
    let pass = MintConfig::default().pass(&clip).expect("the blocks exist");
    assert_eq!((pass.levels, pass.prompted_block), (vec![3, 7, 11], 0));
    let with = |blocks: &[usize], prompted_block| {
        let query_blocks = Some(blocks.to_vec());
        MintConfig { query_blocks, prompted_block, ..MintConfig::default() }.pass(&clip)
    };
    let pass = with(&[1, 12], 12).expect("first and last exist");
    assert_eq!((pass.levels, pass.prompted_block), (vec![0, 11], 11));
    for blocks in [&[][..], &[0], &[13], &[3, 3], &[4, 2]] {
        let message = with(blocks, 1).expect_err("no such blocks").to_string();
        assert!(message.contains("query-blocks"), "{blocks:?}: {message}");
    }
    for block in [0, 13] {
        let message = with(&[1], block).expect_err("no such block").to_string();
        assert!(message.contains("prompted-block"), "{block}: {message}");
    }
}
