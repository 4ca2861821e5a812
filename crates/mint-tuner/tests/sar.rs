//! SAR against PyTorch, update by update: logits, what is reliable, gradients, parameters, recovery.
//!
//! Recorded by `mint-golden/generate/sar.py`.

use burn::tensor::Tensor;
use mint_clip::Clip;
use mint_fixtures::{class_names, small_clip, values, views};
use mint_golden::{Bound, Recording, assert_close};
use mint_tuner::{
    ClassSet, ClassTexts, ImageViews, Method, NormObjective, NormTuning, Remembers, Sar, SarBatch,
    SarConfig, SarPrediction,
};

const BLOCKS: usize = 9;

fn view(image: usize, view: usize) -> Tensor<4> {
    views(image).narrow(0, view, 1)
}

fn config(recording: &Recording, run: &str) -> SarConfig {
    SarConfig {
        learning_rate: recording.double(&format!("{run}.learning_rate")),
        recovery_threshold: recording.double(&format!("{run}.threshold")),
        ..SarConfig::default()
    }
}

/// Goes through the updates of a run and compares each.
fn check_run(clip: &Clip, run: &str, batches: Vec<Tensor<4>>) {
    let recording = Recording::open("sar");
    let config = config(&recording, run);
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let texts = classes.features(&ClassTexts::default()).expect("prompts fit").tensor();
    let objective = NormObjective::new(clip, texts, config.margin);
    let mut tuning = NormTuning::new(clip.image.tower().norm_parameters(BLOCKS));
    let mut largest = 0.0f32;
    let (mut velocity_error, mut error) = (0.0f32, 0.0f32);
    for (index, pixels) in batches.iter().enumerate() {
        let what = format!("{run}.update{index}");
        let at = |quantity: &str| recording.floats(&format!("{what}.{quantity}"));
        let indices = |quantity: &str| -> Vec<usize> {
            let indices = recording.integers(&format!("{what}.{quantity}"));
            indices.into_iter().map(|index| index as usize).collect()
        };
        let close = |ours: Tensor<4>, quantity: &str, bound: Bound| {
            assert_close(&format!("{what}.{quantity}"), &values(ours), &at(quantity), bound)
        };
        let update = tuning.update(&config, &objective, pixels).expect("the device works");
        assert_close(&what, &values(update.logits), &at("logits"), Bound::LOGITS);
        assert_eq!(update.reliable, indices("reliable"), "{what}");
        assert_eq!(update.reliable_again, indices("reliable_again"), "{what}");
        let number = |value: Option<f64>| [value.map_or(f32::NAN, |value| value as f32)];
        assert_close(&what, &number(update.loss), &at("loss"), Bound::LOGITS);
        assert_close(&what, &number(update.second_loss), &at("second_loss"), Bound::LOGITS);
        assert_close(&what, &number(tuning.average()), &at("average"), Bound::LOGITS);
        assert_eq!(update.recovered, recording.integers(&format!("{what}.recovered"))[0] == 1);
        // Steps follow the second gradient, and the velocity all those before it.
        let pull = Bound::PROBABILITY.limit(&values(update.second_gradient.clone()));
        velocity_error = velocity_error * config.momentum as f32 + pull;
        error += velocity_error * config.learning_rate as f32;
        if update.recovered {
            (velocity_error, error) = (0.0, 0.0);
        }
        if run == "views" {
            largest = largest.max(close(update.gradient, "gradient", Bound::PROBABILITY));
            let second = close(update.second_gradient, "second_gradient", Bound::PROBABILITY);
            largest = largest.max(second);
        }
        close(tuning.parameters().clone(), "after", Bound::relative(4.0).plus(error));
    }
    println!("{run}: largest difference of a gradient {largest:.1e}");
}

#[test]
fn batches_of_views_match_pytorch_with_their_gradients() {
    check_run(&small_clip(), "views", (0..5).map(views).collect());
}

#[test]
fn batches_of_images_match_pytorch() {
    let batch = |images: [usize; 4]| Tensor::cat(images.map(|image| view(image, 0)).to_vec(), 0);
    let (first, second) = (batch([0, 1, 2, 3]), batch([4, 5, 6, 7]));
    let batches = vec![first.clone(), second.clone(), first, second];
    check_run(&small_clip(), "singles", batches);
}

