//! Everything that decides the results of a run, apart from weights and data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use mint_clip::Precision;
use mint_datasets::{Order, Orientation, TestSet};
use mint_tuner::{
    AtptConfig, BoostadapterConfig, CtptConfig, DotaConfig, DpeConfig, Lifetime, MethodError,
    MintConfig, MtaConfig, OgaConfig, OnzetaConfig, SarConfig, TdaConfig, TpsConfig, TptConfig,
    VteConfig, ZeroConfig,
};
use serde::{Deserialize, Serialize};

use crate::calibration::Temperature;
use crate::method_id::MethodId;
use crate::method_texts::MethodTexts;
use crate::texts::Texts;

/// Configuration of a run. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunConfig {
    /// Methods, in the order of their rows.
    pub methods: Vec<MethodId>,
    /// Views of each image, the clean one included.
    pub views: usize,
    /// Decides the order of the images and every random view.
    pub seed: u64,
    /// At most this many images of each set, the first in their order.
    pub limit: Option<usize>,
    /// Order of the images. MINT remembers, so its results depend on it.
    pub order: ImageOrder,
    /// Whether random views are mixed by AugMix.
    pub augmix: Mixing,
    /// Food101 with two class names exchanged, as in the published code of TPT and MINT.
    pub official_food101: bool,
    /// One part of the images, for runs on several machines.
    pub shard: Option<Shard>,
    /// Whether images are turned as the orientation in their files says (EXIF). The published results
    /// were made without.
    pub exif_orientation: bool,
    /// Type of the numbers in the towers.
    pub precision: Precision,
    /// Type of the numbers in the cache that embeddings come from; `None` if they are computed.
    pub cache: Option<CachePrecision>,
    /// Divides logits before they become probabilities; changes calibration and no ranking.
    pub temperature: f64,
    /// The same for single methods.
    pub temperatures: BTreeMap<MethodId, f64>,
    /// The share of each set's images, the first in their order, that each method's temperature is
    /// fitted on. They count for accuracy and not for calibration. `None` if it is fixed.
    pub fit_temperature: Option<f64>,
    /// Where the context of learned prompts starts.
    pub context: Option<ContextStart>,
    /// Checkpoint of CoCoOp.
    pub cocoop: Option<PathBuf>,
    /// Checkpoint of MaPLe.
    pub maple: Option<PathBuf>,
    /// What each method that learns a context starts from.
    pub starts: Starts,
    /// What each method with fixed texts compares images with.
    pub texts: MethodTexts,
    /// The template of images that belong to no test set, with `{}` where the name of a class goes, for
    /// the texts `set-template`.
    pub template: Option<String>,
    /// Texts of each class, for the texts `class-texts`: JSON from class names to lists of texts.
    pub class_texts: Option<PathBuf>,
    /// What tells each class from others, for TPS: JSON from class names to lists of phrases such as
    /// `a long tail`.
    pub descriptors: Option<PathBuf>,
    /// Settings of MINT.
    pub mint: MintConfig,
    /// Settings of TPT.
    pub tpt: TptConfig,
    /// Settings of SAR.
    pub sar: SarConfig,
    /// Settings of MTA.
    pub mta: MtaConfig,
    /// Settings of ZERO.
    pub zero: ZeroConfig,
    /// Settings of TDA.
    pub tda: TdaConfig,
    /// Settings of VTE.
    pub vte: VteConfig,
    /// Settings of OnZeta.
    pub onzeta: OnzetaConfig,
    /// Settings of C-TPT.
    pub ctpt: CtptConfig,
    /// Settings of A-TPT.
    pub atpt: AtptConfig,
    /// Settings of TPS.
    pub tps: TpsConfig,
    /// Settings of BoostAdapter.
    pub boostadapter: BoostadapterConfig,
    /// Settings of DOTA.
    pub dota: DotaConfig,
    /// Settings of OGA.
    pub oga: OgaConfig,
    /// Settings of DPE.
    pub dpe: DpeConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            methods: vec![MethodId::Mint],
            views: 64,
            seed: 0,
            limit: None,
            order: ImageOrder::Shuffled,
            augmix: Mixing::BySet,
            official_food101: false,
            shard: None,
            exif_orientation: false,
            precision: Precision::F32,
            cache: None,
            temperature: 1.0,
            temperatures: BTreeMap::new(),
            fit_temperature: None,
            context: None,
            cocoop: None,
            maple: None,
            starts: Starts::default(),
            texts: MethodTexts::default(),
            template: None,
            class_texts: None,
            descriptors: None,
            mint: MintConfig::default(),
            tpt: TptConfig::default(),
            sar: SarConfig::default(),
            mta: MtaConfig::default(),
            zero: ZeroConfig::default(),
            tda: TdaConfig::default(),
            vte: VteConfig::default(),
            onzeta: OnzetaConfig::default(),
            ctpt: CtptConfig::default(),
            atpt: AtptConfig::default(),
            tps: TpsConfig::default(),
            boostadapter: BoostadapterConfig::default(),
            dota: DotaConfig::default(),
            oga: OgaConfig::default(),
            dpe: DpeConfig::default(),
        }
    }
}

