//! The test sets that are known by name.

use std::fmt;
use std::str::FromStr;

use crate::corruption::Corruption;
use crate::fine_grained::FineGrained;
use crate::imagenet::{Class, ImageNet};

/// A published test set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TestSet {
    /// ImageNet-A: natural photographs that a ResNet-50 gets wrong.
    ImageNetA,
    /// ImageNet-R: renditions such as paintings and toys.
    ImageNetR,
    /// ImageNet-V2, matched frequency: photographs collected anew.
    ImageNetV2,
    /// ImageNet-Sketch: black and white drawings.
    ImageNetSketch,
    /// ImageNet's validation images.
    ImageNet,
    /// ImageNet's validation images with a corruption.
    ImageNetC(Corruption),
    /// A fine-grained set.
    FineGrained(FineGrained),
}

/// How the folders of a test set are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderNames {
    /// WordNet identifiers such as `n01440764`.
    Synsets,
    /// The number of the class, `0` to `999`.
    Numbers,
}

/// A name that is not a test set's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known test set")]
pub struct UnknownTestSet(pub String);

impl TestSet {
    /// ImageNet's sets, in the order of the published table.
    pub const IMAGENET: [TestSet; 5] = [
        TestSet::ImageNetA,
        TestSet::ImageNetR,
        TestSet::ImageNetV2,
        TestSet::ImageNetSketch,
        TestSet::ImageNet,
    ];

