//! The classes of ImageNet's validation images, from whichever file has them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::{GzDecoder, ZlibDecoder};

use crate::imagenet::ImageNet;
use crate::text::decode;

/// A file from which no classes can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroundTruthError {
    /// The file cannot be read.
    #[error("cannot read the labels `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file has another form.
    #[error(
        "the labels `{}`: {reason}; give `valprep.sh`, `LOC_val_solution.csv`, a list of synsets in the order of the images, or `ILSVRC2012_devkit_t12.tar.gz`",
        file.display()
    )]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the synset of each image, by the stem of its file's name.
///
/// | file | form |
/// | --- | --- |
/// | `valprep.sh` | lines `mv ILSVRC2012_val_00000293.JPEG n01440764/` |
/// | `LOC_val_solution.csv` | lines `ILSVRC2012_val_00048981,n03995372 85 1 499 272` |
/// | any text | one synset per line, in the order of the images |
/// | `ILSVRC2012_devkit_t12.tar.gz` | the official labels (`data/ILSVRC2012_validation_ground_truth.txt`) and synsets (`data/meta.mat`) |
///
/// # Errors
///
/// If the file cannot be read or has none of these forms, or names a class that ImageNet has not.
pub fn read_ground_truth(file: &Path) -> Result<BTreeMap<String, String>, GroundTruthError> {
    let read = |source| GroundTruthError::Read { file: file.to_owned(), source };
    let form = |reason| GroundTruthError::Form { file: file.to_owned(), reason };
    let bytes = std::fs::read(file).map_err(read)?;
    let classes = if bytes.starts_with(&[0x1f, 0x8b]) {
        from_devkit(&bytes).map_err(form)?
    } else {
        from_text(&decode(&bytes).map_err(form)?).map_err(form)?
    };
    let known: BTreeSet<&str> =
        ImageNet::facts().classes.iter().map(|class| class.synset.as_str()).collect();
    if let Some(unknown) = classes.values().find(|class| !known.contains(class.as_str())) {
        return Err(form(format!("`{unknown}` is not a class of ImageNet")));
    }
    if classes.is_empty() {
        return Err(form("it names no images".to_owned()));
    }
    Ok(classes)
}

/// `ILSVRC2012_val_00000001` for 1.
fn image_name(number: usize) -> String {
    format!("ILSVRC2012_val_{number:08}")
}

fn is_synset(word: &str) -> bool {
    word.len() == 9
        && word.strip_prefix('n').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn from_text(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut classes: BTreeMap<String, String> = BTreeMap::new();
    let (mut listed, mut named, mut unknown) = (0, 0, None);
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line
            .split([' ', ',', '\t', '/'])
            .map(|word| word.trim().trim_end_matches(".JPEG"))
            .filter(|word| !word.is_empty())
            .collect();
        let synset = words.iter().copied().find(|word| is_synset(word));
        let image = words.iter().copied().find(|word| word.starts_with("ILSVRC2012_val_"));
        let (image, synset) = match (image, synset) {
            (Some(image), Some(synset)) => {
                named += 1;
                (image.to_owned(), synset)
            }
            // The names of the class may follow.
            (None, Some(synset)) if words.first() == Some(&synset) => {
                listed += 1;
                (image_name(listed), synset)
            }
            (Some(_), None) => return Err(format!("line {number} has no synset")),
            _ if words.is_empty() || line.starts_with('#') => continue,
            _ => {
                unknown.get_or_insert(number);
                continue;
            }
        };
        match classes.insert(image, synset.to_owned()) {
            Some(other) if other != synset => {
                return Err(format!("line {number} has another class than a line before it"));
            }
            _ => {}
        }
    }
    match (listed, named, unknown) {
        (1.., 1.., _) => Err("some lines name images and some do not".to_owned()),
        // Skipping a line of a list would shift the labels of all later images.
        (1.., 0, Some(number)) => Err(format!("line {number} has no synset")),
        _ => Ok(classes),
    }
}

