//! What a method says about a picture, and what is made of it.

use std::path::Path;

use mint_eval::{Answer, MethodId, OpenWorld, probabilities, ranking};
use mint_tuner::{Outcome, ScoreKind};

/// What a method says about a picture.
pub struct Prediction<'a> {
    /// The picture's file.
    pub path: &'a Path,
    pub method: MethodId,
    /// What the scores are.
    pub kind: ScoreKind,
    /// Of every class, in their order, and of the texts that stand for none of them.
    pub scores: Vec<f32>,
    /// Of the same; `None` for votes.
    pub probabilities: Option<Vec<f32>>,
}

/// What is said in the end.
pub struct Decision {
    /// The class, or why it is none.
    pub answer: Answer,
    /// The best classes, the best first, whatever the answer. Texts that stand for none of the classes are
    /// not among them.
    pub best: Vec<usize>,
}

impl<'a> Prediction<'a> {
    /// Of an outcome.
    pub fn new(path: &'a Path, method: MethodId, outcome: Outcome, temperature: f64) -> Self {
        let probabilities = probabilities(&outcome, temperature);
        Self { path, method, kind: outcome.kind, scores: outcome.scores, probabilities }
    }
}

/// Decides what is said about a picture among `n_classes`.
pub fn decide(
    prediction: &Prediction<'_>,
    limits: OpenWorld,
    n_classes: usize,
    top: usize,
) -> Decision {
    let Prediction { scores, probabilities, .. } = prediction;
    let answer = limits.answer(scores, probabilities.as_deref(), n_classes);
    Decision { answer, best: ranking(&scores[..n_classes], top) }
}
