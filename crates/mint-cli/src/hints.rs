//! What to do about an error, in this program's words: the libraries know nothing of its options.

use mint_clip::WeightsError;
use mint_datasets::{FolderError, TestSet};
use mint_eval::{
    AlbumError, CalibrationError, ConfigError, EvalError, MethodId, RecordError, SetupError,
};

/// What to type or change; `None` if the message says it all.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        None.or_else(|| cause.downcast_ref().and_then(of_weights))
            .or_else(|| cause.downcast_ref().and_then(of_setup))
            .or_else(|| cause.downcast_ref().and_then(of_record))
            .or_else(|| cause.downcast_ref().and_then(of_evaluation))
            .or_else(|| cause.downcast_ref().and_then(of_config))
            .or_else(|| cause.downcast_ref().and_then(of_folder))
            .or_else(|| cause.downcast_ref().and_then(of_album))
            .or_else(|| cause.downcast_ref().and_then(of_calibration))
    })
}

fn of_folder(error: &FolderError) -> Option<String> {
    match error {
        FolderError::Flat { set: Some(TestSet::ImageNet), .. } => {
            Some("`mint-cli datasets doctor I --fix --labels FILE` sorts them".to_owned())
        }
        _ => None,
    }
}

fn of_weights(error: &WeightsError) -> Option<String> {
    let hint = match error {
        WeightsError::TowerMissing { .. } => {
            "give the file of the other tower as well (`--weights` once for each)"
        }
        WeightsError::LogitScale { .. } => "give the right one with `--logit-scale`",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_setup(error: &SetupError) -> Option<String> {
    let option = match error {
        SetupError::NoTrainedContext => "`--context`",
        SetupError::NoClassTexts => "`--class-texts`",
        SetupError::NoDescriptors => "`--descriptors`",
        SetupError::NoPrompts(MethodId::Cocoop) => "`--cocoop` (none is published)",
        SetupError::NoPrompts(MethodId::Maple) => "`--maple`",
        _ => return None,
    };
    Some(format!("give its file with {option}"))
}

fn of_record(error: &RecordError) -> Option<String> {
    let hint = match error {
        RecordError::Exists { .. } => {
            "resume the run in it with `--resume`, or name another folder with `--output`"
        }
        RecordError::Nothing { .. } => "leave `--resume` out to start one",
        RecordError::Locked { .. } => "wait for it, or name another folder with `--output`",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_evaluation(error: &EvalError) -> Option<String> {
    let hint = match error {
        EvalError::Image(_) => "without `--strict` it would be skipped",
        EvalError::NoImages(_) => "see `--limit` and `--shard`",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_config(error: &ConfigError) -> Option<String> {
    matches!(error, ConfigError::NoMethod).then(|| "name one with `--method`".to_owned())
}

fn of_album(error: &AlbumError) -> Option<String> {
    let hint = match error {
        AlbumError::Forgetful => {
            "leave `--memory` out, or name one with `--method` that does: mint, sar, tda, onzeta, boostadapter, dota, oga, dpe"
        }
        AlbumError::NoCount => {
            "write `images = 5000`, or how many there will be, under `[onzeta]` in a file for `--config`"
        }
        AlbumError::Batches => "write `batch = \"views\"` under `[sar]` in the file of `--config`",
        AlbumError::Other { .. } => {
            "give what the memory was made with, or name another file with `--memory` to start anew"
        }
        AlbumError::Foreign { .. } | AlbumError::Damaged { .. } => {
            "name another file with `--memory` to start anew; this one is left as it is"
        }
        AlbumError::Nothing { .. } => "leave `--resume` out to start anew",
        AlbumError::Locked { .. } => "wait for it, or name another file with `--memory`",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_calibration(error: &CalibrationError) -> Option<String> {
    let hint = match error {
        CalibrationError::Other { .. } | CalibrationError::NoMethod { .. } => {
            "give what it was fitted with, or fit anew with `--calibrate` and another `--calibration` file"
        }
        CalibrationError::Foreign { .. } => "name another file with `--calibration`",
        _ => return None,
    };
    Some(hint.to_owned())
}
