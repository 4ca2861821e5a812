//! Prompts that were trained elsewhere, checked against the model that is to use them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use mint_clip::burn::tensor::{Tensor, TensorData};
use mint_clip::weights::{LearnedPrompts, Maple, MetaNet, StoredLinear};
use mint_clip::{Clip, Tokenizer, WeightsError};
use mint_datasets::decode_text;
use mint_tuner::{ClassTextLists, CocoopPrompts, CoupledPrompt, MaplePrompts, MethodError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Normal;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::ContextStart;

/// Prompts that do not fit the model or the method.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptsError {
    /// The texts of the classes cannot be read.
    #[error("cannot read the class texts `{file}`")]
    ReadTexts {
        /// The file.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The texts of the classes have another form.
    #[error("the class texts `{file}` are not a JSON object from class names to lists of texts")]
    TextsForm {
        /// The file.
        file: String,
        /// Where not.
        source: serde_json::Error,
    },
    /// The texts of the classes cannot be used.
    #[error("the class texts `{file}` cannot be used")]
    Texts {
        /// The file.
        file: String,
        /// Why not.
        source: MethodError,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tensor has the wrong shape.
    #[error(
        "`{file}` was trained for another model: {what} has the shape {shape:?}, and this model needs {needed}"
    )]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape that would fit.
        needed: String,
    },
    /// The file holds the prompts of another method.
    #[error("`{file}` is a checkpoint of {found}; one of {wanted} is needed{why}")]
    OtherMethod {
        /// The file.
        file: String,
        /// The method that it was trained with.
        found: &'static str,
        /// The method that it was given for.
        wanted: &'static str,
        /// Why the one does not serve for the other, if that is not plain.
        why: &'static str,
    },
    /// MaPLe's prompts are for more blocks than a tower has.
    #[error("`{file}` has prompts for {depth} blocks, and this model's towers have {layers}")]
    Depth {
        /// The file.
        file: String,
        /// Blocks with prompts.
        depth: usize,
        /// Blocks of the smaller tower.
        layers: usize,
    },
    /// The context has no words.
    #[error("the words that the context starts from are empty")]
    NoWords,
}

/// Everything that was trained before a run, on the model's device.
#[derive(Debug, Clone, Default)]
pub struct TrainedPrompts {
    /// Where learned contexts start.
    pub context: Option<StartContext>,
    /// CoCoOp's.
    pub cocoop: Option<CocoopPrompts>,
    /// MaPLe's.
    pub maple: Option<MaplePrompts>,
    /// Texts of each class.
    pub class_texts: Option<Arc<ClassTextLists>>,
    /// TPS's descriptors of each class, as texts.
    pub descriptors: Option<Arc<ClassTextLists>>,
}

/// A context and where it is from.
#[derive(Debug, Clone)]
pub struct StartContext {
    /// Shape: `[context, width]`.
    pub context: Tensor<2>,
    /// What tables call it: `context` if it was trained, else `words` or `random`.
    pub label: &'static str,
}

/// Standard deviation of a random context, as in CoOp.
const RANDOM_CONTEXT_STD: f32 = 0.02;
/// Vectors of a random context.
const RANDOM_CONTEXT_VECTORS: usize = 4;

/// Reads texts of each class: a JSON object from class names to lists of texts, as the files of CuPL
/// are, or to one text.
///
/// # Errors
///
/// If the file cannot be read, has another form, or a class has no texts.
pub fn read_class_texts(file: &Path) -> Result<ClassTextLists, PromptsError> {
    read_lists(file, ClassTextLists::new)
}

/// Reads what tells each class from others, in the same form: phrases such as `a long tail`, as TPS
/// publishes them, which become texts.
///
/// # Errors
///
/// If the file cannot be read, has another form, or a class has no descriptors.
pub fn read_descriptors(file: &Path) -> Result<ClassTextLists, PromptsError> {
    read_lists(file, ClassTextLists::of_descriptors)
}

