//! "None of these": the limits below which an answer is no class, typed or fitted.

use std::collections::BTreeMap;

use anyhow::bail;
use mint_eval::{FittedAnswers, MethodId, OpenWorld, RunConfig};
use mint_tuner::ScoreKind;
use serde_json::{Value, json};

use crate::args::OpenWorldArgs;

/// What answers must be like to be classes.
pub struct Limits {
    of: BTreeMap<MethodId, OpenWorld>,
    /// Whether an answer may be none of the classes.
    is_open: bool,
}

impl Limits {
    /// What was typed.
    ///
    /// # Errors
    ///
    /// If there are limits, and a method has no probabilities, or a text of none is empty.
    pub fn typed(args: &OpenWorldArgs, config: &RunConfig) -> anyhow::Result<Self> {
        if args.none.iter().any(|text| text.trim().is_empty()) {
            bail!("a text of `--none` is empty; write one such as `a photo of something else.`");
        }
        let typed = OpenWorld {
            min_probability: args.min_probability.unwrap_or(0.0),
            min_margin: args.min_margin.unwrap_or(0.0),
        };
        let votes = config.methods.iter().find(|id| id.scores() == ScoreKind::Votes);
        let fitted = args.calibrate.is_some() || args.calibration.is_some();
        if let Some(method) = votes.filter(|_| fitted || !typed.is_unlimited()) {
            bail!(
                "{} counts votes, which are no probabilities: `--min-probability`, `--min-margin`, `--calibrate` and `--calibration` cannot be used with it; `--none` can",
                method.title()
            );
        }
        let of = config.methods.iter().map(|&id| (id, typed)).collect();
        Ok(Self { of, is_open: fitted || !typed.is_unlimited() || !args.none.is_empty() })
    }

    /// Takes the least probabilities, and the temperatures, that were fitted.
    pub fn take(&mut self, fitted: &FittedAnswers, config: &mut RunConfig) {
        for (id, limits) in &mut self.of {
            if let Some(of_method) = fitted.methods.get(id) {
                limits.min_probability = of_method.min_probability;
                config.temperatures.insert(*id, of_method.temperature);
            }
        }
    }

    /// Of a method.
    pub fn of(&self, method: MethodId) -> OpenWorld {
        self.of.get(&method).copied().unwrap_or_default()
    }

    /// Whether an answer may be none of the classes.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// For a comparison with those of another run.
    pub fn as_json(&self) -> Value {
        let limits = |(id, of): (&MethodId, &OpenWorld)| {
            (id.name().to_owned(), json!([of.min_probability, of.min_margin]))
        };
        self.of.iter().map(limits).collect::<serde_json::Map<_, _>>().into()
    }
}
