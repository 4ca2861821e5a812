//! What became of each picture, told as soon as it is known.

use anyhow::Context;
use mint_datasets::ImageSet;
use mint_eval::{LoadError, RunConfig};
use mint_tuner::{MethodError, Outcome};

use super::output::Row;
use super::prediction::Prediction;
use super::results::Results;
use crate::output::{error, shown};
use crate::progress::PictureProgress;

/// Takes what became of each picture, in their order.
pub struct Told<'a> {
    set: &'a ImageSet,
    config: &'a RunConfig,
    results: Results<'a>,
    progress: PictureProgress,
    /// Pictures without an answer of each method.
    failed: u64,
}

impl<'a> Told<'a> {
    /// Nothing yet, but for what an earlier run has written.
    pub fn new(
        set: &'a ImageSet,
        config: &'a RunConfig,
        results: Results<'a>,
        progress: PictureProgress,
    ) -> Self {
        let failed = results.failed_before;
        Self { set, config, results, progress, failed }
    }

    /// Writes what the methods say about a picture, or why they do not.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or the device failed.
    pub fn add(
        &mut self,
        index: usize,
        outcomes: Result<Vec<Result<Outcome, MethodError>>, LoadError>,
    ) -> anyhow::Result<()> {
        let path = &*self.set.images[index].path;
        let rows: Vec<Row<'a>> = match outcomes {
            // A device that fails on one picture does so on the next.
            Ok(mut outcomes) if outcomes.iter().any(is_lost) => {
                let lost = outcomes.swap_remove(outcomes.iter().position(is_lost).unwrap_or(0));
                let what = format!("the device failed on `{}`", shown(path));
                return Err(lost.expect_err("it is lost")).context(what);
            }
            Err(cause) => {
                let text = cause.with_causes();
                self.progress.suspend(|| error(&cause.into()));
                vec![Row::Failure { path, method: None, error: text }]
            }
            Ok(outcomes) => {
                let of_method =
                    |(&method, outcome): (_, Result<Outcome, MethodError>)| match outcome {
                        Ok(outcome) => {
                            let temperature = self.config.fixed_temperature(method);
                            let prediction = Prediction::new(path, method, outcome, temperature);
                            let decision = self.results.decide(&prediction);
                            Row::Answer(prediction, decision)
                        }
                        Err(cause) => {
                            let what = format!("{} on `{}`", method.title(), shown(path));
                            let cause = anyhow::Error::new(cause).context(what);
                            self.progress.suspend(|| error(&cause));
                            Row::Failure { path, method: Some(method), error: format!("{cause:#}") }
                        }
                    };
                self.config.methods.iter().zip(outcomes).map(of_method).collect()
            }
        };
        self.failed += u64::from(rows.iter().any(|row| matches!(row, Row::Failure { .. })));
        let results = &mut self.results;
        self.progress.suspend(|| results.add(rows))?;
        self.progress.advance();
        Ok(())
    }

    /// Pictures so far.
    pub fn done(&self) -> usize {
        self.progress.done()
    }

    /// Ends it. Returns the pictures without an answer, and those that are done.
    ///
    /// # Errors
    ///
    /// If the rest cannot be written.
    pub fn finish(self) -> anyhow::Result<(u64, usize)> {
        self.progress.finish();
        self.results.finish()?;
        Ok((self.failed, self.progress.done()))
    }
}

fn is_lost(outcome: &Result<Outcome, MethodError>) -> bool {
    matches!(outcome, Err(MethodError::Device(_)))
}
