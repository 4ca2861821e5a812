//! Parts of the method against recorded numbers.

use burn::tensor::{Tensor, TensorData};
use mint_fixtures::{integers, tensor, values};
use mint_golden::{Bound, Recording, assert_close, json};
use mint_tuner::confidence::{confident_views, entropies};
use mint_tuner::objective::marginal_entropy;
use mint_tuner::ordering::smallest_per_row;
use mint_tuner::{ConfidentShare, OptimizerConfig, TensorOptimizer};

/// Of no view, the official code has 0 and ours an error.
fn confident_count(views: usize, share: f64) -> usize {
    ConfidentShare::new(share).and_then(|share| share.count(views)).unwrap_or(0)
}

#[test]
fn the_number_of_chosen_views_is_pythons_truncated_product() {
    let cases = json("selection_counts.json");
    let cases = cases.as_array().expect("a list");
    assert!(cases.len() > 50);
    for case in cases {
        let (n, p) = (case["n"].as_u64().expect("n"), case["p"].as_f64().expect("p"));
        assert_eq!(confident_count(n as usize, p) as u64, case["int"], "int({n} * {p})");
    }
}

#[test]
fn confident_views_and_their_marginal_entropy_match() {
    let recording = Recording::open("select_entropy");
    let names: Vec<String> = recording
        .names()
        .iter()
        .filter_map(|name| name.strip_suffix(".logits").map(str::to_owned))
        .collect();
    assert_eq!(names.len(), 9);
    for name in names {
        let logits = tensor::<2>(&recording, &format!("{name}.logits"));
        let expected = recording.floats(&format!("{name}.entropies"));
        assert_close(
            &format!("{name} entropies"),
            &values(entropies(logits.clone())),
            &expected,
            Bound::ENTROPY,
        );

        let count = confident_count(logits.dims()[0], recording.double(&format!("{name}.top")));
        let chosen = confident_views(logits.clone(), count);
        let official = recording.integers(&format!("{name}.idx"));
        assert_eq!(integers(chosen.clone()), official, "{name}: chosen views");

        let logits = logits.autodiff().require_grad();
        let entropy = marginal_entropy(logits.clone().select(0, chosen.autodiff()));
        let gradients = entropy.backward();
        let expected = recording.floats(&format!("{name}.avg_entropy"));
        assert_close(
            &format!("{name} entropy"),
            &values(entropy.inner()),
            &expected,
            Bound::ENTROPY,
        );
        let gradient = logits.grad(&gradients).expect("the logits have a gradient");
        let expected = recording.floats(&format!("{name}.grad_logits"));
        assert_close(&format!("{name} gradient"), &values(gradient), &expected, Bound::ENTROPY);
    }
}

#[test]
fn the_tie_rule_takes_pytorchs_set_for_banks_of_128_and_512_slots() {
    let recording = Recording::open("topk_ties");
    for slots in [128, 512] {
        let distances = tensor::<2>(&recording, &format!("n{slots}.values"));
        let picks = integers(smallest_per_row(distances, 2));
        let official = recording.integers(&format!("n{slots}.idx"));
        for (row, (ours, theirs)) in picks.chunks(2).zip(official.chunks(2)).enumerate() {
            let sorted = |pair: &[i64]| [pair[0].min(pair[1]), pair[0].max(pair[1])];
            assert_eq!(sorted(ours), sorted(theirs), "{slots} slots, row {row}");
        }
    }
}

#[test]
fn of_equal_values_the_lowest_index_comes_first() {
    let recording = Recording::open("topk_ties");
    let distances = recording.floats("n32.values");
    let picks = integers(smallest_per_row(tensor::<2>(&recording, "n32.values"), 2));
    for (row, picks) in distances.chunks(32).zip(picks.chunks(2)) {
        let mut order: Vec<usize> = (0..32).collect();
        order.sort_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
        assert_eq!(picks, [order[0] as i64, order[1] as i64]);
    }
}

#[test]
fn adamw_follows_pytorchs_over_a_reset() {
    let recording = Recording::open("adamw");
    let device = mint_fixtures::device();
    let start = |name: &str| tensor::<1>(&recording, &format!("{name}.init"));
    let mut parameters = [start("p0"), start("p1")];
    let fresh = || std::array::from_fn(|_| TensorOptimizer::<1>::new(&OptimizerConfig::default()));
    let mut optimizers: [TensorOptimizer<1>; 2] = fresh();
    for step in 0..6 {
        if step == 3 {
            optimizers = fresh();
        }
        let zeros = Tensor::from_data(TensorData::zeros::<f32, _>([8]), &device);
        let gradients = [tensor::<1>(&recording, &format!("step{step}.grad0")), zeros];
        for (index, gradient) in gradients.into_iter().enumerate() {
            let updated = optimizers[index].step(parameters[index].clone(), gradient);
            let expected = recording.floats(&format!("step{step}.p{index}"));
            assert_close(
                &format!("step {step} p{index}"),
                &values(updated.clone()),
                &expected,
                Bound::EXACT,
            );
            parameters[index] = updated;
        }
    }
}
