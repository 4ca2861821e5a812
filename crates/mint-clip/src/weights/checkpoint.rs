//! Weight files that were opened, checked and not yet read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::Blob;
use super::contents::{Format, Unknown};
use super::dimensions::{Dimensions, Tower};
use super::error::WeightsError;
use super::layout::Named;
use super::load_options::{LoadOptions, Origin};
use super::measure::{contradictions, measure};
use super::model_settings::ModelSettings;
use super::names::{self, LOGIT_SCALE, Layout};
use super::part::Part;
use super::stored_tensor::{NumberType, RawTensor, StoredTensor};
use super::{file, onnx};
use crate::config::{Activation, Preprocessing};
use crate::tokenizer::VOCABULARY;

/// Scale of the logits in every published CLIP, for exports that leave it out.
pub const PUBLISHED_LOGIT_SCALE: f32 = 100.0;

/// One or two weight files whose tensors were recognised as CLIP's.
///
/// Nothing but descriptions was read; the numbers are read when a tower is built.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    files: Vec<(PathBuf, Format)>,
    layout: Layout,
    tensors: BTreeMap<String, Named>,
    activation: (Activation, Origin),
    preprocessing: (Preprocessing, Origin),
    logit_scale: Option<f32>,
    dimensions: Dimensions,
}

impl Checkpoint {
    /// Opens a weight file, or the files of both towers.
    ///
    /// If one ONNX file with one tower is given, the other is looked for next to it
    /// (`vision_model.onnx` and `text_model.onnx`).
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is not of a known format, or does not hold towers that fit.
    pub fn open(files: &[PathBuf], options: LoadOptions) -> Result<Self, WeightsError> {
        let mut parts = files.iter().map(|file| Part::open(file)).collect::<Result<Vec<_>, _>>()?;
        if let [part] = &parts[..]
            && part.format == Format::Onnx
            && part.has_one_tower()
            && let Some(other) = onnx::other_tower(&part.file)
        {
            parts.push(Part::open(&other)?);
        }
        Self::assemble(parts, options)
    }

    /// Reads a file that is in memory; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::open`].
    pub fn from_bytes(
        name: &Path,
        bytes: impl Into<Cow<'static, [u8]>>,
        options: LoadOptions,
    ) -> Result<Self, WeightsError> {
        let blob: Arc<Blob> = Blob::memory(name, bytes);
        let contents = file::read(&blob, Unknown::Refuse)?;
        let part = Part::recognise(name, contents, |_| Ok(ModelSettings::default()))?;
        Self::assemble(vec![part], options)
    }

    fn assemble(parts: Vec<Part>, options: LoadOptions) -> Result<Self, WeightsError> {
        let Some(first) = parts.first() else {
            return Err(WeightsError::NoFile);
        };
        let (file, layout) = (first.file.clone(), first.layout);
        let mut problems = Vec::new();
        // OpenCLIP's layout is OpenAI's with another prefix; exports of single towers may mix them.
        let is_hugging_face = |layout: Layout| layout == Layout::HuggingFace;
        if parts.iter().any(|part| is_hugging_face(part.layout) != is_hugging_face(layout)) {
            problems.push("the files use the names of different layouts".to_owned());
        }
        let mut files = Vec::new();
        let mut tensors = BTreeMap::new();
        let mut of_files = Vec::new();
        let mut settings = ModelSettings::default();
        for part in parts {
            problems.extend(part.unused.iter().map(|name| format!("`{name}` is not used")));
            for (canonical, named) in part.tensors {
                let twice = tensors.insert(canonical.clone(), named);
                if let Some(named) = twice.filter(|_| canonical != LOGIT_SCALE) {
                    problems.push(format!("`{}` is in both files", named.in_file));
                }
            }
            settings = part.settings.clone().or(settings);
            of_files.push((part.activation, part.settings));
            files.push((part.file, part.format));
        }
        let before = problems.len();
        let mut dimensions = measure(&tensors, layout, &settings, &mut problems);
        let contradictions = contradictions(&dimensions, &settings);
        if !contradictions.is_empty() && settings.above {
            // A folder above may hold the configuration of any other model.
            of_files.iter_mut().for_each(|(_, settings)| *settings = ModelSettings::default());
            problems.truncate(before);
            dimensions = measure(&tensors, layout, &ModelSettings::default(), &mut problems);
        } else {
            problems.extend(contradictions);
        }
        // Without dimensions no shape can be compared.
        if problems.len() == before {
            check(&tensors, layout, &dimensions, &mut problems);
        }
        let mut stated = Stated::default();
        for (in_graph, settings) in of_files {
            stated.apply(in_graph, settings, &mut problems);
        }
        if !problems.is_empty() {
            return Err(WeightsError::Mismatch { file, problems });
        }
        let activation = match options.activation {
            Some(activation) => (activation, Origin::Options),
            None => stated.activation,
        };
        let (preprocessing, logit_scale) = (stated.preprocessing, options.logit_scale);
        Ok(Self { files, layout, tensors, activation, preprocessing, logit_scale, dimensions })
    }

