//! How results are written: row by row in the forms that allow it.

use std::fmt::Write as _;
use std::path::Path;

use mint_datasets::quoted;
use mint_eval::{Answer, MethodId, NoneOfThese};
use mint_tuner::ScoreKind;
use serde_json::{Map, Value, json};

use super::limits::Limits;
use super::prediction::{Decision, Prediction};
use crate::args::PredictFormat;
use crate::output::{printable, shown};

/// What is written about a picture.
pub enum Row<'a> {
    /// What a method says.
    Answer(Prediction<'a>, Decision),
    /// Why there is no answer; of one method, or of all if the picture cannot be read.
    Failure { path: &'a Path, method: Option<MethodId>, error: String },
}

/// Makes text of rows.
pub struct Form<'a> {
    pub format: PredictFormat,
    pub class_names: &'a [String],
    /// Classes that are written for each picture.
    pub top: usize,
    pub methods: &'a [MethodId],
    /// What an answer must be like to be a class.
    pub limits: &'a Limits,
    /// Texts that stand for none of the classes.
    pub none: &'a [String],
}

/// What an answer that is no class is called.
const NONE: &str = "none of these";

impl Form<'_> {
    /// What comes before the first row.
    pub fn head(&self) -> anyhow::Result<Vec<u8>> {
        if self.format != PredictFormat::Csv {
            return Ok(Vec::new());
        }
        let votes = |id: &MethodId| id.scores() == ScoreKind::Votes;
        let score = match (self.methods.iter().any(votes), self.methods.iter().all(votes)) {
            (false, _) => "probability",
            (true, true) => "votes",
            (true, false) => "probability_or_votes",
        };
        let best =
            (1..=self.top).flat_map(|rank| [format!("label_{rank}"), format!("{score}_{rank}")]);
        let head = ["path".to_owned(), "method".to_owned()].into_iter();
        let head = head.chain(self.limits.is_open().then(|| "answer".to_owned())).chain(best);
        line(head.chain(["error".to_owned()]))
    }

    /// A row.
    pub fn row(&self, row: &Row<'_>) -> anyhow::Result<Vec<u8>> {
        match self.format {
            PredictFormat::Text => Ok(self.text(row).into_bytes()),
            PredictFormat::Csv => self.csv(row),
            PredictFormat::Jsonl | PredictFormat::Json => {
                Ok(escaped(&format!("{}\n", self.object(row))).into_bytes())
            }
        }
    }

    /// All rows as one object.
    pub fn whole(&self, rows: &[Row<'_>]) -> anyhow::Result<Vec<u8>> {
        let objects = |wanted: fn(&&Row<'_>) -> bool| -> Vec<Value> {
            rows.iter().filter(wanted).map(|row| self.object(row)).collect()
        };
        let mut whole = json!({ "predictions": objects(|row| matches!(row, Row::Answer(..))) });
        let failures = objects(|row| matches!(row, Row::Failure { .. }));
        if !failures.is_empty() {
            whole["failures"] = failures.into();
        }
        Ok(escaped(&format!("{}\n", serde_json::to_string_pretty(&whole)?)).into_bytes())
    }

    fn text(&self, row: &Row<'_>) -> String {
        // What went wrong is told on standard error.
        let Row::Answer(prediction, decision) = row else { return String::new() };
        let mut text = format!("{} ({})\n", shown(prediction.path), prediction.method.title());
        if let Answer::None(why) = decision.answer {
            writeln!(text, "  {NONE}: {}", self.reason(why)).expect("a string takes everything");
        }
        for &class in &decision.best {
            let name = printable(&self.class_names[class]);
            let written = match &prediction.probabilities {
                Some(probabilities) => {
                    writeln!(text, "  {:5.1} %  {name}", 100.0 * probabilities[class])
                }
                None => writeln!(text, "  {:5.1} votes  {name}", prediction.scores[class]),
            };
            written.expect("a string takes everything");
        }
        text
    }

    /// Why an answer is no class, in words.
    fn reason(&self, why: NoneOfThese) -> String {
        match why {
            NoneOfThese::Text(text) => format!("{} fits best", quoted(&self.none[text])),
            NoneOfThese::Probability(_) => "the best probability is too low".to_owned(),
            NoneOfThese::Margin { margin, second } => {
                let n_classes = self.class_names.len();
                let second = match second.checked_sub(n_classes) {
                    None => &self.class_names[second],
                    Some(text) => &self.none[text],
                };
                format!("{} is within {:.1} percentage points", quoted(second), 100.0 * margin)
            }
        }
    }

    /// Why an answer is no class, for programs; null if it is one.
    fn why(&self, answer: Answer) -> Value {
        match answer {
            Answer::Class(_) => Value::Null,
            Answer::None(NoneOfThese::Text(text)) => {
                json!({ "by": "text", "text": self.none[text] })
            }
            Answer::None(NoneOfThese::Probability(probability)) => {
                json!({ "by": "probability", "probability": probability })
            }
            Answer::None(NoneOfThese::Margin { margin, .. }) => {
                json!({ "by": "margin", "margin": margin })
            }
        }
    }

    fn csv(&self, row: &Row<'_>) -> anyhow::Result<Vec<u8>> {
        let (path, method, answer, best, error) = match row {
            Row::Answer(prediction, decision) => {
                let of_class = |&class: &usize| {
                    let score = match &prediction.probabilities {
                        Some(probabilities) => format!("{:.6}", probabilities[class]),
                        None => prediction.scores[class].to_string(),
                    };
                    [printable(&self.class_names[class]), score]
                };
                let best: Vec<String> = decision.best.iter().flat_map(of_class).collect();
                let answer = decision.answer.class();
                let answer = answer.map(|class| printable(&self.class_names[class]));
                let answer = answer.unwrap_or_else(|| NONE.to_owned());
                (prediction.path, Some(prediction.method), answer, best, String::new())
            }
            Row::Failure { path, method, error } => {
                (*path, *method, String::new(), Vec::new(), printable(error))
            }
        };
        let missing = vec![String::new(); 2 * self.top - best.len()];
        let method = method.map_or(String::new(), |method| method.name().to_owned());
        let start = [cell(path), method].into_iter();
        let start = start.chain(self.limits.is_open().then_some(answer));
        line(start.chain(best).chain(missing).chain([error]))
    }

    fn object(&self, row: &Row<'_>) -> Value {
        let mut object = Map::new();
        let path = match row {
            Row::Answer(prediction, _) => prediction.path,
            Row::Failure { path, .. } => path,
        };
        match path.to_str() {
            Some(text) => object.insert("path".to_owned(), text.into()),
            None => {
                let bytes = path.as_os_str().as_encoded_bytes();
                let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                object.insert("path".to_owned(), shown(path).into());
                object.insert("path_bytes".to_owned(), digits.into())
            }
        };
        match row {
            Row::Answer(prediction, decision) => {
                let best = decision.best.iter().map(|&class| {
                    let probability = prediction.probabilities.as_ref().map(|values| values[class]);
                    json!({
                        "class": self.class_names[class],
                        "score": prediction.scores[class],
                        "probability": probability,
                    })
                });
                object.insert("method".to_owned(), prediction.method.name().into());
                object.insert("scores".to_owned(), prediction.kind.to_string().into());
                if self.limits.is_open() {
                    let answer =
                        decision.answer.class().map(|class| self.class_names[class].as_str());
                    object.insert("answer".to_owned(), answer.into());
                    object.insert("none".to_owned(), self.why(decision.answer));
                }
                object.insert("best".to_owned(), best.collect());
            }
            Row::Failure { method, error, .. } => {
                object.insert("method".to_owned(), method.map(MethodId::name).into());
                object.insert("error".to_owned(), error.as_str().into());
            }
        }
        object.into()
    }
}

/// A line of CSV.
fn line(cells: impl IntoIterator<Item = String>) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells.into_iter().map(String::into_bytes))?;
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// JSON without the signs that some terminals obey and JSON does not escape by itself.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for sign in json.chars() {
        match sign {
            '\n' => escaped.push(sign),
            _ if sign.is_control() => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(sign)));
            }
            _ => escaped.push(sign),
        }
    }
    escaped
}

/// A path in a table, each in a way of its own: where names may hold signs that are escaped, a
/// backslash is, too.
pub fn cell(path: &Path) -> String {
    if cfg!(windows) {
        return shown(path);
    }
    let mut cell = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        cell += &printable(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|byte| cell += &format!("\\x{byte:02X}"));
    }
    cell
}