    /// All but the corruptions, in the order of the published tables.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::IMAGENET.into_iter().chain(FineGrained::ALL.map(Self::FineGrained))
    }

    /// The name used on the command line and in records: a letter for ImageNet's sets.
    pub fn id(self) -> &'static str {
        match self {
            Self::ImageNetA => "A",
            Self::ImageNetR => "R",
            Self::ImageNetV2 => "V",
            Self::ImageNetSketch => "K",
            Self::ImageNet => "I",
            Self::ImageNetC(corruption) => corruption.id(),
            Self::FineGrained(set) => &set.facts().id,
        }
    }

    /// The name used in texts.
    pub fn title(self) -> String {
        match self {
            Self::ImageNetA => "ImageNet-A".to_owned(),
            Self::ImageNetR => "ImageNet-R".to_owned(),
            Self::ImageNetV2 => "ImageNet-V2".to_owned(),
            Self::ImageNetSketch => "ImageNet-Sketch".to_owned(),
            Self::ImageNet => "ImageNet".to_owned(),
            Self::ImageNetC(corruption) => {
                let kind = corruption.kind().replace('_', " ");
                format!("ImageNet-C ({kind}, severity {})", corruption.severity())
            }
            Self::FineGrained(set) => set.facts().title.clone(),
        }
    }

    /// Where the images are found below a data folder, likeliest first.
    pub fn folders(self) -> Vec<String> {
        let places: &[&str] = match self {
            Self::ImageNetA => &["imagenet-a", "imagenet-adversarial/imagenet-a"],
            Self::ImageNetR => &["imagenet-r", "imagenet-rendition/imagenet-r"],
            Self::ImageNetV2 => &[
                "imagenetv2-matched-frequency-format-val",
                "imagenetv2-matched-frequency",
                "imagenetv2/imagenetv2-matched-frequency-format-val",
                "imagenetv2",
            ],
            Self::ImageNetSketch => {
                &["imagenet-sketch", "ImageNet-Sketch", "imagenet-sketch/images", "sketch"]
            }
            Self::ImageNet => {
                &["imagenet/val", "ImageNet/val", "imagenet/images/val", "imagenet", "ImageNet"]
            }
            Self::ImageNetC(corruption) => {
                let (kind, severity) = (corruption.kind(), corruption.severity());
                let places = ["imagenet-c", "ImageNet-C", "imagenet_c", "imagenetc", "."];
                let group = corruption.group();
                let plain = places.map(|place| format!("{place}/{kind}/{severity}"));
                let grouped = places.map(|place| format!("{place}/{group}/{kind}/{severity}"));
                return plain.into_iter().chain(grouped).collect();
            }
            Self::FineGrained(set) => return set.facts().folders.clone(),
        };
        places.iter().map(|&place| place.to_owned()).collect()
    }

    /// Where the set is available from.
    pub fn origin(self) -> &'static str {
        match self {
            Self::ImageNetA => "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
            Self::ImageNetR => "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
            Self::ImageNetV2 => "https://huggingface.co/datasets/vaishaal/ImageNetV2",
            Self::ImageNetSketch => "https://github.com/HaohanWang/ImageNet-Sketch",
            Self::ImageNet => "https://image-net.org (registration needed)",
            Self::ImageNetC(_) => "https://zenodo.org/records/2235448",
            Self::FineGrained(set) => match set {
                FineGrained::Flower102 => "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
                FineGrained::Dtd => "https://www.robots.ox.ac.uk/~vgg/data/dtd",
                FineGrained::Pets => "https://www.robots.ox.ac.uk/~vgg/data/pets",
                FineGrained::Cars => {
                    "https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset (its own host is gone)"
                }
                FineGrained::Ucf101 => {
                    "https://drive.google.com/file/d/10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O (middle frames)"
                }
                FineGrained::Caltech101 => "https://data.caltech.edu/records/mzrjq-6wc02",
                FineGrained::Food101 => "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                FineGrained::Sun397 => {
                    "https://opendatalab.com/OpenDataLab/SUN397 (its own host is gone)"
                }
                FineGrained::Aircraft => "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
                FineGrained::Eurosat => "https://huggingface.co/datasets/torchgeo/eurosat",
            },
        }
    }

    /// The images' licence, as far as it is known.
    pub fn licence(self) -> &'static str {
        match self {
            Self::ImageNetA | Self::ImageNetR | Self::ImageNetV2 => "MIT (the collection)",
            Self::ImageNetSketch => "not established",
            Self::ImageNet => "research only, by agreement",
            Self::ImageNetC(_) => "CC BY 4.0 (the collection)",
            Self::FineGrained(set) => &set.facts().licence,
        }
    }

    /// Number of images in the complete set.
    pub fn n_images(self) -> usize {
        match self {
            Self::ImageNetA => 7_500,
            Self::ImageNetR => 30_000,
            Self::ImageNetV2 => 10_000,
            Self::ImageNetSketch => 50_889,
            Self::ImageNet | Self::ImageNetC(_) => 50_000,
            Self::FineGrained(set) => set.facts().images,
        }
    }

    /// Names of the classes in label order.
    pub fn class_names(self) -> Vec<String> {
        match self {
            Self::FineGrained(set) => set.facts().names.clone(),
            _ => self.synsets().into_iter().map(|class| class.name.clone()).collect(),
        }
    }

    /// The set's own template by CoOp, with `{}` where the class name goes.
    pub fn template(self) -> &'static str {
        match self {
            Self::FineGrained(set) => &set.facts().template,
            _ => "a photo of a {}.",
        }
    }

    /// The templates whose mean the published code of DOTA, BoostAdapter and DPE takes for the set:
    /// OpenAI's 7 or 80, or the set's own alone.
    pub fn ensemble(self) -> Vec<String> {
        let facts = ImageNet::facts();
        match self {
            Self::ImageNetR | Self::ImageNetSketch => facts.templates_80.clone(),
            Self::FineGrained(set) if !["caltech101", "cars", "sun397"].contains(&self.id()) => {
                vec![set.facts().template.clone()]
            }
            _ => facts.templates_7.clone(),
        }
    }

    /// Whether the published code mixes the random views of this set by AugMix.
    pub fn mixes_views(self) -> bool {
        matches!(self, Self::FineGrained(_))
    }

    /// How the class folders are named; `None` if the set is a list of files.
    pub fn folder_names(self) -> Option<FolderNames> {
        match self {
            Self::ImageNetV2 => Some(FolderNames::Numbers),
            Self::FineGrained(_) => None,
            _ => Some(FolderNames::Synsets),
        }
    }

    /// Names of the class folders in label order; none if the set is a list of files.
    pub fn class_folders(self) -> Vec<String> {
        let classes = self.synsets();
        match self.folder_names() {
            Some(FolderNames::Numbers) => {
                (0..classes.len()).map(|class| class.to_string()).collect()
            }
            _ => classes.iter().map(|class| class.synset.clone()).collect(),
        }
    }

    /// ImageNet's classes of the set in label order; none for other sets.
    pub fn synsets(self) -> Vec<&'static Class> {
        let facts = ImageNet::facts();
        let subset = |labels: &'static [usize]| -> Vec<&'static Class> {
            labels.iter().map(|&label| &facts.classes[label]).collect()
        };
        match self {
            Self::ImageNetA => subset(&facts.imagenet_a),
            Self::ImageNetR => subset(&facts.imagenet_r),
            Self::FineGrained(_) => Vec::new(),
            _ => facts.classes.iter().collect(),
        }
    }
}

impl FromStr for TestSet {
    type Err = UnknownTestSet;

    /// Case does not matter, nor do the usual other names: `oxford_pets`, `StanfordCars`,
    /// `C-fog-5`.
    fn from_str(name: &str) -> Result<Self, UnknownTestSet> {
        let typed = name.trim();
        if let Some((kind, severity)) = ["C-", "c-"]
            .iter()
            .find_map(|start| typed.strip_prefix(start))
            .and_then(|rest| rest.rsplit_once('-'))
        {
            let corruption = severity.parse().ok().and_then(|number| Corruption::new(kind, number));
            return corruption.map(Self::ImageNetC).ok_or_else(|| UnknownTestSet(name.to_owned()));
        }
        let is = |known: &str| known.eq_ignore_ascii_case(typed);
        let matches = |set: &Self| {
            let aliases = match set {
                Self::FineGrained(set) => &set.facts().aliases[..],
                _ => &[],
            };
            is(set.id()) || is(&set.title()) || aliases.iter().any(|alias| is(alias))
        };
        Self::all().find(matches).ok_or_else(|| UnknownTestSet(name.to_owned()))
    }
}

impl fmt::Display for TestSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.title())
    }
}