    /// The model with the first `blocks` blocks of each tower alone: all shapes of the whole model,
    /// in a part of its time.
    pub fn first_blocks(&self, blocks: usize) -> Self {
        let mut first = self.clone();
        let Dimensions { vision, text, .. } = &mut first.dimensions;
        vision.iter_mut().for_each(|vision| vision.layers = vision.layers.min(blocks));
        text.iter_mut().for_each(|text| text.layers = text.layers.min(blocks));
        first
    }

    /// The files, and what they are.
    pub fn files(&self) -> &[(PathBuf, Format)] {
        &self.files
    }

    /// Every file that numbers are read from: those of [`Checkpoint::files`], then parts and
    /// files of external data.
    pub fn sources(&self) -> Vec<&Path> {
        let mut sources: Vec<&Path> = self.files.iter().map(|(file, _)| &**file).collect();
        let of_tensors: BTreeSet<&Path> =
            self.tensors.values().map(|named| named.tensor.file()).collect();
        let further: Vec<&Path> =
            of_tensors.into_iter().filter(|file| !sources.contains(file)).collect();
        sources.extend(further);
        sources
    }

    /// Whose names the files use.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The towers in the files.
    pub fn towers(&self) -> Vec<Tower> {
        self.dimensions.towers()
    }

    /// Dimensions of the towers that are there.
    pub fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    /// Activation of the MLPs, and how it is known.
    pub fn activation(&self) -> (Activation, &Origin) {
        (self.activation.0, &self.activation.1)
    }

    /// Checks that the text tower was trained on the ids of CLIP's tokenizer.
    ///
    /// # Errors
    ///
    /// If its vocabulary has another size: texts would be nonsense to it.
    pub fn check_vocabulary(&self) -> Result<(), WeightsError> {
        let Some(text) = self.dimensions.text.as_ref() else { return Ok(()) };
        if text.vocab_size == VOCABULARY {
            return Ok(());
        }
        let name = "token_embedding.weight";
        let problem = format!(
            "`{}` has {} rows, but CLIP's tokenizer has {VOCABULARY} tokens, so the model has another vocabulary",
            self.name_in_file(name).unwrap_or_else(|| name.to_owned()),
            text.vocab_size
        );
        let file = self.files.last().map(|(file, _)| file.clone()).unwrap_or_default();
        Err(WeightsError::Mismatch { file, problems: vec![problem] })
    }

    /// How pictures are prepared for the image tower, and how it is known.
    pub fn preprocessing(&self) -> (Preprocessing, &Origin) {
        (self.preprocessing.0, &self.preprocessing.1)
    }

    /// Scale of the logits, and how it is known.
    ///
    /// # Errors
    ///
    /// If the stored scale cannot be read, or is not a positive number.
    pub fn logit_scale(&self) -> Result<(f32, Origin), WeightsError> {
        if let Some(scale) = self.logit_scale {
            return Ok((scale, Origin::Options));
        }
        if !self.tensors.contains_key(LOGIT_SCALE) {
            return Ok((PUBLISHED_LOGIT_SCALE, Origin::Assumed));
        }
        let scale = self.read(LOGIT_SCALE)?.values[0].exp();
        if !scale.is_finite() || scale <= 0.0 {
            let file = self.tensors[LOGIT_SCALE].tensor.file().to_owned();
            return Err(WeightsError::LogitScale { file, scale });
        }
        Ok((scale, Origin::File))
    }

    /// Whether the scale in the files is not the one that counts.
    pub(super) fn overrides_logit_scale(&self) -> bool {
        self.logit_scale.is_some()
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.tensors.values().map(|named| named.tensor.elements()).sum()
    }

    /// Number of bytes that the weights take in their files.
    pub fn bytes(&self) -> usize {
        let bytes = |named: &Named| named.tensor.elements() * named.tensor.number_type().size();
        self.tensors.values().map(bytes).sum()
    }

    /// How many tensors are stored as what.
    pub fn number_types(&self) -> BTreeMap<NumberType, usize> {
        let mut types = BTreeMap::new();
        for named in self.tensors.values() {
            *types.entry(named.tensor.number_type()).or_default() += 1;
        }
        types
    }