fn read_lists(
    file: &Path,
    make: fn(Vec<ClassTextList>) -> Result<ClassTextLists, MethodError>,
) -> Result<ClassTextLists, PromptsError> {
    make(read_class_text_lists(file)?)
        .map_err(|source| PromptsError::Texts { file: file.display().to_string(), source })
}

/// A class and its texts.
type ClassTextList = (String, Vec<String>);

/// The classes and their texts as the file has them, in its order.
///
/// # Errors
///
/// If the file cannot be read or has another form.
pub fn read_class_text_lists(file: &Path) -> Result<Vec<ClassTextList>, PromptsError> {
    let name = || file.display().to_string();
    let bytes =
        std::fs::read(file).map_err(|source| PromptsError::ReadTexts { file: name(), source })?;
    let unusable =
        |reason| PromptsError::Texts { file: name(), source: MethodError::Config(reason) };
    let text = decode_text(&bytes).map_err(unusable)?;
    let Entries(entries) = serde_json::from_str(&text)
        .map_err(|source| PromptsError::TextsForm { file: name(), source })?;
    let text_of = |value: Value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    let texts_of = |(class, value): (String, Value)| {
        let texts = match value {
            Value::Array(texts) => texts.into_iter().map(text_of).collect(),
            other => text_of(other).map(|text| vec![text]),
        };
        let wrong = || format!("the class `{class}` has neither a text nor a list of texts");
        let texts: Vec<String> = texts.ok_or_else(|| unusable(wrong()))?;
        Ok((class, texts))
    };
    entries.into_iter().map(texts_of).collect()
}

/// The entries of a JSON object, those with the same key too.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object from class names to texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(All)
    }
}

impl StartContext {
    /// Reads or makes the context that learned prompts start from.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or does not fit the model, or there are no words.
    #[expect(clippy::missing_panics_doc, reason = "the deviation is a positive constant")]
    pub fn new(
        start: &ContextStart,
        clip: &Clip,
        tokenizer: &Tokenizer,
    ) -> Result<Self, PromptsError> {
        let width = clip.config.text.width;
        match start {
            ContextStart::File(file) => {
                Self::trained(LearnedPrompts::open(file)?, &file.display().to_string(), clip)
            }
            ContextStart::Words(words) => {
                let ids = tokenizer.encode(&words.replace('_', " "));
                if ids.is_empty() {
                    return Err(PromptsError::NoWords);
                }
                Ok(Self { context: clip.text.tower().token_rows(&ids), label: "words" })
            }
            ContextStart::Random(seed) => {
                let normal =
                    Normal::new(0.0, RANDOM_CONTEXT_STD).expect("the deviation is positive");
                let mut rng = ChaCha8Rng::seed_from_u64(*seed);
                let values =
                    (0..RANDOM_CONTEXT_VECTORS * width).map(|_| rng.sample(normal)).collect();
                let data = TensorData::new::<f32, _>(values, [RANDOM_CONTEXT_VECTORS, width]);
                Ok(Self { context: Tensor::from_data(data, &clip.device), label: "random" })
            }
        }
    }

    /// CoOp's context, checked; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// If the context does not fit the model.
    pub fn trained(prompts: LearnedPrompts, file: &str, clip: &Clip) -> Result<Self, PromptsError> {
        let why = ", whose context stands alone";
        if let Some(found) = other_method(&prompts, "CoOp") {
            return Err(PromptsError::OtherMethod {
                file: file.to_owned(),
                found,
                wanted: "CoOp",
                why,
            });
        }
        check_width(file, "`ctx`", &prompts.context.shape, clip.config.text.width)?;
        Ok(Self { context: prompts.context.to_tensor(&clip.device), label: "context" })
    }
}

