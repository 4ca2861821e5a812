//! Class names from a file of the user's.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::text::{decode, delimiter};

/// The most that a message quotes of a file, in characters.
const QUOTED: usize = 60;

/// Names that a header gives the column of names, in order of preference.
const NAME_COLUMNS: [&str; 6] = ["class_name", "classname", "name", "class", "label", "category"];

/// Names that a header gives the column of class numbers.
const NUMBER_COLUMNS: [&str; 6] = ["index", "idx", "id", "class_id", "class_index", "number"];

/// A file of class names that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassNamesError {
    /// The file cannot be read.
    #[error("cannot read the class names `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A `.json` file is not JSON.
    #[error("the class names `{}` are not valid JSON", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Why not, with the line.
        source: serde_json::Error,
    },
    /// The contents have none of the supported forms.
    #[error("the class names `{}`: {reason}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the line, and what is right.
        reason: String,
    },
    /// There is no name in the file.
    #[error("`{}` holds no class names; write one per line, or a JSON list", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
}

/// Class names in the order of their classes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassNames {
    /// The names.
    pub names: Vec<String>,
    /// Where each of them stands, for messages: `line 3`, `entry 2`.
    pub places: Vec<String>,
}

/// A name, and where it stands.
struct Placed {
    place: String,
    name: String,
}

/// Reads class names in the order of their classes.
///
/// | file | form |
/// | --- | --- |
/// | `.json` | a list of names; an object from class numbers to names or to pairs (`["n01440764", "tench"]`), from ids such as `n01440764` to names, or from names to class numbers |
/// | `.csv`, `.tsv` | names alone; or a header with a column such as `name`, and maybe one such as `index`; or class numbers and names |
/// | other | one name per line; empty lines and lines that start with `#` are skipped; a name may follow its class number and a comma, semicolon, colon or tab, or any id and a tab |
///
/// Texts are UTF-8, or UTF-16 with a byte order mark. Class numbers start at 0 or 1 and leave none out.
///
/// # Errors
///
/// If the file cannot be read, is in another encoding or form, or holds no names, an empty one, or two
/// that are the same to CLIP. The message names the line.
pub fn read_class_names(file: &Path) -> Result<ClassNames, ClassNamesError> {
    let bytes = std::fs::read(file)
        .map_err(|source| ClassNamesError::Read { file: file.to_owned(), source })?;
    let form = |reason| ClassNamesError::Form { file: file.to_owned(), reason };
    let text = decode(&bytes).map_err(form)?;
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let names = match extension.as_str() {
        "json" => {
            let value = serde_json::from_str(&text)
                .map_err(|source| ClassNamesError::Json { file: file.to_owned(), source })?;
            from_json(&value).map_err(form)?
        }
        "csv" => from_table(&text, delimiter(&text)).map_err(form)?,
        "tsv" => from_table(&text, b'\t').map_err(form)?,
        _ => from_lines(&text).map_err(form)?,
    };
    if names.is_empty() {
        return Err(ClassNamesError::Empty { file: file.to_owned() });
    }
    let (places, names) = names.into_iter().map(|Placed { place, name }| (place, name)).unzip();
    let names = ClassNames { names, places };
    names.check().map_err(form)?;
    Ok(names)
}

impl ClassNames {
    /// Checks that there is a name in each place, and each class once.
    ///
    /// # Errors
    ///
    /// What is wrong, with the place.
    pub fn check(&self) -> Result<(), String> {
        let Self { names, places } = self;
        if let Some(empty) = names.iter().position(|name| name.trim().is_empty()) {
            return Err(format!("{} has an empty name", places[empty]));
        }
        match duplicate(names) {
            None => Ok(()),
            Some((first, second)) => Err(format!(
                "{} ({}) and {} ({}) are the same class to CLIP; give each class once",
                places[first],
                quoted(&names[first]),
                places[second],
                quoted(&names[second])
            )),
        }
    }
}

