//! Sets that a list names: a CSV, TSV or JSON-lines file of paths and classes, or tar files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::decode::EXTENSIONS;
use crate::image_set::{ImageSet, LabelledImage, Source};
use crate::listed_labels::{ListError, labelled};
use crate::shards;
use crate::text::{decode, delimiter};

/// Names that a header gives the column of paths.
const PATH_COLUMNS: [&str; 9] = [
    "path",
    "file",
    "filename",
    "image",
    "image_path",
    "filepath",
    "file_path",
    "file_name",
    "image_file",
];
/// Names that a header gives the column of classes.
const CLASS_COLUMNS: [&str; 7] =
    ["label", "class", "class_name", "classname", "target", "category", "class_id"];

/// Opens a set that a list names.
///
/// | path | form |
/// | --- | --- |
/// | `.csv`, `.tsv` | columns such as `path` and `label`, or a path and a class without a header |
/// | `.jsonl`, `.json` | one object per line, or a list of objects, with such keys; or an object from paths to classes |
/// | `.txt` | a path and, after the last blank, a class per line |
/// | `.tar`, or a folder of them | a webdataset: a picture and `.cls` (class number) or `.txt` (class name) per key |
///
/// Paths are relative to the list's folder. Classes are names, or numbers from 0 if class names are
/// given. Without given names the classes are the names that occur, sorted.
///
/// # Errors
///
/// If a file cannot be read or has another form, or a class is not among the names.
pub fn open_image_list(
    path: &Path,
    class_names: Option<Vec<String>>,
) -> Result<ImageSet, ListError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if path.is_dir() || ending == "tar" || ending == "tgz" || name.ends_with(".tar.gz") {
        return shards::open(path, class_names);
    }
    let bytes =
        std::fs::read(path).map_err(|source| ListError::Read { file: path.to_owned(), source })?;
    let form = |reason| ListError::Form { file: path.to_owned(), reason };
    let text = &decode(&bytes).map_err(form)?;
    let entries = match ending.as_str() {
        "jsonl" | "ndjson" => from_json_lines(text),
        "json" => from_json(text),
        "tsv" => from_table(text, b'\t'),
        "txt" if !text.contains([',', ';', '\t']) => from_lines(text),
        _ => from_table(text, delimiter(text)),
    };
    let entries = entries.map_err(form)?;
    if let Some(reason) = header_in_other_words(&entries) {
        return Err(form(reason));
    }
    let (class_names, labels) = labelled(path, &entries, class_names)?;
    let images = entries.into_iter().zip(labels);
    let images: Vec<_> = images.map(|((path, _), label)| LabelledImage { path, label }).collect();
    let repeated = LabelledImage::repeated(&images).map_err(form)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ImageSet {
        id: name.clone(),
        title: name,
        test_set: None,
        class_names,
        images,
        warnings: Vec::from_iter(repeated),
        source: Source::Folder(folder_of(path)),
    })
}

/// The folder of a file: `.` if its path is a name alone.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn from_table(text: &str, delimiter: u8) -> Result<Vec<(PathBuf, String)>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut columns = (0, 1);
    let mut entries = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = |known: &[&str]| {
            let plain = |cell: &str| cell.to_lowercase().replace([' ', '-'], "_");
            record.iter().position(|cell| known.contains(&plain(cell).as_str()))
        };
        match (place(&PATH_COLUMNS), place(&CLASS_COLUMNS)) {
            (Some(path), Some(class)) if index == 0 => {
                columns = (path, class);
                continue;
            }
            (Some(_), None) if index == 0 => {
                return Err(format!(
                    "line {line} has a column of paths and none of classes; call it `label`"
                ));
            }
            (None, Some(_)) if index == 0 => {
                return Err(format!(
                    "line {line} has a column of classes and none of paths; call it `path`"
                ));
            }
            _ => {}
        }
        match (record.get(columns.0), record.get(columns.1)) {
            (Some(path), Some(class)) if path.contains('\n') || class.contains('\n') => {
                return Err(format!("a quote that line {line} opens is not closed there"));
            }
            (Some(path), Some(class)) if !path.is_empty() && !class.is_empty() => {
                entries.push((PathBuf::from(path), class.to_owned()));
            }
            _ if record.iter().all(str::is_empty) => {}
            _ => return Err(format!("line {line} has no path and class")),
        }
    }
    Ok(entries)
}

/// Lines of a path and a class with a blank between them, as Caffe has them. Paths may hold blanks.
fn from_lines(text: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let entry = |(index, line): (usize, &str)| match line.rsplit_once(char::is_whitespace) {
        Some((path, class)) => Ok((PathBuf::from(path.trim_end()), class.to_owned())),
        None => Err(format!("line {} has no path and class", index + 1)),
    };
    lines.map(entry).collect()
}

fn from_json_lines(text: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entry = |(index, line): (usize, &str)| {
        let what = format!("line {}", index + 1);
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("{what} is not JSON: {error}"))?;
        from_object(&value, &what)
    };
    lines.map(entry).collect()
}

fn from_json(text: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let of_path = |(path, class): (&String, &Value)| match class_of(class) {
        Some(class) => Ok((PathBuf::from(path), class)),
        None => Err(format!("`{path}` has no class")),
    };
    let entry = |(index, value)| from_object(value, &format!("entry {}", index + 1));
    match &value {
        Value::Array(entries) => entries.iter().enumerate().map(entry).collect(),
        Value::Object(entries) => entries.iter().map(of_path).collect(),
        _ => Err("it is neither a list of objects nor an object of paths and classes".to_owned()),
    }
}

fn from_object(value: &Value, what: &str) -> Result<(PathBuf, String), String> {
    let found = |known: &[&str]| known.iter().find_map(|key| value.get(key));
    let path = found(&PATH_COLUMNS).and_then(Value::as_str);
    let class = found(&CLASS_COLUMNS).and_then(class_of);
    match (path, class) {
        (Some(path), Some(class)) => Ok((path.into(), class)),
        _ => Err(format!("{what} has no `path` and `label`")),
    }
}

/// A class as JSON has it: a name or a number.
fn class_of(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a header in other words looks like: a first entry that is called as no picture is.
fn header_in_other_words(entries: &[(PathBuf, String)]) -> Option<String> {
    let is_picture = |path: &Path| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        EXTENSIONS.contains(&ending.as_str())
    };
    let (first, class) = entries.first().filter(|_| entries.len() > 1)?;
    let others = entries[1..].iter().all(|(path, _)| is_picture(path));
    (others && !is_picture(first)).then(|| {
        format!(
            "line 1 has `{}` and `{class}`, which are no picture and its class; call the columns `path` and `label`",
            first.display()
        )
    })
}
