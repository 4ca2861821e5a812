//! What methods say about their way to an answer is about the answer that they give.

use burn::tensor::Tensor;
use mint_clip::Clip;
use mint_fixtures::{class_names, integers, small_clip, tensor, values, views};
use mint_golden::Recording;
use mint_tuner::{
    Adaptation, Boostadapter, BoostadapterConfig, ClassSet, ClassTexts, ConfidentShare, Dota,
    DotaConfig, Dpe, DpeConfig, ImageViews, Lifetime, LooksAt, MemoryBank, Method, Mint,
    MintConfig, Mta, MtaConfig, Outcome, PromptLearner, Tda, TdaConfig, Tps, TpsConfig, Tpt,
    TptConfig, Trace, UsageScaling, Vte, VteConfig, Zero, ZeroConfig, ZeroShot,
    confidence::entropies,
};

fn quarter() -> ConfidentShare {
    ConfidentShare::new(0.25).expect("a share")
}

fn mint_config() -> MintConfig {
    MintConfig { bank_slots: 32, confident_share: quarter(), ..MintConfig::default() }
}

fn context() -> Tensor<2> {
    tensor(&Recording::open("mint_seq"), "init.ctx")
}

fn methods(clip: &Clip) -> Vec<(&'static str, Box<dyn Method>)> {
    let confident_share = quarter();
    let texts = ClassTexts::default;
    let mint = |config| Box::new(Mint::new(config, clip, context()).expect("it fits"));
    let tpt = TptConfig { steps: 2, confident_share, ..TptConfig::default() };
    let tps = TpsConfig { steps: 2, confident_share, ..TpsConfig::default() };
    let boost = BoostadapterConfig {
        looks_at: LooksAt::Views,
        confident_share,
        ..BoostadapterConfig::default()
    };
    let dota = DotaConfig { looks_at: LooksAt::Views, confident_share, ..DotaConfig::default() };
    let dpe = DpeConfig { confident_share, ..DpeConfig::default() };
    let tda = TdaConfig { confident_share, ..TdaConfig::default() };
    let zero = ZeroConfig { confident_share, ..ZeroConfig::default() };
    vec![
        ("mint", mint(mint_config())),
        ("forgetful mint", mint(MintConfig { bank_lifetime: Lifetime::Image, ..mint_config() })),
        ("mint without steps", mint(MintConfig { steps: 0, ..mint_config() })),
        ("tpt", Box::new(Tpt::new(tpt, context()))),
        ("tps", Box::new(Tps::new(tps, texts(), None))),
        ("zero", Box::new(Zero::new(zero, texts()))),
        ("vte", Box::new(Vte::new(VteConfig { confident_share }, texts()))),
        ("mta", Box::new(Mta::new(MtaConfig::default(), texts()))),
        ("tda", Box::new(Tda::new(tda, texts()))),
        ("boostadapter", Box::new(Boostadapter::new(boost, texts()))),
        ("dota", Box::new(Dota::new(dota, texts()))),
        ("dpe", Box::new(Dpe::new(dpe, texts(), None))),
        ("clip", Box::new(ZeroShot::default())),
    ]
}

#[test]
fn an_explained_answer_is_the_answer_and_leaves_the_same_memory() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let plain = methods(&clip).into_iter().map(|(_, method)| method);
    for ((name, mut explaining), mut plain) in methods(&clip).into_iter().zip(plain) {
        for image in [0, 1, 0] {
            let of_image = || ImageViews::new(&clip, views(image));
            let expected = plain.classify(&classes, &of_image()).expect("it works");
            let (outcome, trace) = explaining.explain(&classes, &of_image()).expect("it works");
            assert_eq!(outcome, expected, "{name}");
            check(name, &outcome, &trace);
        }
        let memory = |method: &mut Box<dyn Method>| {
            method.remembers().map(|memory| memory.save().expect("it can be saved"))
        };
        assert_eq!(memory(&mut explaining), memory(&mut plain), "{name}");
    }
}