/// The places of two names, counted from 0, that would be the same class to CLIP, which reads lower
/// case and takes `_` for a blank; `None` if all differ.
pub fn duplicate(names: &[String]) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    names.iter().enumerate().find_map(|(place, name)| {
        let plain = name.to_lowercase().replace('_', " ");
        let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        seen.insert(plain, place).map(|first| (first, place))
    })
}

/// The beginning of a text, short enough for a message.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("`{}...`", text[..end].escape_debug()),
        None => format!("`{}`", text.escape_debug()),
    }
}

fn from_json(value: &Value) -> Result<Vec<Placed>, String> {
    const FORMS: &str = "write a list of names, or an object from class numbers to names";
    match value {
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(class, entry)| {
                let place = format!("entry {class}");
                let name = entry.as_str().ok_or_else(|| {
                    let entry = quoted(&entry.to_string());
                    format!("{place} of the list is {entry}, which is not a name; {FORMS}")
                })?;
                Ok(Placed { name: name.trim().to_owned(), place })
            })
            .collect(),
        // Names by ImageNet's ids, whose order is that of the classes.
        Value::Object(entries) if entries.keys().all(|key| is_synset(key)) => {
            let mut of_ids: Vec<(&String, &Value)> = entries.iter().collect();
            of_ids.sort_by_key(|(id, _)| *id);
            let placed = |(id, name): (&String, &Value)| {
                let place = format!("the entry {}", quoted(id));
                let name = name.as_str().ok_or_else(|| format!("{place} is not a name"))?;
                Ok(Placed { place, name: name.trim().to_owned() })
            };
            of_ids.into_iter().map(placed).collect()
        }
        Value::Object(entries) => {
            let numbered = entries.iter().map(|(key, value)| {
                let last = match value.as_array().map(Vec::as_slice) {
                    Some([Value::String(id), name]) if is_synset(id) => name,
                    _ => value,
                };
                let placed = |name: &str| Placed {
                    place: format!("the entry {}", quoted(key)),
                    name: name.trim().to_owned(),
                };
                match (key.trim().parse(), last.as_str(), last.as_u64()) {
                    (Ok(number), Some(name), _) => Ok((number, placed(name))),
                    (_, None, Some(number)) => Ok((number as usize, placed(key))),
                    _ => {
                        let entry = quoted(&format!("{key}: {value}"));
                        Err(format!("the entry {entry} is not a class number and a name; {FORMS}"))
                    }
                }
            });
            in_order(numbered.collect::<Result<_, _>>()?)
        }
        other => Err(format!("it holds {}; {FORMS}", quoted(&other.to_string()))),
    }
}

