//! Reads the dimensions of a model off the shapes of its tensors.

use std::collections::BTreeMap;

use super::dimensions::{Dimensions, Tower};
use super::layout::Named;
use super::model_settings::{ModelSettings, TowerSettings};
use super::names::{self, LOGIT_SCALE, Layout};
use crate::config::{HEAD_WIDTH, TextConfig, VisionConfig};

/// Dimensions of the towers that are there; what does not fit is added to `problems`.
pub fn measure(
    tensors: &BTreeMap<String, Named>,
    layout: Layout,
    settings: &ModelSettings,
    problems: &mut Vec<String>,
) -> Dimensions {
    let mut ruler = Ruler { tensors, layout, problems };
    let vision = ruler.vision(settings.image);
    let text = ruler.text(settings.text);
    let embed_dim = ruler.embedding();
    Dimensions { vision, text, embed_dim }
}

/// What a configuration says otherwise than the tensors.
pub fn contradictions(dimensions: &Dimensions, settings: &ModelSettings) -> Vec<String> {
    let mut numbers =
        vec![("the embedding".to_owned(), "width", dimensions.embed_dim, settings.embed_dim)];
    if let Some(vision) = &dimensions.vision {
        let told = settings.image;
        // A size that is not a multiple of the patches is cut down to one.
        let size = told.image_size.map(|size| size / vision.patch_size * vision.patch_size);
        numbers.extend(
            [
                ("width", vision.width, told.width),
                ("number of blocks", vision.layers, told.layers),
                ("MLP width", vision.mlp_width, told.mlp_width),
                ("image size", vision.image_size, size),
                ("patch size", vision.patch_size, told.patch_size),
            ]
            .map(|(what, measured, told)| (Tower::Image.to_string(), what, measured, told)),
        );
    }
    if let Some(text) = &dimensions.text {
        let told = settings.text;
        numbers.extend(
            [
                ("width", text.width, told.width),
                ("number of blocks", text.layers, told.layers),
                ("MLP width", text.mlp_width, told.mlp_width),
                ("context length", text.context_length, told.context_length),
                ("vocabulary", text.vocab_size, told.vocab_size),
            ]
            .map(|(what, measured, told)| (Tower::Text.to_string(), what, measured, told)),
        );
    }
    let contradiction = |(of, what, measured, told): (String, &str, usize, Option<usize>)| {
        let told = told.filter(|&told| told != measured)?;
        Some(format!(
            "{of} has the {what} {measured}, but the configuration next to the file says {told}: it belongs to another model"
        ))
    };
    numbers.into_iter().filter_map(contradiction).collect()
}

/// Reads dimensions off shapes and collects what does not fit.
struct Ruler<'a> {
    tensors: &'a BTreeMap<String, Named>,
    layout: Layout,
    problems: &'a mut Vec<String>,
}

