//! Temperatures and thresholds that were fitted to pictures, in a file for later runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::basis::Basis;
use crate::fitted_limits::{Guess, LabelledFit};
use crate::method_id::MethodId;
use crate::record::run_info::{Difference, listed};
use crate::write_whole::write_whole;

/// The form of the file.
const FORMAT: u64 = 1;

/// Why a calibration cannot be used or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read the calibration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is something else, or damaged.
    #[error("`{}` is no calibration: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was fitted to other answers.
    #[error("the calibration `{}` was fitted to other answers:{}", path.display(), listed(differences))]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// It was fitted to answers of other methods.
    #[error("the calibration `{}` was not made with {}", path.display(), method.title())]
    NoMethod {
        /// The file.
        path: PathBuf,
        /// The method that it lacks.
        method: MethodId,
    },
    /// The file cannot be written.
    #[error("cannot write the calibration `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Temperatures and thresholds of methods, and what they depend on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FittedAnswers {
    /// Which form the file has.
    calibration: u64,
    /// By method.
    pub methods: BTreeMap<MethodId, FittedMethod>,
    /// What the answers depend on that they were fitted to.
    pub basis: Basis,
}

/// What was fitted to a method's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedMethod {
    /// What divides the logits.
    pub temperature: f64,
    /// Answers below this probability are "none of these".
    pub min_probability: f64,
    /// What it was fitted to, and how sure it is.
    pub fitted_to: FittedTo,
}

/// What a temperature and a threshold were fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FittedTo {
    /// Labelled examples.
    Examples(LabelledFit),
    /// Pictures without labels: a guess.
    Pictures(Guess),
}

impl FittedAnswers {
    /// What was fitted to the answers that depend on `basis`.
    pub fn new(basis: Basis, methods: BTreeMap<MethodId, FittedMethod>) -> Self {
        Self { calibration: FORMAT, methods, basis }
    }

    /// Reads a file for methods of a run.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is something else, or was fitted to answers that depend on anything else.
    pub fn read(path: &Path, basis: &Basis) -> Result<Self, CalibrationError> {
        let fitted = Self::read_any(path)?;
        let path = || path.to_owned();
        let methods = &basis.config.methods;
        if let Some(&method) = methods.iter().find(|id| !fitted.methods.contains_key(id)) {
            return Err(CalibrationError::NoMethod { path: path(), method });
        }
        let differences = basis.differences(&fitted.basis, methods);
        if !differences.is_empty() {
            return Err(CalibrationError::Other { path: path(), differences });
        }
        Ok(fitted)
    }

    fn read_any(path: &Path) -> Result<Self, CalibrationError> {
        let text = fs::read_to_string(path)
            .map_err(|source| CalibrationError::Read { path: path.to_owned(), source })?;
        let foreign = |reason: String| CalibrationError::Foreign { path: path.to_owned(), reason };
        let value: Value =
            serde_json::from_str(&text).map_err(|error| foreign(error.to_string()))?;
        match value.get("calibration").map(Value::as_u64) {
            Some(Some(FORMAT)) => {}
            Some(_) => return Err(foreign("a later version of this program wrote it".to_owned())),
            None => return Err(foreign("it does not say that it is one".to_owned())),
        }
        let fitted: Self =
            serde_json::from_value(value).map_err(|error| foreign(error.to_string()))?;
        for (id, of_method) in &fitted.methods {
            let FittedMethod { temperature, min_probability, .. } = of_method;
            if !(temperature.is_finite() && *temperature > 0.0) {
                return Err(foreign(format!("the temperature of {} is {temperature}", id.title())));
            }
            if !(0.0..=1.0).contains(min_probability) {
                return Err(foreign(format!(
                    "the least probability of {} is {min_probability}",
                    id.title()
                )));
            }
        }
        Ok(fitted)
    }

    /// Writes the file, all or nothing. It may take the place of another calibration, and of nothing
    /// else.
    ///
    /// # Errors
    ///
    /// If there is another file, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CalibrationError> {
        if path.exists() {
            Self::read_any(path)?;
        }
        let write = || {
            let mut text = serde_json::to_string_pretty(self)?;
            text.push('\n');
            write_whole(path, text.as_bytes())
        };
        write().map_err(|source| CalibrationError::Write { path: path.to_owned(), source })
    }
}