/// Order of the images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageOrder {
    /// Shuffled once, from the seed.
    Shuffled,
    /// As the files are sorted, or the test list has them.
    File,
    /// Class after class, shuffled within each.
    Classes,
    /// Classes in bursts, the shorter the larger this number: [`Order::Dirichlet`].
    Dirichlet(f64),
}

/// A text that is not an order of images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an order of images; orders are `shuffled`, `file`, `classes`, and `dirichlet:0.1` with any number above 0, up to a million"
)]
pub struct UnknownOrder(String);

impl ImageOrder {
    /// The order with a seed.
    pub fn seeded(self, seed: u64) -> Order {
        match self {
            Self::Shuffled => Order::Shuffled(seed),
            Self::File => Order::File,
            Self::Classes => Order::Classes(seed),
            Self::Dirichlet(concentration) => Order::Dirichlet { seed, concentration },
        }
    }
}

impl FromStr for ImageOrder {
    type Err = UnknownOrder;

    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        let unknown = || UnknownOrder(text.to_owned());
        match text {
            "shuffled" => Ok(Self::Shuffled),
            "file" => Ok(Self::File),
            "classes" => Ok(Self::Classes),
            _ => {
                let number = text.strip_prefix("dirichlet:").ok_or_else(unknown)?.parse().ok();
                let number = number.filter(|number: &f64| *number > 0.0 && *number <= 1e6);
                number.map(Self::Dirichlet).ok_or_else(unknown)
            }
        }
    }
}

impl TryFrom<String> for ImageOrder {
    type Error = UnknownOrder;

    fn try_from(text: String) -> Result<Self, UnknownOrder> {
        text.parse()
    }
}

impl From<ImageOrder> for String {
    fn from(order: ImageOrder) -> String {
        match order {
            ImageOrder::Shuffled => "shuffled".to_owned(),
            ImageOrder::File => "file".to_owned(),
            ImageOrder::Classes => "classes".to_owned(),
            ImageOrder::Dirichlet(concentration) => format!("dirichlet:{concentration}"),
        }
    }
}

/// Type of the numbers in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CachePrecision {
    /// Half precision: half the size; embeddings are rounded, whether read or just computed.
    #[default]
    F16,
    /// Single precision: scores are the same bytes as without a cache.
    F32,
}

/// Whether random views are mixed by AugMix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// Where the published code does: for the fine-grained sets.
    BySet,
    /// For every set.
    Always,
    /// For none.
    Never,
}

/// What each method that learns a context starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Starts {
    /// TPT's, whose published row starts from words.
    pub tpt: LearnedStart,
    /// C-TPT's, which starts from words too.
    pub ctpt: LearnedStart,
    /// A-TPT's, which starts from words too.
    pub atpt: LearnedStart,
    /// MINT's, whose published row starts from a trained context.
    pub mint: LearnedStart,
}

impl Default for Starts {
    fn default() -> Self {
        let words = LearnedStart::Words;
        Self { tpt: words, ctpt: words, atpt: words, mint: LearnedStart::Context }
    }
}

/// What a method that learns a context starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnedStart {
    /// The words `a photo of a`.
    Words,
    /// What `context` says; the words where it says nothing.
    Context,
}