impl Ruler<'_> {
    fn vision(&mut self, settings: TowerSettings) -> Option<VisionConfig> {
        if !self.has(Tower::Image) {
            return None;
        }
        let patches = self.shape::<4>("visual.conv1.weight");
        let positions = self.shape::<2>("visual.positional_embedding");
        let ([width, _, patch_size, _], [tokens, _]) = (patches?, positions?);
        let grid = tokens.saturating_sub(1).isqrt();
        if grid == 0 || grid * grid + 1 != tokens {
            self.problems.push(format!(
                "`{}` has {tokens} rows, which is not a square of patches and a class token",
                self.in_file("visual.positional_embedding")
            ));
        }
        Some(VisionConfig {
            image_size: grid.saturating_mul(patch_size),
            patch_size,
            width,
            layers: self.layers(Tower::Image),
            heads: self.heads(Tower::Image, width, settings),
            mlp_width: self.mlp_width(Tower::Image)?,
        })
    }

    fn text(&mut self, settings: TowerSettings) -> Option<TextConfig> {
        if !self.has(Tower::Text) {
            return None;
        }
        let tokens = self.shape::<2>("token_embedding.weight");
        let context = self.shape::<2>("positional_embedding");
        let ([vocab_size, width], [context_length, _]) = (tokens?, context?);
        Some(TextConfig {
            context_length,
            vocab_size,
            width,
            layers: self.layers(Tower::Text),
            heads: self.heads(Tower::Text, width, settings),
            mlp_width: self.mlp_width(Tower::Text)?,
        })
    }

    fn embedding(&mut self) -> usize {
        let names = [(Tower::Image, "visual.proj"), (Tower::Text, "text_projection")];
        let mut widths = Vec::new();
        for (tower, name) in names {
            if self.has(tower) {
                widths.extend(self.shape::<2>(name).map(|[_, embedding]| embedding));
            }
        }
        if let [image, text] = widths[..]
            && image != text
        {
            self.problems.push(format!(
                "images are embedded in {image} dimensions and texts in {text}: the towers are not of one model"
            ));
        }
        widths.first().copied().unwrap_or(0)
    }

    /// Whether any tensor of a tower is there.
    fn has(&self, tower: Tower) -> bool {
        let is_image = |name: &str| name.starts_with("visual.");
        let mut names = self.tensors.keys().filter(|&name| name != LOGIT_SCALE);
        names.any(|name| is_image(name) == (tower == Tower::Image))
    }

    fn shape<const D: usize>(&mut self, name: &str) -> Option<[usize; D]> {
        let Some(Named { tensor, .. }) = self.tensors.get(name) else {
            let in_file = self.in_file(name);
            self.problems.push(format!("`{in_file}` is missing"));
            return None;
        };
        if tensor.shape().contains(&0) {
            let (in_file, shape) = (self.in_file(name), tensor.shape().to_vec());
            self.problems.push(format!("`{in_file}` is empty: its shape is {shape:?}"));
            return None;
        }
        let shape = tensor.shape().try_into().ok();
        if shape.is_none() {
            let axes = tensor.shape().len();
            let in_file = self.in_file(name);
            self.problems.push(format!("`{in_file}` has {axes} axes instead of {D}"));
        }
        shape
    }

    /// What the file calls a tensor, or would call it.
    fn in_file(&self, name: &str) -> String {
        match self.tensors.get(name) {
            Some(named) => named.in_file.clone(),
            None => names::in_file(name, self.layout),
        }
    }

    fn layers(&self, tower: Tower) -> usize {
        let prefix = tower.blocks(Layout::OpenAi);
        let number = |name: &String| name.strip_prefix(prefix)?.split('.').next()?.parse().ok();
        let last = self.tensors.keys().filter_map(number).max();
        // A number beyond the number of tensors means that some are missing, however many it says.
        last.map_or(0, |last: usize| last.min(self.tensors.len()) + 1)
    }

    fn mlp_width(&mut self, tower: Tower) -> Option<usize> {
        let name = format!("{}0.mlp.c_fc.bias", tower.blocks(Layout::OpenAi));
        self.shape::<1>(&name).map(|[width]| width)
    }

    /// Heads are not in the tensors: from the configuration, or 64 wide as in OpenAI's models.
    fn heads(&mut self, tower: Tower, width: usize, settings: TowerSettings) -> usize {
        /// Widths of OpenCLIP's ViT-H/14, ViT-g/14 and ViT-bigG/14, whose heads are wider.
        const OTHER_HEADS: [usize; 3] = [1280, 1408, 1664];
        if settings.heads.is_none() && tower == Tower::Image && OTHER_HEADS.contains(&width) {
            self.problems.push(format!(
                "the {tower} is {width} wide and its number of heads cannot be told; put the model's open_clip_config.json or config.json next to the file"
            ));
        }
        let heads = settings.heads.unwrap_or(width / HEAD_WIDTH);
        if heads == 0 || !width.is_multiple_of(heads) {
            self.problems.push(format!("the {tower}'s width {width} cannot be divided into heads"));
            return 1;
        }
        heads
    }
}
