//! Weight files that were opened, checked and not yet read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::Blob;
use super::file::{self, Contents, Format};
use super::layout::{Named, recognise};
use super::measure::{contradictions, measure};
use super::model_settings::{self, ModelSettings};
use super::names::{self, LOGIT_SCALE, Layout, Tower};
use super::pytorch::Unknown;
use super::stored_tensor::{NumberType, RawTensor, StoredTensor};
use super::{WeightsError, companions, onnx};
use crate::config::{Activation, Preprocessing, TextConfig, VisionConfig};
use crate::tokenizer::VOCABULARY;

/// What overrides a weight file, or completes it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadOptions {
    /// Activation of the MLPs, where the file does not tell or tells wrong.
    pub activation: Option<Activation>,
    /// Factor of the logits (the exponential of the stored tensor).
    pub logit_scale: Option<f32>,
}

/// How a setting is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The weight file itself.
    File,
    /// Another file beside it.
    Beside(PathBuf),
    /// [`LoadOptions`].
    Options,
    /// Nothing says it; it is what OpenAI's published weights have.
    Assumed,
}

/// Scale of the logits in every published CLIP, for exports that leave it out.
pub const PUBLISHED_LOGIT_SCALE: f32 = 100.0;

/// One or two weight files whose tensors were recognised as CLIP's.
///
/// Nothing but descriptions was read; the numbers are read when a tower is built.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<(PathBuf, Format)>,
    layout: Layout,
    tensors: BTreeMap<String, Named>,
    activation: (Activation, Origin),
    preprocessing: (Preprocessing, Origin),
    logit_scale: Option<f32>,
    dimensions: Dimensions,
}

/// Dimensions of the towers that are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimensions {
    /// The image tower.
    pub vision: Option<VisionConfig>,
    /// The text tower.
    pub text: Option<TextConfig>,
    /// Width of the space that images and texts share.
    pub embed_dim: usize,
}

