//! What answers about pictures of the user's own depend on, so that what was learned or fitted for
//! them is used for nothing else.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::method_id::MethodId;
use crate::record::run_info::{Difference, TrainedFiles, Versions, WeightsInfo, compare, compared};

/// What answers about pictures of the user's own depend on, besides the pictures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Basis {
    /// The weights.
    pub weights: WeightsInfo,
    /// Files of trained prompts.
    pub prompts: TrainedFiles,
    /// Names of the classes, in their order.
    pub classes: Vec<String>,
    /// Texts that stand for none of the classes.
    #[serde(default)]
    pub none: Vec<String>,
    /// Every setting.
    pub config: RunConfig,
    /// Versions of this program and of Burn.
    pub versions: Versions,
    /// The device that ran the tensors.
    pub device: String,
}

impl Basis {
    /// What `recorded` differs in, of all that the answers of `methods` depend on.
    pub fn differences(&self, recorded: &Self, methods: &[MethodId]) -> Vec<Difference> {
        let mut differences = Vec::new();
        let of = |basis: &Self| basis.compared(methods);
        compare("", &of(self), &of(recorded), &mut differences);
        differences
    }

    /// The names of the methods are not compared, nor are settings of others than these.
    fn compared(&self, methods: &[MethodId]) -> Value {
        let mut compared = compared(&self.config, &self.weights, &self.prompts, &self.versions);
        let settings = &mut compared[""];
        for key in SETTINGS_OF_ELSEWHERE {
            settings[key] = Value::Null;
        }
        for other in MethodId::all().filter(|id| !methods.contains(id)).map(MethodId::name) {
            settings[other] = Value::Null;
            for table in ["starts", "texts"] {
                settings[table][other] = Value::Null;
            }
        }
        // Checkpoints of methods that do not run.
        for (id, key) in [(MethodId::Cocoop, "cocoop"), (MethodId::Maple, "maple")] {
            if !methods.contains(&id) {
                compared[key] = Value::Null;
            }
        }
        // Class by class, so that a message is as short as the difference.
        let numbered = |texts: &[String]| -> Value {
            let entry = |(place, text): (usize, &String)| ((place + 1).to_string(), json!(text));
            Value::Object(texts.iter().enumerate().map(entry).collect())
        };
        compared["class"] = numbered(&self.classes);
        compared["none"] = numbered(&self.none);
        compared
    }
}

/// Settings that choose images of test sets, that name methods, or that only turn scores into
/// probabilities.
const SETTINGS_OF_ELSEWHERE: [&str; 8] = [
    "methods",
    "limit",
    "order",
    "official-food101",
    "shard",
    "temperature",
    "temperatures",
    "fit-temperature",
];
