//! Where results go, and what an interrupted run left there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mint_eval::{Basis, MethodId, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::output::{Form, Row, cell};
use super::prediction::{Decision, Prediction, decide};
use crate::args::{PredictArgs, PredictFormat};
use crate::output::{self, shown};

/// Where results go.
pub struct Results<'a> {
    form: Form<'a>,
    place: Place,
    /// What is written at the end.
    rows: Vec<Row<'a>>,
    /// What an earlier run has written, by path.
    done: HashMap<String, usize>,
    /// Pictures among them without an answer.
    pub failed_before: u64,
}

enum Place {
    Standard,
    /// A file that rows are added to.
    Lines {
        path: PathBuf,
        file: File,
    },
    /// A file that is written at the end.
    Whole(PathBuf),
}

/// What the rows of a file depend on, beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    basis: Basis,
    /// How answers are written.
    written: Value,
}

/// Refuses a file that has results, before anything is computed.
///
/// # Errors
///
/// If there is something, or nothing to go on with.
pub fn check(args: &PredictArgs) -> anyhow::Result<()> {
    let Some(path) = &args.output else { return Ok(()) };
    let about = fs::metadata(path).ok();
    if about.as_ref().is_some_and(fs::Metadata::is_dir) {
        bail!("`--output {}` is a folder; name a file", shown(path));
    }
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty() && !it.is_dir()) {
        bail!("`--output`: there is no folder `{}`; make it first", shown(folder));
    }
    let has_rows = about.as_ref().is_some_and(|it| it.is_file() && it.len() > 0);
    if !args.resume && has_rows {
        let go_on = if can_go_on(args.format()) { "go on with it by `--resume`, " } else { "" };
        bail!("`{}` is there already; {go_on}remove it, or name another file", shown(path));
    }
    let header = header_path(path);
    let is_ours = |bytes: Vec<u8>| serde_json::from_slice::<Header>(&bytes).is_ok();
    if header.is_file() && !fs::read(&header).is_ok_and(is_ours) {
        bail!(
            "`{}`, which says what results depend on, would take the place of another file; remove it, or name another `--output`",
            shown(&header)
        );
    }
    if args.resume {
        if !can_go_on(args.format()) {
            bail!(
                "`--resume` goes on with JSON lines or CSV; add `--format jsonl` or `--format csv`"
            );
        }
        if about.is_none() {
            bail!(
                "there is nothing to go on with: no `{}`; leave `--resume` out to start it",
                shown(path)
            );
        }
    }
    Ok(())
}

/// Whether what is left of an interrupted run can be added to what it wrote.
pub fn can_go_on(format: PredictFormat) -> bool {
    matches!(format, PredictFormat::Jsonl | PredictFormat::Csv)
}