/// The labels number the synsets of `meta.mat`, whose first thousand are the classes.
fn from_devkit(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let damaged = |error: std::io::Error| format!("the archive is damaged: {error}");
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let (mut labels, mut meta) = (None, None);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.to_string_lossy().into_owned();
        let mut contents = Vec::new();
        if name.ends_with("ILSVRC2012_validation_ground_truth.txt") {
            entry.read_to_end(&mut contents).map_err(damaged)?;
            labels = Some(String::from_utf8_lossy(&contents).into_owned());
        } else if name.ends_with("meta.mat") {
            entry.read_to_end(&mut contents).map_err(damaged)?;
            meta = Some(contents);
        }
    }
    let (Some(labels), Some(meta)) = (labels, meta) else {
        return Err("it has no validation labels or no `meta.mat`".to_owned());
    };
    let synsets = synsets_of(&meta);
    let classes = ImageNet::facts().classes.len();
    let first: BTreeSet<&String> = synsets.iter().take(classes).collect();
    if first.len() != classes {
        return Err(format!("its `meta.mat` has {} of {classes} synsets", first.len()));
    }
    let class_of = |(index, line): (usize, &str)| {
        let label = line.trim().parse::<usize>().ok().filter(|label| (1..=classes).contains(label));
        let label = label.ok_or_else(|| format!("line {} is not a label", index + 1))?;
        Ok((image_name(index + 1), synsets[label - 1].clone()))
    };
    labels.lines().enumerate().map(class_of).collect()
}

/// Synset names in a MATLAB file of version 5, in their order. Its one variable is compressed after
/// a header of 128 bytes and a tag of 8.
fn synsets_of(meta: &[u8]) -> Vec<String> {
    let mut contents = Vec::new();
    let compressed = meta.get(136..).unwrap_or_default();
    if ZlibDecoder::new(compressed).read_to_end(&mut contents).is_err() || contents.is_empty() {
        contents = meta.to_vec();
    }
    let mut synsets: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for window in contents.windows(9) {
        if let Ok(word) = std::str::from_utf8(window)
            && is_synset(word)
            && seen.insert(word.to_owned())
        {
            synsets.push(word.to_owned());
        }
    }
    synsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_labels_is_read() {
        let expected: BTreeMap<String, String> = [
            ("ILSVRC2012_val_00000001".to_owned(), "n01751748".to_owned()),
            ("ILSVRC2012_val_00000002".to_owned(), "n09193705".to_owned()),
        ]
        .into();
        for text in [
            "#!/bin/bash\nmkdir -p n01751748\nmv ILSVRC2012_val_00000001.JPEG n01751748/\nmv ILSVRC2012_val_00000002.JPEG n09193705/\n",
            "ImageId,PredictionString\nILSVRC2012_val_00000001,n01751748 111 108 365 366\nILSVRC2012_val_00000002,n09193705 0 1 2 3 n09193705 4 5 6 7\n",
        ] {
            let mut classes = from_text(text).expect("a known form");
            classes.retain(|image, _| expected.contains_key(image));
            assert_eq!(classes, expected);
        }
        assert_eq!(from_text("n01751748\nn09193705\n").expect("a list"), expected);
        let described = "# of the devkit\nn01751748 sea snake\n\nn09193705\talp\n";
        assert_eq!(from_text(described).expect("a list"), expected);
        for (text, problem) in [
            ("n01751748\nmv ILSVRC2012_val_00000001.JPEG n01751748/", "some lines name images"),
            ("n01751748\nsea snake\nn09193705", "line 2 has no synset"),
            ("ILSVRC2012_val_00000001,n01751748\nILSVRC2012_val_00000001,n09193705", "line 2"),
            ("ILSVRC2012_val_00000001,\n", "line 1 has no synset"),
        ] {
            let error = from_text(text).expect_err("it is refused");
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn the_devkits_labels_number_its_synsets() {
        // The names lie in the variable in the order of the classes' numbers; others follow.
        let names = ImageNet::facts().classes.iter().rev().map(|class| class.synset.as_str());
        let mut contents = names.collect::<Vec<_>>().join("\0\0");
        contents.push_str(" n00001740");
        let mut meta = vec![0; 136];
        let mut encoder =
            flate2::write::ZlibEncoder::new(&mut meta, flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, contents.as_bytes()).expect("memory");
        encoder.finish().expect("memory");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::default(),
        ));
        let files: [(&str, &[u8]); 2] = [
            ("ILSVRC2012_devkit_t12/data/meta.mat", &meta),
            ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"1000\n1\n"),
        ];
        for (name, contents) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, name, contents).expect("memory");
        }
        let devkit = tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("memory");
        let classes = from_devkit(&devkit).expect("a devkit");
        assert_eq!(classes["ILSVRC2012_val_00000001"], "n01440764");
        assert_eq!(classes["ILSVRC2012_val_00000002"], "n15075141");
    }
}
