//! Every kernel against Burn's operations, with sizes that no vector length divides.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Distribution, Tensor};

use mint_golden::Bound;

use super::*;
use crate::config::Activation;
use crate::linear::frozen_linear;
use crate::norm::LayerNorm;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("floats")
}

#[track_caller]
fn check<const D: usize>(what: &str, ours: Option<Tensor<D>>, theirs: Tensor<D>) {
    let ours = ours.unwrap_or_else(|| panic!("{what}: the tensors are on the CPU"));
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    mint_golden::assert_close(what, &values(ours), &values(theirs), Bound::OPERATION);
}

/// Attention in Burn's operations: output and probabilities.
fn plain_attention(
    [query, key, value]: [&Tensor<3>; 3],
    shape: AttentionShape,
) -> (Tensor<3>, Tensor<4>) {
    let split = |x: &Tensor<3>| {
        let [batch, tokens, width] = x.dims();
        x.clone().reshape([batch, tokens, shape.heads, width / shape.heads]).swap_dims(1, 2)
    };
    let (query, key, value) = (split(query), split(key), split(value));
    let [batch, heads, queries, head_width] = query.dims();
    let keys = key.dims()[2];
    let mut scores = query.matmul(key.transpose()) / (head_width as f64).sqrt();
    if let Some(before) = shape.causal_after {
        let ones = Tensor::<2>::ones([queries, keys], &Device::flex());
        let later: Tensor<2, Bool> = ones.triu(before as i64 + 1).bool();
        let later = later.unsqueeze::<4>().expand([batch, heads, queries, keys]);
        scores = scores.mask_fill(later, f32::NEG_INFINITY);
    }
    let probabilities = softmax(scores, 3);
    let output = probabilities.clone().matmul(value).swap_dims(1, 2);
    (output.reshape([batch, queries, heads * head_width]), probabilities)
}

#[test]
fn attention_is_burns_for_few_and_many_queries_with_and_without_a_mask() {
    for (queries, keys) in [(1, 7), (5, 9), (24, 24), (25, 31), (50, 50)] {
        for causal_after in [None, Some(keys - queries)] {
            let shape = AttentionShape { heads: 3, causal_after };
            let query = random([2, queries, 33]);
            let (key, value) = (random([2, keys, 33]), random([2, keys, 33]));
            let (output, probabilities) = plain_attention([&query, &key, &value], shape);
            let what = format!("{queries} queries, {keys} keys, {causal_after:?}");
            check(&what, attend(&query, &key, &value, shape), output.clone());
            let traced = attend_traced(&query, &key, &value, shape).expect("on the CPU");
            check(&what, Some(traced.0), output);
            check(&what, Some(traced.1), probabilities);
        }
    }
}

#[test]
fn the_pullback_of_attention_is_autodiffs() {
    for (queries, keys) in [(4, 9), (40, 41)] {
        let shape = AttentionShape { heads: 2, causal_after: Some(keys - queries) };
        let (query, gradient) = (random([3, queries, 22]), random([3, queries, 22]));
        let (key, value) = (random([3, keys, 22]), random([3, keys, 22]));
        let (output, probabilities) =
            attend_traced(&query, &key, &value, shape).expect("on the CPU");
        let operands = [&query, &key, &value];
        let ours = attend_pullback(operands, &probabilities, &output, &gradient, shape.heads);
        let leaves = operands.map(|x| x.clone().autodiff().require_grad());
        let (output, _) = plain_attention([&leaves[0], &leaves[1], &leaves[2]], shape);
        let gradients = (output * gradient.autodiff()).sum().backward();
        for (ours, leaf) in ours.expect("on the CPU").into_iter().zip(leaves) {
            check("attention", Some(ours), leaf.grad(&gradients).expect("a gradient"));
        }
    }
}

#[test]
fn linear_layers_are_burns() {
    let (weight, bias) = (random([19, 37]), random([37]));
    let x = random([3, 7, 19]);
    let layer = frozen_linear(weight.clone(), Some(bias.clone()));
    let output = layer.forward(x.clone());
    check("linear", linear(&x, weight.clone(), Some(bias.clone())), output.clone());
    let without = output.clone() - bias.clone().unsqueeze();
    check("without a bias", linear(&x, weight.clone(), None), without);
    let activated = linear_activated(&x, weight.clone(), bias.clone(), Activation::QuickGelu);
    let gate = burn::tensor::activation::sigmoid(output.clone() * 1.702);
    check("activated", activated, output.clone() * gate);
    let residual = random([3, 7, 37]);
    let kept = residual.clone();
    let added = linear_added(residual.clone(), &x, weight.clone(), bias.clone());
    check("added", added.ok(), residual + output.clone());
    let again = linear_added(kept.clone(), &x, weight.clone(), bias).ok();
    check("a shared residual is left as it is", again, kept + output);
    let gradient = random([3, 7, 37]);
    let expected = gradient.clone().matmul(weight.clone().transpose().unsqueeze());
    check("pullback", linear_pullback(weight, &gradient), expected);
}

#[test]
fn layer_norm_is_burns() {
    let norm = LayerNorm {
        weight: burn::module::Param::from_tensor(random([21])),
        bias: burn::module::Param::from_tensor(random([21])),
    };
    let (x, gradient) = (random([2, 5, 21]) * 3.0 + 1.0, random([2, 5, 21]));
    let (output, normalized, inverse) =
        norm_traced(&x, norm.weight.val(), norm.bias.val()).expect("on the CPU");
    check("output", Some(output), norm.forward(x.clone()));
    let ours = norm_pullback(&normalized, &inverse, norm.weight.val(), &gradient);
    let leaf = x.autodiff().require_grad();
    let gradients = (norm.forward(leaf.clone()) * gradient.autodiff()).sum().backward();
    check("pullback", ours, leaf.grad(&gradients).expect("a gradient"));
}

#[test]
fn quick_gelu_is_burns() {
    let (x, gradient) = (random([5, 13]) * 4.0, random([5, 13]));
    let plain = |x: Tensor<2>| burn::tensor::activation::sigmoid(x.clone() * 1.702) * x;
    check("activation", activate(Activation::QuickGelu, &x), plain(x.clone()));
    let leaf = x.clone().autodiff().require_grad();
    let gradients = (plain(leaf.clone()) * gradient.clone().autodiff()).sum().backward();
    let ours = activate_pullback(Activation::QuickGelu, &x, &gradient);
    check("pullback", ours, leaf.grad(&gradients).expect("a gradient"));
}

#[test]
fn tensors_with_a_gradient_graph_are_left_to_burn() {
    let x = random([2, 3]).autodiff().require_grad();
    assert!(activate(Activation::QuickGelu, &x).is_none());
    assert!(CpuTensor::new(x).is_none());
}

#[test]
fn views_of_tensors_are_read_as_they_look() {
    let x = random([4, 6]);
    let looked_at = x.clone().transpose().narrow(0, 2, 3);
    let read = CpuTensor::new(looked_at.clone()).expect("on the CPU");
    assert_eq!(read.values(), values(looked_at.clone()));
    assert_eq!(read.into_values(), values(looked_at));
    let rows = CpuTensor::new(x.clone().narrow(0, 1, 2)).expect("on the CPU");
    assert_eq!(rows.into_values(), values(x.narrow(0, 1, 2)));
}