impl<'a> Results<'a> {
    /// Begins, or goes on with what an interrupted run has written: of `seen` pictures, if methods
    /// remember those, and no others.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, another process writes it, or it was begun with other settings.
    pub fn open(
        args: &PredictArgs,
        form: Form<'a>,
        basis: &Basis,
        seen: Option<usize>,
    ) -> anyhow::Result<Self> {
        let mut results = Self {
            form,
            place: Place::Standard,
            rows: Vec::new(),
            done: HashMap::new(),
            failed_before: 0,
        };
        let Some(path) = &args.output else {
            output::result_bytes(&results.form.head()?);
            return Ok(results);
        };
        if args.format() == PredictFormat::Json {
            results.place = Place::Whole(path.clone());
            return Ok(results);
        }
        let cannot = || format!("cannot write the results to `{}`", shown(path));
        let file = File::options().create(true).append(true).read(true).open(path);
        let file = file.with_context(cannot)?;
        if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
            bail!("another process writes `{}`; wait for it", shown(path));
        }
        let is_file = file.metadata().with_context(cannot)?.is_file();
        let written = json!({
            "format": format!("{:?}", args.format()).to_lowercase(),
            "top": results.form.top,
            "methods": results.form.methods,
            "limits": results.form.limits.as_json(),
            "temperatures": results
                .form
                .methods
                .iter()
                .map(|&id| basis.config.fixed_temperature(id))
                .collect::<Vec<_>>(),
        });
        let header = Header { basis: basis.clone(), written };
        results.place = Place::Lines { path: path.clone(), file };
        if args.resume {
            header.check(path, results.form.methods)?;
            results
                .read_back(seen)
                .with_context(|| format!("cannot go on with `{}`", shown(path)))?;
        } else if is_file && args.format() != PredictFormat::Text {
            let text = serde_json::to_vec_pretty(&header)?;
            write_whole(&header_path(path), &text).with_context(cannot)?;
        }
        if fs::metadata(path).with_context(cannot)?.len() == 0 {
            let head = results.form.head()?;
            results.append(&head)?;
        }
        Ok(results)
    }

    /// Decides what is said about a picture.
    pub fn decide(&self, prediction: &Prediction<'_>) -> Decision {
        let Form { limits, class_names, top, .. } = self.form;
        decide(prediction, limits.of(prediction.method), class_names.len(), top)
    }

    /// Whether an earlier run has written the rows of this picture. Each time that a picture was
    /// written counts once.
    pub fn has(&mut self, path: &Path) -> bool {
        let path = match self.form.format {
            PredictFormat::Csv => cell(path),
            _ => shown(path),
        };
        match self.done.get_mut(&path) {
            Some(times) if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// Writes the rows of a picture.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn add(&mut self, rows: Vec<Row<'a>>) -> anyhow::Result<()> {
        if self.form.format == PredictFormat::Json {
            self.rows.extend(rows);
            return Ok(());
        }
        let mut bytes = Vec::new();
        for row in &rows {
            bytes.extend(self.form.row(row)?);
        }
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.place {
            Place::Lines { path, file } => file
                .write_all(bytes)
                .with_context(|| format!("cannot write the results to `{}`", shown(path))),
            Place::Standard | Place::Whole(_) => {
                output::result_bytes(bytes);
                Ok(())
            }
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        let cannot = |path: &Path| format!("cannot write the results to `{}`", shown(path));
        match &self.place {
            Place::Lines { path, file } => match file.sync_all() {
                // Not everything that can be written to is a disk.
                Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
                    Err(error).with_context(|| cannot(path))
                }
                _ => Ok(()),
            },
            Place::Standard if self.form.format != PredictFormat::Json => Ok(()),
            Place::Standard => {
                output::result_bytes(&self.form.whole(&self.rows)?);
                Ok(())
            }
            Place::Whole(path) => {
                write_whole(path, &self.form.whole(&self.rows)?).with_context(|| cannot(path))
            }
        }
    }

    /// Reads the rows of an earlier run, and cuts off what it wrote of a picture that it did not
    /// finish.
    fn read_back(&mut self, seen: Option<usize>) -> anyhow::Result<()> {
        let Place::Lines { file, .. } = &mut self.place else { return Ok(()) };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        let whole = &bytes[..bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
        let text = std::str::from_utf8(whole)?;
        let is_csv = self.form.format == PredictFormat::Csv;
        let mut end = 0;
        let mut open: Vec<Written> = Vec::new();
        let (mut start, mut pictures) = (0, 0);
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let next = start + line.len();
            if is_csv && number == 1 {
                (start, end) = (next, next);
                continue;
            }
            if Some(pictures) == seen {
                break;
            }
            let written = if is_csv { Written::of_csv(line) } else { Written::of_json(line) };
            let written = written.with_context(|| format!("line {number} is none of its own"))?;
            if open.last().is_some_and(|before| before.path != written.path) {
                bail!("line {number} begins a picture before the one before it has all its rows");
            }
            open.push(written);
            let is_complete = open[0].method.is_none() || open.len() == self.form.methods.len();
            if is_complete {
                self.failed_before += u64::from(open.iter().any(|row| row.is_failure));
                *self.done.entry(open.swap_remove(0).path).or_default() += 1;
                open.clear();
                pictures += 1;
                end = next;
            }
            start = next;
        }
        if let Some(seen) = seen.filter(|&seen| seen > pictures) {
            bail!(
                "it has {pictures} pictures of {seen} that the memory has seen; start anew with another memory"
            );
        }
        file.set_len(end as u64)?;
        Ok(())
    }
}

/// What counts of a row when a run is resumed.
struct Written {
    path: String,
    method: Option<String>,
    is_failure: bool,
}

impl Written {
    fn of_json(line: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(line)?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let path = text("path").context("it has no path")?;
        // As it is compared.
        let path = shown(Path::new(&path));
        Ok(Self { path, method: text("method"), is_failure: !value["error"].is_null() })
    }

    fn of_csv(line: &str) -> anyhow::Result<Self> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().context("it is empty")??;
        let cell = |place: usize| record.get(place).context("it has too few columns");
        let method = Some(cell(1)?.to_owned()).filter(|method| !method.is_empty());
        let is_failure = !cell(record.len() - 1)?.is_empty();
        Ok(Self { path: cell(0)?.to_owned(), method, is_failure })
    }
}

impl Header {
    /// Compares with what an earlier run wrote beside its results.
    fn check(&self, results: &Path, methods: &[MethodId]) -> anyhow::Result<()> {
        let path = header_path(results);
        let recorded = fs::read(&path).with_context(|| {
            format!(
                "`{}`, which says what `{}` was begun with, cannot be read",
                shown(&path),
                shown(results)
            )
        })?;
        let recorded: Self = serde_json::from_slice(&recorded)
            .with_context(|| format!("`{}` is damaged", shown(&path)))?;
        let mut differences: Vec<String> = self
            .basis
            .differences(&recorded.basis, methods)
            .iter()
            .map(ToString::to_string)
            .collect();
        for (key, now) in self.written.as_object().into_iter().flatten() {
            let then = &recorded.written[key];
            if now != then {
                differences.push(format!("`{key}` is {now}, the record has {then}"));
            }
        }
        if !differences.is_empty() {
            bail!(
                "`{}` was begun with other settings, so it cannot be resumed:\n  {}",
                shown(results),
                differences.join("\n  ")
            );
        }
        Ok(())
    }
}

/// The file beside results that says what they depend on.
pub fn header_path(results: &Path) -> PathBuf {
    let mut name = results.as_os_str().to_owned();
    name.push(".run.json");
    name.into()
}
