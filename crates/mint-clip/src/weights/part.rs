//! One weight file whose names were translated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::contents::{Contents, Format, Unknown};
use super::error::WeightsError;
use super::layout::{Named, recognise};
use super::model_settings::{self, ModelSettings};
use super::names::{LOGIT_SCALE, Layout};
use super::{companions, file};
use crate::config::Activation;

/// A file whose names were translated.
pub struct Part {
    pub file: PathBuf,
    pub format: Format,
    pub layout: Layout,
    pub tensors: BTreeMap<String, Named>,
    pub unused: Vec<String>,
    /// That of the graph or of the classes in the file.
    pub activation: Option<Activation>,
    pub settings: ModelSettings,
}

impl Part {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Self, WeightsError> {
        let contents = file::open(file, Unknown::Refuse)?;
        let format = contents.format;
        Self::recognise(file, contents, |layout| companions::read(file, layout, format))
    }

    /// Whether the tensors are all of one tower.
    pub fn has_one_tower(&self) -> bool {
        let names = || self.tensors.keys().filter(|&name| name != LOGIT_SCALE);
        let images = names().filter(|name| name.starts_with("visual.")).count();
        images == 0 || images == names().count()
    }

    /// Translates the names; `beside` returns the settings next to the file, if the file itself has none.
    pub fn recognise(
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
        // Graphs are full of constants that are not weights.
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