    /// Our names of the tensors that are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by our name.
    pub fn stored(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name).map(|named| &named.tensor)
    }

    /// What the files call a tensor that we call `name`.
    pub(super) fn name_in_file(&self, name: &str) -> Option<String> {
        self.tensors.get(name).map(|named| named.in_file.clone())
    }

    /// Reads all numbers and forgets them, to find those that are damaged.
    ///
    /// # Errors
    ///
    /// If a tensor cannot be read, or holds a number that is not finite.
    pub fn examine(&self) -> Result<(), WeightsError> {
        self.tensors.keys().try_for_each(|name| self.read(name).map(|_| ()))
    }

    /// Reads a tensor that [`Checkpoint::check`] saw.
    pub(super) fn read(&self, name: &str) -> Result<RawTensor, WeightsError> {
        self.read_view(name, |tensor| tensor)
    }

    /// Reads a tensor's transpose. Shape: `[column, row]`.
    pub(super) fn read_transposed(&self, name: &str) -> Result<RawTensor, WeightsError> {
        self.read_view(name, StoredTensor::transposed)
    }

    fn read_view(
        &self,
        name: &str,
        view: impl FnOnce(StoredTensor) -> StoredTensor,
    ) -> Result<RawTensor, WeightsError> {
        let named = &self.tensors[name];
        let tensor = view(named.tensor.clone());
        let file = || tensor.file().to_owned();
        let tensor = tensor.read().map_err(|source| WeightsError::Read { file: file(), source })?;
        if let Some(place) = tensor.values.iter().position(|value| !value.is_finite()) {
            let reason = format!(
                "element {place} of `{}` is {}, so the file is damaged or was rounded beyond its range",
                named.in_file, tensor.values[place]
            );
            return Err(WeightsError::Format { file: file(), reason });
        }
        Ok(tensor)
    }
}

/// What the files, and the configurations next to them, say about a model.
#[derive(Debug)]
struct Stated {
    activation: (Activation, Origin),
    preprocessing: (Preprocessing, Origin),
}

impl Default for Stated {
    fn default() -> Self {
        Self {
            activation: (Activation::default(), Origin::Assumed),
            preprocessing: (Preprocessing::default(), Origin::Assumed),
        }
    }
}

impl Stated {
    /// Takes over what a file says; refuses what contradicts another or cannot be.
    fn apply(
        &mut self,
        in_graph: Option<Activation>,
        settings: ModelSettings,
        problems: &mut Vec<String>,
    ) {
        let origin = settings.origin.clone().map_or(Origin::File, Origin::Beside);
        let told = settings.activation.map(|activation| (activation, origin));
        if let Some((activation, origin)) = in_graph.map(|told| (told, Origin::File)).or(told) {
            let (known, known_origin) = &self.activation;
            if *known_origin != Origin::Assumed && *known != activation {
                problems.push(format!("one file has {known}, the other {activation}"));
            }
            self.activation = (activation, origin);
        }
        if let Some(preprocessing) = settings.preprocessing() {
            let origin = settings.preprocessing_origin.map_or(Origin::File, Origin::Beside);
            self.preprocessing = (preprocessing, origin);
        }
        for problem in settings.problems {
            // Both towers may have the same configuration.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}

/// Compares tensors with those that towers of these dimensions have.
fn check(
    tensors: &BTreeMap<String, Named>,
    layout: Layout,
    dimensions: &Dimensions,
    problems: &mut Vec<String>,
) {
    let mut used = BTreeSet::from([LOGIT_SCALE.to_owned()]);
    for tower in dimensions.towers() {
        for expected in names::expected(tower, dimensions, layout) {
            used.insert(expected.canonical.clone());
            let Some(named) = tensors.get(&expected.canonical) else {
                problems.push(format!("`{}` is missing", expected.in_file));
                continue;
            };
            let (number, shape) = (named.tensor.number_type(), named.tensor.shape());
            if shape != expected.shape {
                problems.push(format!(
                    "`{}` has the shape {shape:?} instead of {:?}",
                    named.in_file, expected.shape
                ));
            }
            if !number.is_float() {
                problems.push(format!("`{}` is stored as {number}, not as floats", named.in_file));
            }
        }
    }
    let unused = tensors.iter().filter(|(canonical, _)| !used.contains(*canonical));
    problems.extend(unused.map(|(_, named)| format!("`{}` is not used", named.in_file)));
    problems.dedup();
    if let Some(scale) = tensors.get(LOGIT_SCALE)
        && (scale.tensor.elements() != 1 || !scale.tensor.number_type().is_float())
    {
        problems.push(format!("`{}` is not a single float", scale.in_file));
    }
}