/// Where a learned context starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextStart {
    /// A trained context: a file with the tensor `ctx`.
    File(PathBuf),
    /// The token embeddings of some words, such as `a photo of a`.
    Words(String),
    /// Four vectors drawn from a normal distribution with standard deviation 0.02.
    Random(u64),
}

impl ContextStart {
    /// The words that published rows start from without training.
    pub const WORDS: &str = "a photo of a";
}

impl Default for ContextStart {
    fn default() -> Self {
        Self::Words(Self::WORDS.to_owned())
    }
}

/// One of several equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// Which part, from 0.
    pub index: usize,
    /// Number of parts.
    pub count: usize,
}

/// A text that is not a part of a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part such as `0/4`, counted from 0")]
pub struct NotAShard(String);

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some(Shard { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        parts.filter(|shard| shard.index < shard.count).ok_or_else(|| NotAShard(text.to_owned()))
    }
}

impl TryFrom<String> for Shard {
    type Error = NotAShard;

    fn try_from(text: String) -> Result<Self, NotAShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        format!("{}/{}", shard.index, shard.count)
    }
}

/// The most views of an image. More would not fit into any machine's memory.
const MOST_VIEWS: usize = 4096;

/// A configuration that makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is nothing to run.
    #[error("no method is left to run")]
    NoMethod,
    /// A method is named twice.
    #[error("`{}` is named twice among the methods", .0.name())]
    Twice(MethodId),
    /// There are no views, or far too many.
    #[error("`views` is {0}: it must be from 1 to {MOST_VIEWS}")]
    Views(usize),
    /// There is no place for the name of a class, or several.
    #[error("`template` is `{0}`: it must have `{{}}` once, where the name of a class goes")]
    Template(String),
    /// Logits cannot be divided by this.
    #[error("`temperature` is {0}: it must be a number above 0")]
    Temperature(f64),
    /// No images, or all of them, would be held out.
    #[error("`fit-temperature` is {0}: it must be a number above 0 and below 1")]
    HeldOut(f64),
    /// A fitted temperature takes the place of a fixed one.
    #[error("a temperature is either fitted (`fit-temperature`) or fixed (`temperature`)")]
    FittedAndFixed,
    /// The settings of a method make no sense.
    #[error("{} cannot run with these settings", method.title())]
    Method {
        /// The method.
        method: MethodId,
        /// Which setting, and what it may be.
        source: MethodError,
    },
}

impl RunConfig {
    /// Whether the random views of a set are mixed by AugMix.
    pub fn mixes_views(&self, set: Option<TestSet>) -> bool {
        match self.augmix {
            Mixing::BySet => set.is_some_and(TestSet::mixes_views),
            Mixing::Always => true,
            Mixing::Never => false,
        }
    }

    /// What is made of the orientation that a file states.
    pub fn orientation(&self) -> Orientation {
        if self.exif_orientation { Orientation::Upright } else { Orientation::Stored }
    }