impl Checkpoint {
    /// Opens a weight file, or the files of both towers.
    ///
    /// If one ONNX file with one tower is given, the other is looked for beside it
    /// (`vision_model.onnx` and `text_model.onnx`).
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
        let mut checkpoint = Self {
            files: Vec::new(),
            layout,
            tensors: BTreeMap::new(),
            activation: (Activation::default(), Origin::Assumed),
            preprocessing: (Preprocessing::default(), Origin::Assumed),
            logit_scale: options.logit_scale,
            dimensions: Dimensions { vision: None, text: None, embed_dim: 0 },
        };
        let mut of_files = Vec::new();
        let mut settings = ModelSettings::default();
        for part in parts {
            problems.extend(part.unused.iter().map(|name| format!("`{name}` is not used")));
            for (ours, named) in part.tensors {
                let twice = checkpoint.tensors.insert(ours.clone(), named);
                if let Some(named) = twice.filter(|_| ours != LOGIT_SCALE) {
                    problems.push(format!("`{}` is in both files", named.theirs));
                }
            }
            settings = part.settings.clone().or(settings);
            of_files.push((part.activation, part.settings));
            checkpoint.files.push((part.file, part.format));
        }
        let before = problems.len();
        checkpoint.dimensions = measure(&checkpoint, &settings, &mut problems);
        let contradictions = contradictions(&checkpoint.dimensions, &settings);
        if !contradictions.is_empty() && settings.above {
            // A folder above may hold the configuration of any other model.
            of_files.iter_mut().for_each(|(_, settings)| *settings = ModelSettings::default());
            problems.truncate(before);
            checkpoint.dimensions = measure(&checkpoint, &ModelSettings::default(), &mut problems);
        } else {
            problems.extend(contradictions);
        }
        // Without dimensions no shape can be compared.
        if problems.len() == before {
            checkpoint.check(&mut problems);
        }
        for (in_graph, settings) in of_files {
            checkpoint.apply(in_graph, settings, &mut problems);
        }
        if let Some(activation) = options.activation {
            checkpoint.activation = (activation, Origin::Options);
        }
        if problems.is_empty() {
            return Ok(checkpoint);
        }
        Err(WeightsError::Mismatch { file, problems })
    }

    /// Takes over what a file, or the configuration beside it, says; refuses what it cannot.
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

    /// Compares the tensors with those that towers of these dimensions have.
    fn check(&self, problems: &mut Vec<String>) {
        let mut used = BTreeSet::from([LOGIT_SCALE.to_owned()]);
        for tower in self.towers() {
            for expected in names::expected(tower, &self.dimensions, self.layout) {
                used.insert(expected.ours.clone());
                let Some(named) = self.tensors.get(&expected.ours) else {
                    problems.push(format!("`{}` is missing", expected.theirs));
                    continue;
                };
                let (number, shape) = (named.tensor.number_type(), named.tensor.shape());
                if shape != expected.shape {
                    problems.push(format!(
                        "`{}` has the shape {shape:?} instead of {:?}",
                        named.theirs, expected.shape
                    ));
                }
                if !number.is_float() {
                    problems
                        .push(format!("`{}` is stored as {number}, not as floats", named.theirs));
                }
            }
        }
        let unused = self.tensors.iter().filter(|(ours, _)| !used.contains(*ours));
        problems.extend(unused.map(|(_, named)| format!("`{}` is not used", named.theirs)));
        problems.dedup();
        if let Some(scale) = self.tensors.get(LOGIT_SCALE)
            && (scale.tensor.elements() != 1 || !scale.tensor.number_type().is_float())
        {
            problems.push(format!("`{}` is no single float", scale.theirs));
        }
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

    /// The towers that are there.
    pub fn towers(&self) -> Vec<Tower> {
        let image = self.dimensions.vision.as_ref().map(|_| Tower::Image);
        image.into_iter().chain(self.dimensions.text.as_ref().map(|_| Tower::Text)).collect()
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
            self.their_name(name).unwrap_or_else(|| name.to_owned()),
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
            let reason =
                format!("the scale of the logits is {scale}; give another by `--logit-scale`");
            return Err(WeightsError::Format { file, reason });
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
    pub(super) fn their_name(&self, name: &str) -> Option<String> {
        self.tensors.get(name).map(|named| named.theirs.clone())
    }

    /// Reads all numbers and forgets them, to find those that are damaged.
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
                named.theirs, tensor.values[place]
            );
            return Err(WeightsError::Format { file: file(), reason });
        }
        Ok(tensor)
    }
}

/// A file whose names were translated.
struct Part {
    file: PathBuf,
    format: Format,
    layout: Layout,
    tensors: BTreeMap<String, Named>,
    unused: Vec<String>,
    /// That of the graph or of the classes in the file.
    activation: Option<Activation>,
    settings: ModelSettings,
}

impl Part {
    fn open(file: &Path) -> Result<Self, WeightsError> {
        let contents = file::open(file, Unknown::Refuse)?;
        let format = contents.format;
        Self::recognise(file, contents, |layout| companions::beside(file, layout, format))
    }

    fn has_one_tower(&self) -> bool {
        let names = || self.tensors.keys().filter(|&name| name != LOGIT_SCALE);
        let images = names().filter(|name| name.starts_with("visual.")).count();
        images == 0 || images == names().count()
    }

    /// `beside` gives the settings beside the file, if the file itself has none.
    fn recognise(
        file: &Path,
        contents: Contents,
        beside: impl FnOnce(Layout) -> Result<ModelSettings, WeightsError>,
    ) -> Result<Self, WeightsError> {
        let recognised = recognise(contents.tensors).map_err(|reason| WeightsError::Mismatch {
            file: file.to_owned(),
            problems: vec![reason],
        })?;
        let layout = recognised.layout;
        let settings = match model_settings::in_metadata(&contents.metadata) {
            Some(settings) => settings,
            None => beside(layout)?,
        };
        // Graphs are full of constants that are no weights.
        let is_graph = contents.format == Format::Onnx;
        Ok(Self {
            file: file.to_owned(),
            format: contents.format,
            layout,
            tensors: recognised.tensors,
            unused: if is_graph { Vec::new() } else { recognised.unknown },
            activation: contents.activation,
            settings,
        })
    }
}
