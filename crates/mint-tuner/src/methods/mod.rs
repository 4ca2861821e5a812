//! The methods, one file or folder each. What several of them use is beside this folder.

pub mod atpt;
pub mod boostadapter;
mod cocoop;
pub mod ctpt;
pub mod dota;
pub mod dpe;
mod maple;
mod mint;
pub mod mta;
pub mod oga;
pub mod onzeta;
mod sar;
pub mod tda;
pub mod tps;
pub mod tpt;
mod vte;
pub mod zero;
mod zero_shot;

pub use atpt::{AngleDirection, Atpt, AtptConfig};
pub use boostadapter::{Boostadapter, BoostadapterConfig};
pub use cocoop::{Cocoop, CocoopPrompts};
pub use ctpt::{Ctpt, CtptConfig};
pub use dota::{Dota, DotaConfig};
pub use dpe::{Dpe, DpeConfig};
pub use maple::{CoupledPrompt, Maple, MaplePrompts};
pub use mint::{
    Adaptation, DistanceSign, MemoryBank, Mint, MintConfig, PROMPT_ROWS, Queries, Step, Usage,
    UsageScaling,
};
pub use mta::{Mta, MtaConfig};
pub use oga::{Oga, OgaConfig, OgaEstimator};
pub use onzeta::{Onzeta, OnzetaConfig};
pub use sar::{NormObjective, NormTuning, NormUpdate, Sar, SarBatch, SarConfig, SarPrediction};
pub use tda::{Tda, TdaConfig};
pub use tps::{Tps, TpsConfig, TpsPrototypes};
pub use tpt::{Tpt, TptConfig};
pub use vte::{Vte, VteConfig};
pub use zero::{Zero, ZeroConfig};
pub use zero_shot::ZeroShot;
