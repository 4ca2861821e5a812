//! The test sets that are known by a letter.

use std::fmt;
use std::str::FromStr;

use crate::imagenet::{Class, ImageNet};

/// A published test set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// All, in the order of the published table.
    pub const ALL: [TestSet; 5] = [
        TestSet::ImageNetA,
        TestSet::ImageNetR,
        TestSet::ImageNetV2,
        TestSet::ImageNetSketch,
        TestSet::ImageNet,
    ];

    /// The letter used on the command line.
    pub fn id(self) -> &'static str {
        match self {
            TestSet::ImageNetA => "A",
            TestSet::ImageNetR => "R",
            TestSet::ImageNetV2 => "V",
            TestSet::ImageNetSketch => "K",
            TestSet::ImageNet => "I",
        }
    }

    /// The name used in tables.
    pub fn title(self) -> &'static str {
        match self {
            TestSet::ImageNetA => "ImageNet-A",
            TestSet::ImageNetR => "ImageNet-R",
            TestSet::ImageNetV2 => "ImageNet-V2",
            TestSet::ImageNetSketch => "ImageNet-Sketch",
            TestSet::ImageNet => "ImageNet",
        }
    }

    /// Where the folder of classes is found below the data folder, likeliest first.
    pub fn folders(self) -> &'static [&'static str] {
        match self {
            TestSet::ImageNetA => &["imagenet-a", "imagenet-adversarial/imagenet-a"],
            TestSet::ImageNetR => &["imagenet-r", "imagenet-rendition/imagenet-r"],
            TestSet::ImageNetV2 => &[
                "imagenetv2-matched-frequency-format-val",
                "imagenetv2-matched-frequency",
                "imagenetv2/imagenetv2-matched-frequency-format-val",
                "imagenetv2",
            ],
            TestSet::ImageNetSketch => {
                &["imagenet-sketch", "ImageNet-Sketch", "imagenet-sketch/images", "sketch"]
            }
            TestSet::ImageNet => {
                &["imagenet/val", "ImageNet/val", "imagenet/images/val", "imagenet", "ImageNet"]
            }
        }
    }

    /// Where the set is available from.
    pub fn origin(self) -> &'static str {
        match self {
            TestSet::ImageNetA => "https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",
            TestSet::ImageNetR => "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
            TestSet::ImageNetV2 => "https://huggingface.co/datasets/vaishaal/ImageNetV2",
            TestSet::ImageNetSketch => "https://github.com/HaohanWang/ImageNet-Sketch",
            TestSet::ImageNet => "https://image-net.org (registration needed)",
        }
    }

    /// Number of images in the complete set.
    pub fn n_images(self) -> usize {
        match self {
            TestSet::ImageNetA => 7_500,
            TestSet::ImageNetR => 30_000,
            TestSet::ImageNetV2 => 10_000,
            TestSet::ImageNetSketch => 50_889,
            TestSet::ImageNet => 50_000,
        }
    }

    /// How the folders are named.
    pub fn folder_names(self) -> FolderNames {
        match self {
            TestSet::ImageNetV2 => FolderNames::Numbers,
            _ => FolderNames::Synsets,
        }
    }

    /// The classes in label order.
    pub fn classes(self) -> Vec<&'static Class> {
        let facts = ImageNet::facts();
        let subset = |labels: &'static [usize]| -> Vec<&'static Class> {
            labels.iter().map(|&label| &facts.classes[label]).collect()
        };
        match self {
            TestSet::ImageNetA => subset(&facts.imagenet_a),
            TestSet::ImageNetR => subset(&facts.imagenet_r),
            _ => facts.classes.iter().collect(),
        }
    }
}

impl FromStr for TestSet {
    type Err = UnknownTestSet;

    fn from_str(name: &str) -> Result<Self, UnknownTestSet> {
        let matches = |set: &TestSet| {
            set.id().eq_ignore_ascii_case(name) || set.title().eq_ignore_ascii_case(name)
        };
        TestSet::ALL.into_iter().find(matches).ok_or_else(|| UnknownTestSet(name.to_owned()))
    }
}

impl fmt::Display for TestSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.title())
    }
}
