//! Images that are classified together.

use mint_clip::burn::tensor::{Distribution, Tensor};
use mint_fixtures::small_clip;
use mint_tuner::{ClassSet, ImageViews, Method, ZeroShot};

#[test]
fn the_logits_of_an_image_do_not_depend_on_its_company() {
    let clip = small_clip();
    let tokenizer = clip.tokenizer();
    let random = Distribution::Normal(0.0, 1.0);
    let shape = [140, clip.config.embed_dim];
    let embeddings = Tensor::<2>::random(shape, random, &mint_fixtures::device());
    for n_classes in [2, 3, 40] {
        let names: Vec<String> = (0..n_classes).map(|class| format!("thing {class}")).collect();
        let classes = ClassSet::new(&clip, &tokenizer, &names);
        let images = |places: &[usize]| -> Vec<ImageViews<'_>> {
            let image =
                |&place| ImageViews::of_embeddings(&clip, embeddings.clone().narrow(0, place, 1));
            places.iter().map(image).collect()
        };
        let scores = |places: &[usize]| -> Vec<Vec<u32>> {
            let launched = ZeroShot::default().launch_each(&classes, &images(places));
            let scores = launched.into_iter().map(|pending| {
                let outcome = pending.and_then(|pending| pending.read()).expect("scores");
                outcome.scores.into_iter().map(f32::to_bits).collect()
            });
            scores.collect()
        };
        let all = scores(&(0..140).collect::<Vec<_>>());
        for places in [&[5][..], &[139, 5], &[0, 1, 2, 130, 5, 7, 128, 127]] {
            let expected: Vec<_> = places.iter().map(|&place| all[place].clone()).collect();
            assert_eq!(scores(places), expected, "{n_classes} classes, images {places:?}");
        }
        let alone = ZeroShot::default().classify(&classes, &images(&[5])[0]).expect("scores");
        assert_eq!(alone.scores.iter().map(|it| it.to_bits()).collect::<Vec<_>>(), all[5]);
        let alone = ZeroShot::default().launch(&classes, &images(&[5])[0]);
        let alone = alone.and_then(|pending| pending.read()).expect("scores");
        for (alone, together) in alone.scores.iter().zip(&all[5]) {
            assert!((alone - f32::from_bits(*together)).abs() < 1e-4);
        }
    }
}