/// Whether a text is the id of a synset, as ImageNet's folders are called.
fn is_synset(text: &str) -> bool {
    text.strip_prefix('n').is_some_and(|digits| {
        digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Names sorted by their class numbers, which must start at 0 or 1 and leave none out.
fn in_order(numbered: Vec<(usize, Placed)>) -> Result<Vec<Placed>, String> {
    let count = numbered.len();
    let sorted: BTreeMap<usize, Placed> = numbered.into_iter().collect();
    let first = sorted.keys().next().copied().unwrap_or(0);
    let complete = sorted.keys().enumerate().all(|(index, number)| *number == first + index);
    if sorted.len() != count || !complete || first > 1 {
        return Err("its class numbers do not count from 0 or 1, each once".to_owned());
    }
    Ok(sorted.into_values().collect())
}

fn from_table(text: &str, delimiter: u8) -> Result<Vec<Placed>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let find = |wanted: &[&str]| {
        let place = |name: &&str| first.iter().position(|cell| cell.eq_ignore_ascii_case(name));
        wanted.iter().find_map(place)
    };
    let is_number = |cell: &str| cell.parse::<usize>().is_ok();
    let (names, numbers, rows) = match (find(&NAME_COLUMNS), find(&NUMBER_COLUMNS)) {
        (Some(names), numbers) => (names, numbers, &rows[1..]),
        (None, _) if first.len() == 1 => (0, None, &rows[..]),
        (None, _) if first.len() == 2 && is_number(&first[0]) => (1, Some(0), &rows[..]),
        (None, _) if first.len() == 2 && is_number(&first[1]) => (0, Some(1), &rows[..]),
        (None, _) => {
            return Err(format!(
                "line 1 has {} columns, of which none is called `name`; say with a header which \
                 column has the names, or leave the other columns out",
                first.len()
            ));
        }
    };
    let placed = |row: &csv::StringRecord| {
        let line = row.position().map_or(0, csv::Position::line);
        Placed { place: format!("line {line}"), name: row[names].to_owned() }
    };
    let Some(numbers) = numbers else {
        return Ok(rows.iter().map(placed).collect());
    };
    let numbered = rows.iter().map(|row| {
        let placed = placed(row);
        let number = row[numbers].parse().map_err(|_| {
            format!("{}: {} is not a class number", placed.place, quoted(&row[numbers]))
        })?;
        Ok((number, placed))
    });
    in_order(numbered.collect::<Result<_, String>>()?)
}

fn from_lines(text: &str) -> Result<Vec<Placed>, String> {
    let is_name = |line: &str| !line.trim().is_empty() && !line.trim().starts_with('#');
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).filter(|(_, line)| is_name(line)).collect();
    let placed = |line: usize, name: &str| Placed {
        place: format!("line {line}"),
        name: name.trim().to_owned(),
    };
    let numbered = lines.iter().map(|&(at, line)| {
        let (number, name) = line.split_once([',', ';', ':', '\t'])?;
        Some((number.trim().parse().ok()?, placed(at, name)))
    });
    let of_ids = lines.iter().map(|&(at, line)| {
        let (_, name) = line.trim_start().split_once('\t')?;
        Some(placed(at, name))
    });
    let (numbered, of_ids) =
        (numbered.collect::<Option<Vec<_>>>(), of_ids.collect::<Option<Vec<_>>>());
    let names = match (numbered, of_ids) {
        _ if lines.is_empty() => Vec::new(),
        (Some(numbered), _) => in_order(numbered)?,
        (None, Some(of_ids)) => of_ids,
        (None, None) => lines.into_iter().map(|(at, line)| placed(at, line)).collect(),
    };
    match names.iter().find(|placed| placed.name.contains(char::is_control)) {
        None => Ok(names),
        Some(Placed { place, name }) => Err(format!(
            "{place} has a name with a tab or another control sign ({}); write one name per line, or an id, a tab and a name in each",
            quoted(name)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, contents: impl AsRef<[u8]>) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, contents).expect("a file can be written");
        read_class_names(&file).map(|names| names.names).map_err(|error| {
            match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        })
    }

    #[test]
    fn every_form_gives_the_names_in_the_order_of_their_classes() {
        for (name, contents) in [
            ("names.txt", "cat\ndog\n"),
            ("names", "\u{feff}cat\r\ndog"),
            ("names.txt", "# two animals\n\n  cat  \ndog\n\n"),
            ("names.txt", "0,cat\n1,dog\n"),
            ("names.txt", "1: cat\n2: dog\n"),
            ("names.txt", "1\tdog\n0\tcat\n"),
            ("names.txt", "n02121808\tcat\nn02084071\tdog\n"),
            ("names.json", r#"["cat", "dog"]"#),
            ("names.json", "\u{feff}[\"cat\", \" dog \"]"),
            ("names.json", r#"{"1": "dog", "0": "cat"}"#),
            ("names.json", r#"{"0": ["n02121808", "cat"], "1": ["n02084071", "dog"]}"#),
            ("names.json", r#"{"dog": 1, "cat": 0}"#),
            ("names.json", r#"{"n02084072": "dog", "n02084071": "cat"}"#),
            ("names.csv", "cat\ndog\n"),
            ("names.csv", "index,name\n0,cat\n1,dog\n"),
            ("names.csv", "Name,Index\r\ndog,1\r\ncat,0\r\n"),
            ("names.csv", "class_name,notes\ncat,\"a, b\"\ndog,\n"),
            ("names.CSV", "0,cat\n1,dog\n"),
            ("names.csv", "dog,2\ncat,1\n"),
            ("names.csv", "id;name\n0;cat\n1;dog\n"),
            ("names.tsv", "id\tclass\n0\tcat\n1\tdog\n"),
        ] {
            assert_eq!(
                read(name, contents).as_deref(),
                Ok(&["cat", "dog"].map(String::from)[..]),
                "{name}: {contents}"
            );
        }
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}käse\n犬".encode_utf16().flat_map(unit).collect()
        };
        for bytes in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
            assert_eq!(read("names.txt", bytes), Ok(vec!["käse".to_owned(), "犬".to_owned()]));
        }
        let commas = "cock, rooster\nhen\n0, rest\n";
        assert_eq!(
            read("names.txt", commas).map(|names| names[0].clone()),
            Ok("cock, rooster".to_owned())
        );
    }

    #[test]
    fn what_is_only_partly_of_a_form_is_refused() {
        for (name, contents) in [
            ("names.json", r#"{"5": "cat", "3": "dog"}"#),
            ("names.json", r#"{"0": "cat", "x": "dog"}"#),
            ("names.json", r#"{"0": ["a cat", "cat"], "1": ["a dog", "dog"]}"#),
            ("names.txt", "1\tcat\ndog\n"),
            ("names.txt", "1\tcat\tx\n2\tdog\ty\n"),
        ] {
            assert!(read(name, contents).is_err(), "{name}: {contents}");
        }
    }

    #[test]
    fn names_that_clip_reads_alike_are_duplicates() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(duplicate(&names(&["cat", "dog"])), None);
        assert_eq!(duplicate(&names(&["cat", "dog", "cat"])), Some((0, 2)));
        assert_eq!(duplicate(&names(&["hot dog", "Hot_Dog"])), Some((0, 1)));
        assert_eq!(duplicate(&names(&["hot dog", "hot  dog"])), Some((0, 1)));
    }

    #[test]
    fn other_contents_are_refused_with_the_line_and_briefly() {
        for (name, contents, expected) in [
            ("names.txt", &b"cat\nk\xe4se\n"[..], "line 2 is not UTF-8"),
            ("names.txt", b"# nothing\n\n", "no class names"),
            ("names.txt", b"0,cat\n2,dog\n", "count from 0 or 1"),
            ("names.txt", b"cat\n\ndog\nCat\n", "line 1 (`cat`) and line 4 (`Cat`) are the same"),
            ("names.txt", b"0\tcat\n1\t\n", "line 2 has an empty name"),
            ("names.csv", b"name,x\ncat,1\n,2\n", "line 3 has an empty name"),
            ("names.json", b"[\"cat\", \"dog\", \"cat\"]", "entry 0 (`cat`) and entry 2 (`cat`)"),
            ("names.txt", b"0,cat\n0,dog\n", "count from 0 or 1"),
            ("names.json", b"[\"cat\", 7]", "entry 1 of the list is `7`"),
            ("names.json", b"[\"cat\", \"\"]", "entry 1 has an empty name"),
            ("names.json", b"[[\"cat\", \"kitten\"]]", "entry 0 of the list"),
            ("names.json", b"{\"a\": \"cat\"}", "not a class number and a name"),
            ("names.json", b"{\"5\": \"cat\", \"7\": \"dog\"}", "count from 0 or 1"),
            ("names.json", b"\"cat\"", "a list of names"),
            ("names.json", b"[\n\"cat\"\n\"dog\"]", "line 3"),
            ("names.json", b"", "JSON"),
            ("names.csv", b"cat,kitten\ndog,puppy\n", "none is called `name`"),
            ("names.csv", b"index,name\nzero,cat\n", "line 2: `zero`"),
        ] {
            let message = read(name, contents).expect_err("it is refused");
            assert!(message.contains(name) && message.contains(expected), "{name}: {message}");
        }
        let long = read("names.json", format!("[{:?}, 1, \"{}\"]", "cat", "x".repeat(9_000_000)));
        assert!(long.expect_err("a number is no name").len() < 500);
        let long = read("names.json", format!("[{{\"a\": \"{}\"}}]", "x".repeat(9_000_000)));
        assert!(long.expect_err("an object is no name").len() < 500);
    }
}