fn check(name: &str, outcome: &Outcome, trace: &Trace) {
    let chosen = trace.views.iter().filter(|view| view.weight == 1.0).count();
    let surest = trace.views.iter().filter(|view| view.weight == 1.0);
    let least_sure = surest.map(|view| view.entropy).fold(0.0, f32::max);
    let others = trace.views.iter().filter(|view| view.weight == 0.0);
    match name {
        "clip" | "dpe" | "mint without steps" => assert!(trace.views.is_empty(), "{name}"),
        "mta" => {
            let sum: f32 = trace.views.iter().map(|view| view.weight).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{name} {sum}");
        }
        _ => {
            assert_eq!((trace.views.len(), chosen), (16, 4), "{name}");
            assert!(others.clone().all(|view| view.entropy >= least_sure), "{name}");
        }
    }
    match name {
        "mint" | "forgetful mint" | "tpt" | "tps" | "dpe" => {
            assert_eq!(trace.scores.len(), outcome.steps.len() + 1, "{name}");
            assert_eq!(trace.scores.last(), Some(&outcome.scores), "{name}");
            assert_ne!(trace.scores.first(), Some(&outcome.scores), "{name}");
        }
        _ => assert!(trace.scores.is_empty(), "{name}"),
    }
    if name == "zero" {
        let mut votes = vec![0.0; outcome.scores.len()];
        trace.views.iter().for_each(|view| votes[view.best] += view.weight);
        let given = |votes: &[f32]| votes.iter().sum::<f32>();
        assert!(given(&outcome.scores) - given(&votes) <= 1.0, "a tie may give one more");
        let differs = |(one, other): (&f32, &f32)| (one - other).abs() > 1.0;
        assert!(!votes.iter().zip(&outcome.scores).any(differs), "{votes:?} {:?}", outcome.scores);
    }
    assert_eq!(trace.recalled.is_some(), name.contains("mint"), "{name}");
}

/// Against the adaptation step by step, and against runs that end earlier.
#[test]
fn what_mint_says_is_what_its_adaptation_does() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let explain = |steps| {
        let config = MintConfig { steps, ..mint_config() };
        let mut mint = Mint::new(config, &clip, context()).expect("it fits");
        mint.explain(&classes, &ImageViews::new(&clip, views(0))).expect("it works")
    };
    let (_, trace) = explain(3);
    for steps in 0..3 {
        assert_eq!(trace.scores[steps], explain(steps).0.scores, "{steps} steps");
    }

    let config = mint_config();
    let pass = config.pass(&clip.config).expect("the model has the blocks");
    let learner = PromptLearner::new(&clip, &tokenizer, &names, context()).expect("prompts fit");
    let width = clip.config.vision.width;
    let mut bank = MemoryBank::random(config.bank_slots, width, config.bank_seed, &clip.device);
    let of_image = ImageViews::new(&clip, views(0));
    let unprompted = of_image.pass(&pass);
    let mut adaptation =
        Adaptation::new(&config, &clip, &learner, &mut bank, &unprompted).expect("views enough");
    let recalled = trace.recalled.expect("MINT recalls");
    assert_eq!(recalled.blocks.len(), 3);
    assert_eq!(recalled.usage, vec![0; 32]);
    for levels in &recalled.steps {
        let picks = integers(adaptation.picks());
        for (level, slots) in levels.iter().enumerate() {
            let of_level: Vec<i64> =
                picks.chunks(6).flat_map(|view| view[2 * level..2 * level + 2].to_vec()).collect();
            let times = |slot: usize| of_level.iter().filter(|&&it| it == slot as i64).count();
            assert_eq!(slots.iter().map(|(_, times)| times).sum::<usize>(), 16 * 2);
            assert!(slots.iter().all(|&(slot, count)| count == times(slot)), "level {level}");
            assert!(slots.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
        adaptation.step();
    }
    let answer: Vec<i64> = recalled.answer.concat().iter().map(|&slot| slot as i64).collect();
    assert_eq!(answer, integers(adaptation.clean_picks()));
    let chosen = integers(adaptation.chosen().expect("there were steps"));
    let counted = (0..16).filter(|&view| trace.views[view].weight == 1.0);
    let mut sorted = chosen.clone();
    sorted.sort_unstable();
    assert_eq!(counted.map(|view| view as i64).collect::<Vec<_>>(), sorted);
    let logits = adaptation.view_logits().expect("there were steps");
    let seen: Vec<f32> = trace.views.iter().map(|view| view.entropy).collect();
    assert_eq!(seen, values(entropies(logits)));
}

/// The second picture finds what the first one left.
#[test]
fn the_memory_is_the_one_at_the_pictures_turn() {
    let clip = small_clip();
    let (tokenizer, names) = (clip.tokenizer(), class_names());
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let config = MintConfig { usage_scaling: UsageScaling::Official, ..mint_config() };
    let mut mint = Mint::new(config, &clip, context()).expect("it fits");
    let mut recalled = |image| {
        let (_, trace) =
            mint.explain(&classes, &ImageViews::new(&clip, views(image))).expect("it works");
        trace.recalled.expect("MINT recalls")
    };
    let (first, second) = (recalled(0), recalled(1));
    assert_eq!(first.usage.iter().sum::<u64>(), 0);
    let mut expected = vec![0; 32];
    for &(slot, times) in first.steps.iter().flatten().flatten() {
        expected[slot] += times as u64;
    }
    assert_eq!(second.usage, expected);
}
