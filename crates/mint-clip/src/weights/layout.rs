//! Recognises whose names a file uses, and translates them into the canonical ones.

use std::collections::BTreeMap;

use super::dimensions::Tower;
use super::names::{self, Found, LOGIT_SCALE, Layout};
use super::stored_tensor::StoredTensor;

/// A tensor with the name that its file gives it.
#[derive(Debug, Clone)]
pub struct Named {
    pub in_file: String,
    pub tensor: StoredTensor,
}

/// The tensors of a file, with our names.
#[derive(Debug)]
pub struct Recognised {
    pub layout: Layout,
    pub tensors: BTreeMap<String, Named>,
    /// Names in the file that no part of CLIP has.
    pub unknown: Vec<String>,
}

/// A tower in a file: its names are the canonical ones after `prefix` is taken off and `insert` put on.
#[derive(Debug)]
struct Place {
    tower: Tower,
    layout: Layout,
    prefix: String,
    insert: &'static str,
}

/// Where a tower is, told by the tensors that no other model has under these names.
struct Anchor {
    tower: Tower,
    layout: Layout,
    /// What comes before our names (`text.`), or has to be put there (`visual.`).
    cut: &'static str,
    insert: &'static str,
    names: &'static [&'static str],
}

/// In the order in which they are tried: some names end others.
const ANCHORS: [Anchor; 6] = [
    Anchor {
        tower: Tower::Image,
        layout: Layout::HuggingFace,
        cut: "",
        insert: "",
        names: &[
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model.pre_layrnorm.weight",
        ],
    },
    Anchor {
        tower: Tower::Text,
        layout: Layout::HuggingFace,
        cut: "",
        insert: "",
        names: &[
            "text_model.embeddings.token_embedding.weight",
            "text_model.final_layer_norm.weight",
        ],
    },
    Anchor {
        tower: Tower::Image,
        layout: Layout::OpenAi,
        cut: "",
        insert: "",
        names: &["visual.conv1.weight", "visual.ln_pre.weight"],
    },
    Anchor {
        tower: Tower::Text,
        layout: Layout::OpenClip,
        cut: "text.",
        insert: "",
        names: &["token_embedding.weight", "ln_final.weight"],
    },
    Anchor {
        tower: Tower::Text,
        layout: Layout::OpenAi,
        cut: "",
        insert: "",
        names: &["token_embedding.weight", "ln_final.weight"],
    },
    Anchor {
        tower: Tower::Image,
        layout: Layout::OpenAi,
        cut: "",
        insert: "visual.",
        names: &["conv1.weight", "ln_pre.weight"],
    },
];

/// Ends of names that say nothing about the model.
const IGNORED: [&str; 6] = [
    "input_resolution",
    "context_length",
    "vocab_size",
    "position_ids",
    "attn_mask",
    "num_batches_tracked",
];

/// Models that are CLIP by name but not in their parts.
const FOREIGN: [(&str, &str); 7] = [
    ("visual.attnpool.", RESNET),
    ("visual.layer1.", RESNET),
    (
        "visual.trunk.",
        "its image tower is one of timm's, which is not supported; take a ViT of OpenAI's form",
    ),
    ("text.transformer.embeddings.", FOREIGN_TEXT),
    ("text.transformer.encoder.", FOREIGN_TEXT),
    ("logit_bias", SIGLIP),
    ("vision_model.head.", SIGLIP),
];
const RESNET: &str = "its image tower is a ResNet, which is not supported; take a ViT (ViT-B/16, ViT-B/32, ViT-L/14)";
const FOREIGN_TEXT: &str = "its text tower is one of Hugging Face's (BERT, RoBERTa), which is not supported; take a CLIP of OpenAI's form";
const SIGLIP: &str = "it is a SigLIP, which is another model than CLIP and not supported";

/// Translates all names. `Err` says why the file cannot be CLIP.
pub fn recognise(tensors: BTreeMap<String, StoredTensor>) -> Result<Recognised, String> {
    for (part, reason) in FOREIGN {
        if tensors.keys().any(|name| name.starts_with(part) || name.contains(&format!(".{part}"))) {
            return Err(reason.to_owned());
        }
    }
    let places = find_places(&tensors);
    let Some(layout) = places.first().map(|place| place.layout) else {
        let some: Vec<_> = tensors.keys().take(3).map(|name| format!("`{name}`")).collect();
        return Err(format!(
            "none of its {} tensors has a name that CLIP's have in OpenAI's, OpenCLIP's or Hugging Face's layout; it has {}",
            tensors.len(),
            some.join(", ")
        ));
    };
    let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
    for (in_file, whole) in tensors {
        let found = places.iter().find_map(|place| place.find(&in_file));
        let Some(found) = found else {
            let last = in_file.rsplit('.').next().unwrap_or_default();
            if !IGNORED.contains(&last) {
                unknown.push(in_file);
            }
            continue;
        };
        for part in found {
            let tensor = match part.third {
                None => Some(whole.clone()),
                Some(third) => whole.part(third, 3),
            };
            let Some(mut tensor) = tensor else {
                return Err(format!(
                    "`{in_file}` stacks queries, keys and values, but its shape {:?} cannot be divided by 3",
                    whole.shape()
                ));
            };
            if part.transposed {
                tensor = tensor.transposed();
            }
            known.insert(part.canonical, Named { in_file: in_file.clone(), tensor });
        }
    }
    Ok(Recognised { layout, tensors: known, unknown })
}

/// The towers of a file; Hugging Face's and OpenAI's names do not mix.
fn find_places(tensors: &BTreeMap<String, StoredTensor>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for anchor in &ANCHORS {
        let mixes = |place: &Place| {
            (place.layout == Layout::HuggingFace) != (anchor.layout == Layout::HuggingFace)
        };
        if places.iter().any(|place| place.tower == anchor.tower || mixes(place)) {
            continue;
        }
        let prefix = |name: &&String| {
            anchor.names.iter().find_map(|end| {
                let prefix = name.strip_suffix(end)?.strip_suffix(anchor.cut)?;
                (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
            })
        };
        let prefix = tensors.keys().find_map(|name| prefix(&name));
        // A tower without `visual.` would claim every name of a text tower that is there.
        let claims_text = !anchor.insert.is_empty()
            && places.iter().any(|place| Some(&place.prefix) == prefix.as_ref());
        if let Some(prefix) = prefix.filter(|_| !claims_text) {
            let prefix = format!("{prefix}{}", anchor.cut);
            let (tower, layout, insert) = (anchor.tower, anchor.layout, anchor.insert);
            places.push(Place { tower, layout, prefix, insert });
        }
    }
    places
}

impl Place {
    /// What a tensor is in this tower.
    fn find(&self, in_file: &str) -> Option<Vec<Found>> {
        if in_file.rsplit('.').next() == Some(LOGIT_SCALE) {
            return Some(names::find(LOGIT_SCALE, self.layout));
        }
        let name = format!("{}{}", self.insert, in_file.strip_prefix(&self.prefix)?);
        let found = names::find(&name, self.layout);
        (!found.is_empty() && found.iter().all(|part| part.tower == Some(self.tower)))
            .then_some(found)
    }
}