#[test]
fn a_low_loss_brings_the_parameters_back() {
    let images = [0, 1, 2, 3, 4, 0, 1];
    check_run(&small_clip(), "recovery", images.into_iter().map(views).collect());
}

#[test]
fn a_batch_without_reliable_views_follows_the_velocity() {
    let chosen = Recording::open("sar").integers("lone.views");
    let batches = chosen.chunks(2).map(|pair| view(pair[0] as usize, pair[1] as usize));
    check_run(&small_clip(), "lone", batches.collect());
}

/// Scores of images in order.
fn scores(clip: &Clip, config: SarConfig, images: &[Tensor<4>]) -> Vec<Vec<f32>> {
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let mut sar = Sar::new(config, clip, ClassTexts::default()).expect("the configuration fits");
    let classes = ClassSet::new(clip, &tokenizer, &names);
    let classify = |pixels: &Tensor<4>| {
        let views = ImageViews::new(clip, pixels.clone());
        sar.classify(&classes, &views).expect("the device works").scores
    };
    images.iter().map(classify).collect()
}

#[test]
fn the_method_scores_images_before_their_batch_changes_anything() {
    let clip = small_clip();
    let recording = Recording::open("sar");
    let of_views = scores(&clip, config(&recording, "views"), &[0, 1, 2, 3, 4].map(views));
    for (image, scores) in of_views.iter().enumerate() {
        let expected = recording.floats(&format!("views.update{image}.logits"));
        assert_close(&format!("img{image}"), scores, &expected[..12], Bound::LOGITS);
    }
    let config = SarConfig { batch: SarBatch::Images(4), ..config(&recording, "singles") };
    let images: Vec<Tensor<4>> = (0..16).map(|image| view(image % 8, 0)).collect();
    for (image, scores) in scores(&clip, config, &images).iter().enumerate() {
        let expected = recording.floats(&format!("singles.update{}.logits", image / 4));
        let expected = &expected[12 * (image % 4)..][..12];
        assert_close(&format!("image {image}"), scores, expected, Bound::LOGITS);
    }
}

#[test]
fn a_prediction_after_the_update_is_another() {
    let clip = small_clip();
    let config = config(&Recording::open("sar"), "singles");
    let after = SarConfig { predict: SarPrediction::AfterUpdate, ..config.clone() };
    assert_ne!(
        scores(&clip, config.clone(), &[views(0)]),
        scores(&clip, after.clone(), &[views(0)])
    );
    let batch = SarConfig { batch: SarBatch::Images(8), ..after };
    let message = Sar::new(batch, &clip, ClassTexts::default()).expect_err("that is impossible");
    assert!(message.to_string().contains("after-update"), "{message}");
    let blocks = SarConfig { adapted_blocks: Some(13), ..config };
    let message = Sar::new(blocks, &clip, ClassTexts::default()).expect_err("there are 12 blocks");
    assert!(message.to_string().contains("from 1 to 12"), "{message}");
}

#[test]
fn a_memory_of_the_start_comes_back_like_one_with_a_velocity() {
    let clip = small_clip();
    let config = config(&Recording::open("sar"), "views");
    let tokenizer = clip.tokenizer();
    let names = class_names();
    let classes = ClassSet::new(&clip, &tokenizer, &names);
    let start = || Sar::new(config.clone(), &clip, ClassTexts::default()).expect("it fits");
    let classify = |sar: &mut Sar, image: usize| {
        let views = ImageViews::new(&clip, views(image));
        let outcome = sar.classify(&classes, &views).expect("the device works");
        assert_eq!(outcome.steps.len(), 1, "the update is reported");
        outcome.scores
    };
    let mut whole = start();
    let expected = [0, 1].map(|image| classify(&mut whole, image));
    for saved_after in [0, 1] {
        let mut first = start();
        (0..saved_after).for_each(|image| drop(classify(&mut first, image)));
        let memory = first.save().expect("the device works");
        let mut second = start();
        second.restore(&memory, &clip.device).expect("the memory is whole");
        for image in saved_after..2 {
            assert_eq!(classify(&mut second, image), expected[image], "after {saved_after}");
        }
    }
}
