//! One table of what the tensors of CLIP are called, in every layout that is read.
//!
//! Our own names are OpenAI's, with one difference: the stacked projection of queries, keys and
//! values is three tensors, `attn.q_proj`, `attn.k_proj` and `attn.v_proj`.

use std::fmt;

use super::dimensions::{Dimensions, Tower};
use crate::config::{TextConfig, VisionConfig};

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// OpenAI's repository, and OpenCLIP, which kept the names.
    OpenAi,
    /// OpenCLIP with the text tower as a module of its own (`text.`).
    OpenClip,
    /// `CLIPModel` of Hugging Face's transformers.
    HuggingFace,
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OpenAi => "OpenAI / OpenCLIP",
            Self::OpenClip => "OpenCLIP (text tower apart)",
            Self::HuggingFace => "Hugging Face",
        })
    }
}

/// Length of an axis, as a dimension of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// Width of the tower that the tensor belongs to.
    Width,
    /// Width of the tower's MLPs.
    Hidden,
    Embedding,
    Channels,
    Patch,
    /// Patches and the class token.
    ImageTokens,
    Context,
    Vocabulary,
}
use Axis::{Channels, Context, Embedding, Hidden, ImageTokens, Patch, Vocabulary, Width};

/// One row of the table: canonical, OpenAI's and Hugging Face's names, and the shape.
struct Row {
    /// Our name, and OpenAI's where `stacked` says nothing else.
    canonical: &'static str,
    hugging_face: &'static str,
    shape: &'static [Axis],
    /// Whether Hugging Face stores the transpose.
    transposed: bool,
    /// OpenAI's name, if this is one of the thirds of a stack, and which.
    stacked: Option<(&'static str, usize)>,
}

const fn row(canonical: &'static str, hugging_face: &'static str, shape: &'static [Axis]) -> Row {
    Row { canonical, hugging_face, shape, transposed: false, stacked: None }
}

const fn transposed(
    canonical: &'static str,
    hugging_face: &'static str,
    shape: &'static [Axis],
) -> Row {
    Row { transposed: true, ..row(canonical, hugging_face, shape) }
}

const fn third(
    canonical: &'static str,
    (stack, index): (&'static str, usize),
    hugging_face: &'static str,
    shape: &'static [Axis],
) -> Row {
    Row { stacked: Some((stack, index)), ..row(canonical, hugging_face, shape) }
}

/// Tensors of the image tower outside its blocks.
const IMAGE: [Row; 8] = [
    row(
        "visual.conv1.weight",
        "vision_model.embeddings.patch_embedding.weight",
        &[Width, Channels, Patch, Patch],
    ),
    row("visual.class_embedding", "vision_model.embeddings.class_embedding", &[Width]),
    row(
        "visual.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
        &[ImageTokens, Width],
    ),
    row("visual.ln_pre.weight", "vision_model.pre_layrnorm.weight", &[Width]),
    row("visual.ln_pre.bias", "vision_model.pre_layrnorm.bias", &[Width]),
    row("visual.ln_post.weight", "vision_model.post_layernorm.weight", &[Width]),
    row("visual.ln_post.bias", "vision_model.post_layernorm.bias", &[Width]),
    transposed("visual.proj", "visual_projection.weight", &[Width, Embedding]),
];

/// Tensors of the text tower outside its blocks.
const TEXT: [Row; 5] = [
    row(
        "token_embedding.weight",
        "text_model.embeddings.token_embedding.weight",
        &[Vocabulary, Width],
    ),
    row(
        "positional_embedding",
        "text_model.embeddings.position_embedding.weight",
        &[Context, Width],
    ),
    row("ln_final.weight", "text_model.final_layer_norm.weight", &[Width]),
    row("ln_final.bias", "text_model.final_layer_norm.bias", &[Width]),
    transposed("text_projection", "text_projection.weight", &[Width, Embedding]),
];

/// Tensors of a block of either tower.
const BLOCK: [Row; 16] = [
    row("ln_1.weight", "layer_norm1.weight", &[Width]),
    row("ln_1.bias", "layer_norm1.bias", &[Width]),
    third(
        "attn.q_proj.weight",
        ("attn.in_proj_weight", 0),
        "self_attn.q_proj.weight",
        &[Width, Width],
    ),
    third(
        "attn.k_proj.weight",
        ("attn.in_proj_weight", 1),
        "self_attn.k_proj.weight",
        &[Width, Width],
    ),
    third(
        "attn.v_proj.weight",
        ("attn.in_proj_weight", 2),
        "self_attn.v_proj.weight",
        &[Width, Width],
    ),
    third("attn.q_proj.bias", ("attn.in_proj_bias", 0), "self_attn.q_proj.bias", &[Width]),
    third("attn.k_proj.bias", ("attn.in_proj_bias", 1), "self_attn.k_proj.bias", &[Width]),
    third("attn.v_proj.bias", ("attn.in_proj_bias", 2), "self_attn.v_proj.bias", &[Width]),
    row("attn.out_proj.weight", "self_attn.out_proj.weight", &[Width, Width]),
    row("attn.out_proj.bias", "self_attn.out_proj.bias", &[Width]),
    row("ln_2.weight", "layer_norm2.weight", &[Width]),
    row("ln_2.bias", "layer_norm2.bias", &[Width]),
    row("mlp.c_fc.weight", "mlp.fc1.weight", &[Hidden, Width]),
    row("mlp.c_fc.bias", "mlp.fc1.bias", &[Hidden]),
    row("mlp.c_proj.weight", "mlp.fc2.weight", &[Width, Hidden]),
    row("mlp.c_proj.bias", "mlp.fc2.bias", &[Width]),
];

/// Logarithm of the scale of the logits; called so everywhere.
pub const LOGIT_SCALE: &str = "logit_scale";

impl Tower {
    /// What blocks are called, up to the number. The text tower's name ends the image tower's.
    pub fn blocks(self, layout: Layout) -> &'static str {
        match (self, layout) {
            (Self::Image, Layout::OpenAi | Layout::OpenClip) => "visual.transformer.resblocks.",
            (Self::Text, Layout::OpenAi | Layout::OpenClip) => "transformer.resblocks.",
            (Self::Image, Layout::HuggingFace) => "vision_model.encoder.layers.",
            (Self::Text, Layout::HuggingFace) => "text_model.encoder.layers.",
        }
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Self::Image => &IMAGE,
            Self::Text => &TEXT,
        }
    }
}

