//! The ten fine-grained sets of the CoOp and TPT protocol: class names, templates and test lists.

use std::sync::LazyLock;

use lzma_rust2::XzReader;
use serde::Deserialize;

/// A fine-grained set. The order is that of the published tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FineGrained {
    /// 102 kinds of flowers.
    Flower102,
    /// 47 textures.
    Dtd,
    /// 37 breeds of cats and dogs.
    Pets,
    /// 196 models of cars.
    Cars,
    /// 101 actions, one frame of each video.
    Ucf101,
    /// 100 kinds of objects.
    Caltech101,
    /// 101 dishes.
    Food101,
    /// 397 kinds of places.
    Sun397,
    /// 100 variants of aircraft.
    Aircraft,
    /// 10 kinds of land, seen by a satellite.
    Eurosat,
}

/// What is known of a fine-grained set: `data/fine-grained.json`.
#[derive(Debug, Deserialize)]
pub struct FineGrainedFacts {
    /// The name on the command line.
    pub id: String,
    /// The name in tables.
    pub title: String,
    /// Other names that people type.
    pub aliases: Vec<String>,
    /// Number of images in the test list.
    pub images: usize,
    /// CoOp's template of the set, with `{}` where the class name goes.
    pub template: String,
    /// The file with the protocol's split, which takes precedence over the embedded list.
    pub split: Option<String>,
    /// The images' licence, as far as it is known.
    pub licence: String,
    /// Places below a data folder, likeliest first.
    pub folders: Vec<String>,
    /// Class names in label order.
    pub names: Vec<String>,
}

#[derive(Deserialize)]
struct AllFacts {
    templates_7: Vec<String>,
    templates_7_sets: Vec<String>,
    sets: Vec<FineGrainedFacts>,
}

static FACTS: LazyLock<AllFacts> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/fine-grained.json"))
        .expect("the embedded facts are valid")
});

impl FineGrained {
    /// All, in the order of the published tables.
    pub const ALL: [Self; 10] = [
        Self::Flower102,
        Self::Dtd,
        Self::Pets,
        Self::Cars,
        Self::Ucf101,
        Self::Caltech101,
        Self::Food101,
        Self::Sun397,
        Self::Aircraft,
        Self::Eurosat,
    ];

    /// What is known of the set.
    pub fn facts(self) -> &'static FineGrainedFacts {
        &FACTS.sets[self as usize]
    }

    /// The templates of TDA's published code: seven for some sets, CoOp's for the others.
    pub fn tda_templates(self) -> &'static [String] {
        let facts = self.facts();
        if FACTS.templates_7_sets.contains(&facts.id) {
            &FACTS.templates_7
        } else {
            std::slice::from_ref(&facts.template)
        }
    }

    /// The test list: paths below the set's folder, and labels, in the list's own order.
    #[expect(clippy::missing_panics_doc, reason = "the lists are embedded and tested")]
    pub fn test_list(self) -> Vec<(String, usize)> {
        let packed: &[u8] = match self {
            Self::Flower102 => include_bytes!("../data/test-lists/flower102.json.xz"),
            Self::Dtd => include_bytes!("../data/test-lists/dtd.json.xz"),
            Self::Pets => include_bytes!("../data/test-lists/pets.json.xz"),
            Self::Cars => include_bytes!("../data/test-lists/cars.json.xz"),
            Self::Ucf101 => include_bytes!("../data/test-lists/ucf101.json.xz"),
            Self::Caltech101 => include_bytes!("../data/test-lists/caltech101.json.xz"),
            Self::Food101 => include_bytes!("../data/test-lists/food101.json.xz"),
            Self::Sun397 => include_bytes!("../data/test-lists/sun397.json.xz"),
            Self::Aircraft => include_bytes!("../data/test-lists/aircraft.json.xz"),
            Self::Eurosat => include_bytes!("../data/test-lists/eurosat.json.xz"),
        };
        serde_json::from_reader(XzReader::new(packed, false)).expect("the embedded list is valid")
    }
}

/// The labels whose names the list of TPT's and MINT's code exchanges: `cheese_plate` and
/// `cheesecake` of Food101 (issue 17 of azshue/TPT).
pub const EXCHANGED_FOOD: [usize; 2] = [16, 17];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_list_has_the_protocols_images_of_every_class() {
        let expected = [2463, 1692, 3669, 8041, 3783, 2465, 30300, 19850, 3333, 8100];
        for (set, images) in FineGrained::ALL.into_iter().zip(expected) {
            let (facts, list) = (set.facts(), set.test_list());
            assert_eq!((list.len(), facts.images), (images, images), "{}", facts.id);
            let labels: BTreeSet<usize> = list.iter().map(|(_, label)| *label).collect();
            assert_eq!(labels, (0..facts.names.len()).collect(), "{}", facts.id);
            let paths: BTreeSet<&str> = list.iter().map(|(path, _)| &**path).collect();
            assert_eq!(paths.len(), images, "{}: no path twice", facts.id);
            assert!(paths.iter().all(|path| !path.starts_with('/') && !path.contains("..")));
        }
    }

    #[test]
    fn names_and_templates_are_in_order() {
        let food = FineGrained::Food101.facts();
        assert_eq!(EXCHANGED_FOOD.map(|label| &*food.names[label]), ["cheese_plate", "cheesecake"]);
        assert_eq!(food.template, "a photo of {}, a type of food.");
        assert_eq!(FineGrained::Sun397.tda_templates().len(), 7);
        assert_eq!(FineGrained::Pets.tda_templates(), ["a photo of a {}, a type of pet."]);
        let ids = FineGrained::ALL.map(|set| &*set.facts().id);
        assert_eq!(ids[..3], ["flower102", "dtd", "pets"]);
    }
}
