//! What the switches of the configuration change, and what they leave alone.

use burn::tensor::Tensor;
use mint_clip::Clip;
use mint_fixtures::{int_tensor, small_clip, tensor, values};
use mint_golden::Recording;
use mint_tuner::{
    ClassSet, ClassTexts, ConfidentShare, DistanceSign, ImageViews, Lifetime, MemoryBank, Method,
    MethodError, Mint, MintConfig, Mta, MtaConfig, Remembers, Sar, SarConfig, Tda, TdaConfig, Tpt,
    TptConfig, UsageScaling, Vte, VteConfig, Zero, ZeroConfig, ZeroShot,
};

fn names() -> [String; 3] {
    ["tabby cat", "astronaut", "retina"].map(str::to_owned)
}

fn quarter() -> ConfidentShare {
    ConfidentShare::new(0.25).expect("a share")
}

fn config() -> MintConfig {
    MintConfig { bank_slots: 32, confident_share: quarter(), ..MintConfig::default() }
}

/// Scores of two images, one after the other, and the memory after them.
fn classify_two(clip: &Clip, config: &MintConfig) -> (Vec<Vec<f32>>, MemoryBank) {
    let tokenizer = clip.tokenizer();
    let names = names();
    let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
    let mut mint = Mint::new(config.clone(), clip, context).expect("the configuration fits");
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let pixels = Recording::open("pixels");
    let scores = ["img0", "img1"].map(|image| {
        let views = ImageViews::new(clip, tensor::<4>(&pixels, image));
        mint.classify(&classes, &views).expect("the device works").scores
    });
    let memory = mint.save().expect("the device works");
    (scores.into(), MemoryBank::from_memory(&memory, &clip.device).expect("the memory is whole"))
}

#[test]
fn a_bank_for_one_image_forgets_the_earlier_ones() {
    let clip = small_clip();
    let (remembering, bank) = classify_two(&clip, &config());
    let forgetful = MintConfig { bank_lifetime: Lifetime::Image, ..config() };
    let (forgetting, fresh) = classify_two(&clip, &forgetful);
    assert_eq!(remembering[0], forgetting[0], "the first image has nothing to remember");
    assert_ne!(remembering[1], forgetting[1]);
    assert_eq!(bank.usage().total(), 2 * 3 * 16 * 6);
    assert_eq!(fresh.usage().total(), 3 * 16 * 6);
}

#[test]
fn sign_scaling_and_seed_each_change_the_result() {
    let clip = small_clip();
    // The keys too: where they move decides later picks before it decides a score.
    let result = |config: &MintConfig| {
        let (scores, bank) = classify_two(&clip, config);
        (scores, values(bank.keys))
    };
    let official = result(&config());
    assert_eq!(official, result(&config()), "equal settings give equal bits");
    for other in [
        MintConfig { distance_sign: DistanceSign::Toward, ..config() },
        MintConfig { usage_scaling: UsageScaling::Off, ..config() },
        MintConfig { usage_scaling: UsageScaling::Smoothed, ..config() },
        MintConfig { bank_seed: 1, ..config() },
    ] {
        assert_ne!(official, result(&other), "{other:?}");
    }
}

#[test]
fn without_steps_mint_still_inserts_prompts() {
    let clip = small_clip();
    let (scores, bank) = classify_two(&clip, &MintConfig { steps: 0, ..config() });
    assert_eq!(bank.usage().total(), 0, "predictions count nothing");
    let tokenizer = clip.tokenizer();
    let names = names();
    let mut zero_shot = ZeroShot::default();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0");
    let views = ImageViews::new(&clip, pixels);
    assert_ne!(scores[0], zero_shot.classify(&classes, &views).expect("the device works").scores);
}

#[test]
fn usage_factors_follow_their_formulas() {
    let keys = Tensor::<2>::ones([3, 4], &mint_fixtures::device());
    let prompts = Tensor::<3>::ones([3, 2, 4], &mint_fixtures::device());
    let mut bank = MemoryBank::new(keys, prompts);
    let factors =
        |scaling: UsageScaling, bank: &MemoryBank, views| scaling.factors(bank, views).map(values);
    assert_eq!(factors(UsageScaling::Official, &bank, 2), None, "nothing was counted yet");
    assert_eq!(factors(UsageScaling::Smoothed, &bank, 2), Some(vec![1.0 / 3.0; 3]));
    // The six picks of the recording's first clean view; its slots are all below 32.
    let picks = int_tensor::<2>(&Recording::open("mint_seq"), "img0.eval.keys_idx");
    bank.count(&(picks.zeros_like() + 2));
    assert_eq!(factors(UsageScaling::Official, &bank, 2), Some(vec![0.0, 0.0, 1.0]));
    assert_eq!(factors(UsageScaling::Official, &bank, 1), None, "6 is more than 3 slots x 1 view");
    assert_eq!(
        factors(UsageScaling::Smoothed, &bank, 2),
        Some(vec![1.0 / 9.0, 1.0 / 9.0, 7.0 / 9.0])
    );
    assert_eq!(factors(UsageScaling::Off, &bank, 2), None);
}

#[test]
fn adaptation_that_diverges_ends_with_the_step_and_the_setting() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let context = tensor::<2>(&Recording::open("mint_seq"), "init.ctx");
    let mut mint_config = config();
    mint_config.optimizer.learning_rate = 1e30;
    let mut sar_config = SarConfig { margin: 10.0, ..SarConfig::default() };
    sar_config.learning_rate = 1e30;
    let tpt_config =
        TptConfig { optimizer: mint_config.optimizer, steps: 3, confident_share: quarter() };
    let mint = Mint::new(mint_config, &clip, context.clone()).expect("the configuration fits");
    let sar = Sar::new(sar_config, &clip, ClassTexts::default()).expect("the configuration fits");
    let tpt = Tpt::new(tpt_config, context);
    let methods: [Box<dyn Method>; 3] = [Box::new(mint), Box::new(sar), Box::new(tpt)];
    for mut method in methods {
        let pixels = Recording::open("pixels");
        // SAR classifies with what the image before left.
        let outcomes = ["img0", "img1"].map(|image| {
            method.classify(&classes, &ImageViews::new(&clip, tensor::<4>(&pixels, image)))
        });
        let error = outcomes.into_iter().find_map(Result::err).expect("no score is a number");
        assert!(matches!(error, MethodError::Diverged { .. }), "{error:?}");
        assert!(error.to_string().contains("lower `learning-rate`"), "{error}");
    }
}

#[test]
fn a_model_whose_numbers_are_not_finite_gives_no_scores() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let names = names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let pixels = tensor::<4>(&Recording::open("pixels"), "img0") * f32::NAN;
    let texts = ClassTexts::default;
    let methods: [Box<dyn Method>; 5] = [
        Box::new(ZeroShot::default()),
        Box::new(Zero::new(ZeroConfig::default(), texts())),
        Box::new(Mta::new(MtaConfig::default(), texts())),
        Box::new(Tda::new(TdaConfig::default(), texts())),
        Box::new(Vte::new(VteConfig::default(), texts())),
    ];
    for mut method in methods {
        let error = method.classify(&classes, &ImageViews::new(&clip, pixels.clone()));
        assert!(matches!(error, Err(MethodError::NotFinite)), "{error:?}");
    }
}
