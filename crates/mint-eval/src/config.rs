//! Everything that decides the results of a run, apart from weights and data.

use std::path::PathBuf;
use std::str::FromStr;

use mint_tuner::{MintConfig, MtaConfig, TptConfig, ZeroConfig};
use serde::{Deserialize, Serialize};

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
    /// At most so many images of each set, the first in their order.
    pub limit: Option<usize>,
    /// Order of the images. MINT remembers, so its results depend on it.
    pub order: ImageOrder,
    /// One part of the images, for runs on several machines.
    pub shard: Option<Shard>,
    /// Where the context of learned prompts starts.
    pub context: Option<ContextStart>,
    /// Texts that ZERO and MTA compare views with.
    pub texts: Texts,
    /// Settings of MINT.
    pub mint: MintConfig,
    /// Settings of TPT.
    pub tpt: TptConfig,
    /// Settings of MTA.
    pub mta: MtaConfig,
    /// Settings of ZERO.
    pub zero: ZeroConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            methods: vec![MethodId::Mint],
            views: 64,
            seed: 0,
            limit: None,
            order: ImageOrder::Shuffled,
            shard: None,
            context: None,
            texts: Texts::Template,
            mint: MintConfig::default(),
            tpt: TptConfig::default(),
            mta: MtaConfig::default(),
            zero: ZeroConfig::default(),
        }
    }
}

/// A method by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodId {
    /// Zero-shot CLIP.
    Clip,
    /// Zero-shot with the mean of 80 templates.
    Ensemble,
    /// Zero-shot with a trained context.
    Coop,
    /// Test-time prompt tuning.
    Tpt,
    /// Mean-shift over the views' embeddings.
    Mta,
    /// Votes of the confident views.
    Zero,
    /// Memory-infused prompt tuning.
    Mint,
}

impl MethodId {
    /// All, in the order of the published table.
    pub const ALL: [MethodId; 7] = [
        MethodId::Clip,
        MethodId::Ensemble,
        MethodId::Coop,
        MethodId::Tpt,
        MethodId::Mta,
        MethodId::Zero,
        MethodId::Mint,
    ];

    /// The name used on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            MethodId::Clip => "clip",
            MethodId::Ensemble => "ensemble",
            MethodId::Coop => "coop",
            MethodId::Tpt => "tpt",
            MethodId::Mta => "mta",
            MethodId::Zero => "zero",
            MethodId::Mint => "mint",
        }
    }

    /// The name used in tables.
    pub fn title(self) -> &'static str {
        match self {
            MethodId::Clip => "CLIP zero-shot",
            MethodId::Ensemble => "Ensemble",
            MethodId::Coop => "CoOp",
            MethodId::Tpt => "TPT",
            MethodId::Mta => "MTA",
            MethodId::Zero => "ZERO",
            MethodId::Mint => "MINT",
        }
    }
}

impl FromStr for MethodId {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = MethodId::ALL.into_iter().find(|method| method.name() == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = MethodId::ALL.iter().map(|method| method.name()).collect();
            format!("`{name}` is not a known method; known are {} and `all`", known.join(", "))
        })
    }
}

/// Order of the images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageOrder {
    /// Shuffled once, from the seed.
    Shuffled,
    /// As the files are sorted.
    File,
}

/// What the views of methods without learning are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Texts {
    /// `a photo of a {}.`
    Template,
    /// The mean of 7 templates.
    #[serde(rename = "templates-7")]
    Templates7,
    /// The mean of 80 templates.
    #[serde(rename = "templates-80")]
    Templates80,
    /// The trained context.
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

impl Default for ContextStart {
    fn default() -> Self {
        Self::Words("a photo of a".to_owned())
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

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some(Shard { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        parts
            .filter(|shard| shard.index < shard.count)
            .ok_or_else(|| format!("`{text}` is not a part such as `0/4`, counted from 0"))
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        format!("{}/{}", shard.index, shard.count)
    }
}

impl RunConfig {
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
    fn shards_are_counted_from_zero() {
        assert_eq!("1/4".parse(), Ok(Shard { index: 1, count: 4 }));
        for text in ["4/4", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
