//! When an answer is "none of these".

use mint_tuner::ScoreKind;

use crate::metrics::ranking;

/// What an answer must be like to be a class. The default lets every answer be one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OpenWorld {
    /// The least probability of the best class; 0 for any.
    pub min_probability: f64,
    /// The least difference of the two best probabilities; 0 for any.
    pub min_margin: f64,
}

/// What is said about an image in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// A class, by its index.
    Class(usize),
    /// None of the classes.
    None(NoneOfThese),
}

/// Why an answer is none of the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NoneOfThese {
    /// A text that stands for none has the best score; by its place among these texts.
    Text(usize),
    /// The best probability is too small.
    Probability(f32),
    /// The two best probabilities are too near to each other.
    Margin {
        /// Their difference.
        margin: f32,
        /// Whose the second best is, by its place among all scores.
        second: usize,
    },
}

/// Limits on probabilities, for a method whose scores are votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("votes are no probabilities, so there is no least probability or margin of theirs")]
pub struct NoProbabilities;

impl OpenWorld {
    /// Whether every answer may be a class.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that limits make sense of scores of a kind.
    ///
    /// # Errors
    ///
    /// If there are limits, and the scores are votes.
    pub fn check(&self, kind: ScoreKind) -> Result<(), NoProbabilities> {
        if kind == ScoreKind::Votes && !self.is_unlimited() { Err(NoProbabilities) } else { Ok(()) }
    }

    /// The answer that scores amount to. Those after the first `n_classes` are of texts that stand for
    /// none of the classes. `probabilities` are those of all scores, and `None` for votes, which no
    /// limit holds for.
    ///
    /// # Panics
    ///
    /// If there are no scores.
    pub fn answer(
        &self,
        scores: &[f32],
        probabilities: Option<&[f32]>,
        n_classes: usize,
    ) -> Answer {
        let order = ranking(scores, 2);
        let best = order[0];
        if best >= n_classes {
            return Answer::None(NoneOfThese::Text(best - n_classes));
        }
        if let Some(probabilities) = probabilities {
            let probability = probabilities[best];
            if f64::from(probability) < self.min_probability {
                return Answer::None(NoneOfThese::Probability(probability));
            }
            if let Some(&second) = order.get(1) {
                let margin = probability - probabilities[second];
                if f64::from(margin) < self.min_margin {
                    return Answer::None(NoneOfThese::Margin { margin, second });
                }
            }
        }
        Answer::Class(best)
    }
}

impl Answer {
    /// The class; `None` if it is none of them.
    pub fn class(self) -> Option<usize> {
        match self {
            Self::Class(class) => Some(class),
            Self::None(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_none_by_its_text_its_probability_or_its_margin() {
        let answer = |min_probability, min_margin, values: &[f32]| {
            OpenWorld { min_probability, min_margin }.answer(values, Some(values), 2)
        };
        let values = [0.5, 0.3, 0.2];
        assert_eq!(answer(0.0, 0.0, &values), Answer::Class(0));
        assert_eq!(answer(0.5, 0.19, &values), Answer::Class(0), "a limit is still allowed");
        assert_eq!(answer(0.6, 0.0, &values), Answer::None(NoneOfThese::Probability(0.5)));
        let Answer::None(NoneOfThese::Margin { margin, second }) = answer(0.0, 0.3, &values) else {
            panic!("the margin is 0.2")
        };
        assert!((margin - 0.2).abs() < 1e-6 && second == 1, "{margin} to {second}");
        assert_eq!(answer(0.0, 0.0, &[0.2, 0.3, 0.5]), Answer::None(NoneOfThese::Text(0)));
        assert_eq!(answer(0.0, 0.0, &[0.2, 0.4, 0.4]), Answer::Class(1), "of equals the class");
        // A text of none may also be what the best class is near to.
        let near = answer(0.0, 0.2, &[0.0, 0.51, 0.49]);
        assert!(matches!(near, Answer::None(NoneOfThese::Margin { second: 2, .. })), "{near:?}");
    }

    #[test]
    fn votes_have_texts_of_none_and_no_limits() {
        let limited = OpenWorld { min_probability: 0.5, ..OpenWorld::default() };
        assert_eq!(limited.check(ScoreKind::Votes), Err(NoProbabilities));
        assert!(limited.check(ScoreKind::Logits).is_ok());
        let unlimited = OpenWorld::default();
        assert!(unlimited.check(ScoreKind::Votes).is_ok());
        assert_eq!(unlimited.answer(&[1.0, 3.0, 2.0], None, 2), Answer::Class(1));
        let none = unlimited.answer(&[1.0, 3.0, 4.0], None, 2);
        assert_eq!(none, Answer::None(NoneOfThese::Text(0)));
        assert_eq!(none.class(), None);
    }
}