/// What a tensor of a file is to us.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Our name.
    pub canonical: String,
    /// The tower; none for the scale of the logits.
    pub tower: Option<Tower>,
    /// Which third of the file's tensor it is.
    pub third: Option<usize>,
    /// Whether the file holds the transpose.
    pub transposed: bool,
}

/// What a tensor of a file is to us: empty if the name is not in the table, three tensors if it
/// is a stack.
pub fn find(name: &str, layout: Layout) -> Vec<Found> {
    if name == LOGIT_SCALE {
        let canonical = LOGIT_SCALE.to_owned();
        return vec![Found { canonical, tower: None, third: None, transposed: false }];
    }
    for tower in [Tower::Image, Tower::Text] {
        let found = find_in(name, layout, tower);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn find_in(name: &str, layout: Layout, tower: Tower) -> Vec<Found> {
    let block = name.strip_prefix(tower.blocks(layout)).and_then(|rest| rest.split_once('.'));
    let block = block.filter(|(number, _)| {
        number.parse::<usize>().is_ok_and(|layer| layer.to_string() == *number)
    });
    let (prefix, rest, rows) = match block {
        Some((number, rest)) => {
            (format!("{}{number}.", tower.blocks(Layout::OpenAi)), rest, &BLOCK[..])
        }
        None => (String::new(), name, tower.rows()),
    };
    let matching = rows.iter().filter(|row| match layout {
        Layout::HuggingFace => row.hugging_face == rest,
        Layout::OpenAi | Layout::OpenClip => {
            row.stacked.map_or(row.canonical, |stack| stack.0) == rest
        }
    });
    matching
        .map(|row| {
            let is_hugging_face = layout == Layout::HuggingFace;
            Found {
                canonical: format!("{prefix}{}", row.canonical),
                tower: Some(tower),
                third: row.stacked.filter(|_| !is_hugging_face).map(|stack| stack.1),
                transposed: row.transposed && is_hugging_face,
            }
        })
        .collect()
}

/// A tensor that a model must have.
#[derive(Debug)]
pub struct Expected {
    /// Our name.
    pub canonical: String,
    /// What a file of the layout calls it.
    pub in_file: String,
    /// Its shape in our layout.
    pub shape: Vec<usize>,
}

/// All tensors of a tower.
pub fn expected(tower: Tower, dimensions: &Dimensions, layout: Layout) -> Vec<Expected> {
    let layers = match tower {
        Tower::Image => dimensions.vision.as_ref().map_or(0, |vision| vision.layers),
        Tower::Text => dimensions.text.as_ref().map_or(0, |text| text.layers),
    };
    let expect = |prefix: &str, file_prefix: &str, row: &Row| Expected {
        canonical: format!("{prefix}{}", row.canonical),
        in_file: match layout {
            Layout::HuggingFace => format!("{file_prefix}{}", row.hugging_face),
            Layout::OpenAi | Layout::OpenClip => {
                format!("{file_prefix}{}", row.stacked.map_or(row.canonical, |stack| stack.0))
            }
        },
        shape: row.shape.iter().map(|&axis| length(axis, tower, dimensions)).collect(),
    };
    let outside = tower.rows().iter().map(|row| expect("", "", row));
    let inside = (0..layers).flat_map(|layer| {
        let prefix = format!("{}{layer}.", tower.blocks(Layout::OpenAi));
        let file_prefix = format!("{}{layer}.", tower.blocks(layout));
        BLOCK.iter().map(move |row| expect(&prefix, &file_prefix, row)).collect::<Vec<_>>()
    });
    outside.chain(inside).collect()
}

/// What a file of the layout calls a tensor outside the blocks, or the canonical name if it is in one.
pub fn in_file(canonical: &str, layout: Layout) -> String {
    let row = IMAGE.iter().chain(&TEXT).find(|row| row.canonical == canonical);
    match (row, layout) {
        (Some(row), Layout::HuggingFace) => row.hugging_face.to_owned(),
        _ => canonical.to_owned(),
    }
}

fn length(axis: Axis, tower: Tower, dimensions: &Dimensions) -> usize {
    let image = |part: fn(&VisionConfig) -> usize| dimensions.vision.as_ref().map_or(0, part);
    let text = |part: fn(&TextConfig) -> usize| dimensions.text.as_ref().map_or(0, part);
    match (axis, tower) {
        (Width, Tower::Image) => image(|vision| vision.width),
        (Width, Tower::Text) => text(|text| text.width),
        (Hidden, Tower::Image) => image(|vision| vision.mlp_width),
        (Hidden, Tower::Text) => text(|text| text.mlp_width),
        (Embedding, _) => dimensions.embed_dim,
        (Channels, _) => 3,
        (Patch, _) => image(|vision| vision.patch_size),
        (ImageTokens, _) => image(VisionConfig::tokens),
        (Context, _) => text(|text| text.context_length),
        (Vocabulary, _) => text(|text| text.vocab_size),
    }
}

/// The stack of OpenAI's layout that a tensor belongs to, and its place there.
pub fn stack_of(canonical: &str) -> Option<(String, usize)> {
    let row =
        BLOCK.iter().find(|row| row.stacked.is_some() && canonical.ends_with(row.canonical))?;
    let prefix = canonical.strip_suffix(row.canonical)?;
    row.stacked.map(|(name, index)| (format!("{prefix}{name}"), index))
}

/// Our three names of what a stack of OpenAI's layout holds.
pub fn parts_of(stack: &str) -> Vec<String> {
    let rows = BLOCK.iter().filter_map(|row| {
        let (name, _) = row.stacked?;
        Some(format!("{}{}", stack.strip_suffix(name)?, row.canonical))
    });
    rows.collect()
}