/// CoCoOp's prompts, checked; `file` is what errors call it.
///
/// # Errors
///
/// If the file has no network, or does not fit the model.
pub fn cocoop_prompts(
    prompts: LearnedPrompts,
    file: &str,
    clip: &Clip,
) -> Result<CocoopPrompts, PromptsError> {
    let width = clip.config.text.width;
    let Some(MetaNet { first, second }) = &prompts.meta_net else {
        let found = other_method(&prompts, "CoCoOp").unwrap_or("CoOp");
        let (file, wanted, why) = (file.to_owned(), "CoCoOp", ", which has a `meta_net`");
        return Err(PromptsError::OtherMethod { file, found, wanted, why });
    };
    check_width(file, "`ctx`", &prompts.context.shape, width)?;
    let hidden = first.dims()[1];
    check_linear(file, "`meta_net.linear1.weight`", first, [clip.config.embed_dim, hidden])?;
    check_linear(file, "`meta_net.linear2.weight`", second, [hidden, width])?;
    Ok(CocoopPrompts {
        context: prompts.context.to_tensor(&clip.device),
        meta_net_in: first.load(&clip.device),
        meta_net_out: second.load(&clip.device),
    })
}

/// MaPLe's prompts, checked; `file` is what errors call it.
///
/// # Errors
///
/// If the file has no coupled prompts, or does not fit the model.
pub fn maple_prompts(
    prompts: LearnedPrompts,
    file: &str,
    clip: &Clip,
) -> Result<MaplePrompts, PromptsError> {
    let Some(Maple { projection, layers }) = &prompts.maple else {
        let found = other_method(&prompts, "MaPLe").unwrap_or("CoOp");
        let (file, wanted, why) = (file.to_owned(), "MaPLe", ", which has a `proj`");
        return Err(PromptsError::OtherMethod { file, found, wanted, why });
    };
    let (text, image) = (clip.config.text.width, clip.config.vision.width);
    let n_layers = clip.config.text.layers.min(clip.config.vision.layers);
    if layers.len() + 1 > n_layers {
        let depth = layers.len() + 1;
        return Err(PromptsError::Depth { file: file.to_owned(), depth, layers: n_layers });
    }
    check_width(file, "`ctx`", &prompts.context.shape, text)?;
    check_linear(file, "`proj.weight`", projection, [text, image])?;
    let first = CoupledPrompt {
        text: prompts.context.to_tensor(&clip.device),
        projection: projection.load(&clip.device),
    };
    let mut blocks = vec![first];
    for layer in layers {
        let needed = &prompts.context.shape;
        if &layer.prompt.shape != needed {
            return Err(shape_error(
                file,
                "a compound prompt",
                &layer.prompt.shape,
                format!("{needed:?}, as `ctx`"),
            ));
        }
        check_linear(file, "a compound projection", &layer.projection, [text, image])?;
        blocks.push(CoupledPrompt {
            text: layer.prompt.to_tensor(&clip.device),
            projection: layer.projection.load(&clip.device),
        });
    }
    Ok(MaplePrompts { blocks })
}

/// The method that prompts are of, if it is another.
fn other_method(prompts: &LearnedPrompts, wanted: &str) -> Option<&'static str> {
    let found = match (&prompts.meta_net, &prompts.maple) {
        (Some(_), _) => "CoCoOp",
        (_, Some(_)) => "MaPLe",
        _ => "CoOp",
    };
    (found != wanted).then_some(found)
}

fn check_width(
    file: &str,
    what: &'static str,
    shape: &[usize],
    width: usize,
) -> Result<(), PromptsError> {
    if shape[1] == width {
        return Ok(());
    }
    Err(shape_error(file, what, shape, format!("[vectors, {width}]")))
}

/// `dims` are input and output; files have them the other way round.
fn check_linear(
    file: &str,
    what: &'static str,
    layer: &StoredLinear,
    dims: [usize; 2],
) -> Result<(), PromptsError> {
    if layer.dims() == dims {
        return Ok(());
    }
    Err(shape_error(file, what, &layer.weight.shape, format!("[{}, {}]", dims[1], dims[0])))
}

fn shape_error(file: &str, what: &'static str, shape: &[usize], needed: String) -> PromptsError {
    PromptsError::Shape { file: file.to_owned(), what, shape: shape.to_vec(), needed }
}