    /// Checks what does not depend on the model.
    ///
    /// # Errors
    ///
    /// If a setting of the run, or of a method that it runs, makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.methods.is_empty() {
            return Err(ConfigError::NoMethod);
        }
        if !(1..=MOST_VIEWS).contains(&self.views) {
            return Err(ConfigError::Views(self.views));
        }
        for &temperature in self.temperatures.values().chain([&self.temperature]) {
            if !(temperature > 0.0 && temperature.is_finite()) {
                return Err(ConfigError::Temperature(temperature));
            }
        }
        if let Some(template) = &self.template
            && template.matches("{}").count() != 1
        {
            return Err(ConfigError::Template(template.clone()));
        }
        if let Some(share) = self.fit_temperature {
            if !(share > 0.0 && share < 1.0) {
                return Err(ConfigError::HeldOut(share));
            }
            if self.temperature != 1.0 || !self.temperatures.is_empty() {
                return Err(ConfigError::FittedAndFixed);
            }
        }
        for (index, &method) in self.methods.iter().enumerate() {
            if self.methods[..index].contains(&method) {
                return Err(ConfigError::Twice(method));
            }
            let checked = match method {
                MethodId::Tpt => self.tpt.check(self.views),
                MethodId::Sar => self.sar.check(),
                MethodId::Mta => self.mta.check(self.views),
                MethodId::Zero => self.zero.check(self.views),
                MethodId::Mint => {
                    self.mint.check().and_then(|()| self.mint.chosen(self.views).map(drop))
                }
                MethodId::Tda => self.tda.check(self.views),
                MethodId::Vte => self.vte.check(self.views),
                MethodId::Onzeta => self.onzeta.check(),
                MethodId::Ctpt => self.ctpt.check(self.views),
                MethodId::Atpt => self.atpt.check(self.views),
                MethodId::Tps => self.tps.check(self.views),
                MethodId::Boostadapter => self.boostadapter.check(self.views),
                MethodId::Dota => self.dota.check(self.views),
                MethodId::Oga => self.oga.check(),
                MethodId::Dpe => self.dpe.check(self.views),
                MethodId::Clip
                | MethodId::Ensemble
                | MethodId::Coop
                | MethodId::Cocoop
                | MethodId::Maple => Ok(()),
            };
            checked.map_err(|source| ConfigError::Method { method, source })?;
        }
        Ok(())
    }

    /// Whether a method that runs has a place for the texts of `class-texts`.
    pub fn uses_class_texts(&self) -> bool {
        self.methods.iter().any(|&method| {
            let adds_them = method == MethodId::Dpe && self.dpe.with_class_texts;
            adds_them || self.texts.of(method) == Some(Texts::ClassTexts)
        })
    }

    /// What divides a method's logits on a set, of which `n_images` will be classified.
    pub(crate) fn temperature(&self, method: MethodId, n_images: usize) -> Temperature {
        match self.fit_temperature {
            Some(share) => Temperature::Fitting {
                images: ((n_images as f64 * share) as usize).max(1),
                held_out: Vec::new(),
            },
            None => Temperature::Fixed(self.fixed_temperature(method)),
        }
    }

    /// What divides a method's logits where nothing is fitted.
    pub fn fixed_temperature(&self, method: MethodId) -> f64 {
        self.temperatures.get(&method).copied().unwrap_or(self.temperature)
    }

    /// The methods whose results depend on the images before.
    pub fn remembering(&self) -> Vec<MethodId> {
        let remembers = |id: &MethodId| match id {
            MethodId::Mint => self.mint.bank_lifetime != Lifetime::Image,
            MethodId::Sar => self.sar.lifetime != Lifetime::Image,
            MethodId::Tda
            | MethodId::Onzeta
            | MethodId::Boostadapter
            | MethodId::Dota
            | MethodId::Oga
            | MethodId::Dpe => true,
            _ => false,
        };
        self.methods.iter().copied().filter(remembers).collect()
    }

    /// The images of a set of `images` that this run goes through, given their order.
    pub fn select(&self, mut order: Vec<usize>) -> Vec<usize> {
        order.truncate(self.limit.unwrap_or(usize::MAX));
        match self.shard {
            None => order,
            Some(Shard { index, count }) => order.into_iter().skip(index).step_by(count).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_divide_the_limited_images() {
        let part = |index| {
            let shard = Some(Shard { index, count: 3 });
            RunConfig { limit: Some(8), shard, ..RunConfig::default() }.select((0..100).collect())
        };
        assert_eq!([part(0), part(1), part(2)], [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
    }

    #[test]
    fn orders_are_written_as_they_are_read() {
        for order in ["shuffled", "file", "classes", "dirichlet:0.1"] {
            let parsed: ImageOrder = order.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(String::from(parsed), order);
        }
        for text in ["random", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:nan", "File"] {
            assert!(text.parse::<ImageOrder>().is_err(), "{text}");
        }
    }

    #[test]
    fn views_are_mixed_where_the_published_code_mixes_them() {
        let pets = "pets".parse().ok();
        let mixes = |augmix, set| RunConfig { augmix, ..RunConfig::default() }.mixes_views(set);
        assert!(mixes(Mixing::BySet, pets) && !mixes(Mixing::Never, pets));
        assert!(!mixes(Mixing::BySet, Some(TestSet::ImageNetR)) && !mixes(Mixing::BySet, None));
        assert!(mixes(Mixing::Always, None));
    }

    #[test]
    fn shards_are_counted_from_zero() {
        assert_eq!("1/4".parse(), Ok(Shard { index: 1, count: 4 }));
        for text in ["4/4", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
