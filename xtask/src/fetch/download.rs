//! Downloads that can be interrupted: resumed, checked, and put in place only when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Body};

use super::drive;

/// A published file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is called here.
    pub name: String,
    /// Where it lies, in the order in which places are tried.
    pub urls: Vec<String>,
    /// Its size in bytes, if it is published.
    pub size: Option<u64>,
    /// Its hexadecimal SHA-256, if it is published.
    pub sha256: Option<String>,
}

/// How a file that is in place is known to be the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// By its published checksum.
    Verified,
    /// By the checksum that was recorded when it was first fetched.
    AsBefore,
    /// Not at all; its checksum was recorded now.
    Recorded,
}

/// How patient downloads are.
#[derive(Debug, Clone)]
pub struct Downloader {
    /// A connection that brings nothing for this long is given up.
    pub stall: Duration,
    /// Before a further attempt; doubled each time.
    pub pause: Duration,
    /// Attempts at one place that bring nothing new.
    pub attempts: u32,
    /// Whether a bar is shown.
    pub progress: bool,
}

/// Why an attempt ended.
enum End {
    /// All bytes are there, as far as the server knows.
    Whole,
    /// Worth another attempt at the same place.
    Again(String),
    /// Another place may have the file.
    Elsewhere(String),
    /// The file cannot be written.
    Fatal(anyhow::Error),
}

impl Downloader {
    /// Fetches a file, unless it is in place.
    pub fn fetch(&self, wanted: &Wanted, target: &Path) -> anyhow::Result<State> {
        if target.exists() {
            return self.verify(wanted, target);
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        }
        let partial = with_suffix(target, ".partial");
        let bar = self.bar(wanted);
        let mut reasons = Vec::new();
        for url in &wanted.urls {
            if wanted.sha256.is_none() {
                // Nothing could tell whether the rest belongs to what was begun elsewhere.
                remove_if_there(&partial)?;
            }
            match self.fetch_from(url, wanted, &partial, &bar)? {
                Ok(()) => {
                    bar.finish_and_clear();
                    fs::rename(&partial, target)
                        .with_context(|| format!("cannot write `{}`", target.display()))?;
                    return self.verify(wanted, target);
                }
                Err(reason) => reasons.push(format!("  {url}: {reason}")),
            }
        }
        bar.finish_and_clear();
        bail!(
            "`{}` cannot be fetched:\n{}\nhint: try again later (what was fetched is kept), name another place with `--mirror URL`, or put the file at `{}` by other means and check it with `--verify-only`",
            wanted.name,
            reasons.join("\n"),
            target.display()
        )
    }

    /// Checks a file that is in place.
    pub fn verify(&self, wanted: &Wanted, target: &Path) -> anyhow::Result<State> {
        let read = || format!("cannot read `{}`", target.display());
        let size = fs::metadata(target).with_context(read)?.len();
        if let Some(expected) = wanted.size.filter(|&expected| expected != size) {
            bail!(
                "`{}` has {size} bytes instead of {expected}; remove it and fetch it again",
                target.display()
            );
        }
        let found = sha256(target).with_context(read)?;
        let record = with_suffix(target, ".sha256");
        let (expected, state) = match (&wanted.sha256, fs::read_to_string(&record)) {
            (Some(published), _) => (published.clone(), State::Verified),
            (None, Ok(recorded)) => (recorded.trim().to_owned(), State::AsBefore),
            (None, Err(_)) => {
                fs::write(&record, format!("{found}\n"))
                    .with_context(|| format!("cannot write `{}`", record.display()))?;
                return Ok(State::Recorded);
            }
        };
        if found != expected {
            bail!(
                "`{}` has the SHA-256 {found} instead of {expected}; remove it and fetch it again",
                target.display()
            );
        }
        Ok(state)
    }

    /// Tries one place. The inner error says why the file is not to be had there.
    fn fetch_from(
        &self,
        url: &str,
        wanted: &Wanted,
        partial: &Path,
        bar: &ProgressBar,
    ) -> anyhow::Result<Result<(), String>> {
        let agent = Agent::config_builder()
            .timeout_connect(Some(self.stall))
            .timeout_recv_response(Some(self.stall))
            .http_status_as_error(false)
            .user_agent(concat!("mint-xtask/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let (mut failures, mut largest) = (0, length(partial));
        loop {
            let reason = match self.attempt(&agent, url, wanted, partial, bar) {
                End::Whole => match self.check_partial(wanted, partial)? {
                    Ok(()) => return Ok(Ok(())),
                    Err(reason) => return Ok(Err(reason)),
                },
                End::Again(reason) => reason,
                End::Elsewhere(reason) => return Ok(Err(reason)),
                End::Fatal(error) => return Err(error),
            };
            // As long as bytes come in, attempts do not count.
            failures = if length(partial) > largest { 1 } else { failures + 1 };
            largest = largest.max(length(partial));
            if failures >= self.attempts {
                return Ok(Err(format!("{reason} ({failures} attempts)")));
            }
            thread::sleep(self.pause * 2_u32.pow(failures - 1));
        }
    }

    /// Asks once for the bytes that are missing, through pages that ask to confirm.
    fn attempt(
        &self,
        agent: &Agent,
        url: &str,
        wanted: &Wanted,
        partial: &Path,
        bar: &ProgressBar,
    ) -> End {
        const MOST_PAGES: usize = 3;
        let mut url = url.to_owned();
        for _ in 0..MOST_PAGES {
            let have = length(partial);
            if wanted.size == Some(have) {
                return End::Whole;
            }
            let mut request = agent.get(&url);
            if have > 0 {
                request = request.header("Range", format!("bytes={have}-"));
            }
            let response = match request.call() {
                Ok(response) => response,
                Err(error @ (ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects)) => {
                    return End::Elsewhere(error.to_string());
                }
                Err(error @ ureq::Error::HostNotFound) => {
                    return End::Elsewhere(format!("{error}: is there a network?"));
                }
                Err(error) => return End::Again(format!("no answer: {error}")),
            };
            let (parts, body) = response.into_parts();
            let page = is_page(&parts.headers) && !wanted.name.ends_with(".html");
            match parts.status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT if page => {
                    let text = match read_page(body) {
                        Ok(text) => text,
                        Err(error) => return End::Again(error.to_string()),
                    };
                    match drive::confirmed_url(&text, &url) {
                        Some(confirmed) => url = confirmed,
                        None => {
                            return End::Elsewhere(
                                "a web page came instead of the file (too many downloads today, or it was removed)"
                                    .to_owned(),
                            );
                        }
                    }
                }
                StatusCode::OK => {
                    return self.receive(body, &parts.headers, 0, wanted, partial, bar);
                }
                StatusCode::PARTIAL_CONTENT => {
                    return match range_start(&parts.headers) {
                        Some(start) if start == have => {
                            self.receive(body, &parts.headers, have, wanted, partial, bar)
                        }
                        _ => restart(partial, "the server sent another part than was asked for"),
                    };
                }
                StatusCode::RANGE_NOT_SATISFIABLE => {
                    return match range_total(&parts.headers) {
                        Some(total) if total == have => End::Whole,
                        _ => restart(partial, "the server's file is shorter than what was fetched"),
                    };
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return End::Elsewhere(format!(
                        "the server refuses ({}): the file may need an account there",
                        parts.status
                    ));
                }
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    return End::Again(format!("the server answers {status}"));
                }
                status => return End::Elsewhere(format!("the server answers {status}")),
            }
        }
        End::Elsewhere("one page that asks to confirm led to the next".to_owned())
    }

    /// Writes what comes in after the first `start` bytes.
    fn receive(
        &self,
        body: Body,
        headers: &HeaderMap,
        start: u64,
        wanted: &Wanted,
        partial: &Path,
        bar: &ProgressBar,
    ) -> End {
        let announced = header(headers, "content-length").and_then(|length| length.parse().ok());
        let total: Option<u64> = announced.and_then(|length: u64| start.checked_add(length));
        if let (Some(total), Some(size)) = (total, wanted.size)
            && total != size
        {
            return End::Elsewhere(format!(
                "the server's file has {total} bytes instead of {size}"
            ));
        }
        bar.set_length(total.or(wanted.size).unwrap_or(0));
        bar.set_position(start);
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(partial)?;
            file.set_len(start)?;
            Ok(file)
        };
        let cannot_write = |error: io::Error| {
            End::Fatal(
                anyhow::Error::new(error).context(format!("cannot write `{}`", partial.display())),
            )
        };
        let mut file = match open() {
            Ok(file) => file,
            Err(error) => return cannot_write(error),
        };
        // A thread of its own reads, so that a connection that stalls can be left behind.
        let (sender, pieces) = sync_channel::<io::Result<Vec<u8>>>(4);
        thread::spawn(move || {
            let mut reader = body.into_reader();
            loop {
                let mut piece = vec![0; 256 << 10];
                let message = reader.read(&mut piece).map(|length| {
                    piece.truncate(length);
                    piece
                });
                let ended = message.as_ref().map_or(true, |piece| piece.is_empty());
                if sender.send(message).is_err() || ended {
                    break;
                }
            }
        });
        let mut have = start;
        loop {
            match pieces.recv_timeout(self.stall) {
                Ok(Ok(piece)) if piece.is_empty() => break,
                Ok(Ok(piece)) => {
                    have += piece.len() as u64;
                    if wanted.size.is_some_and(|size| have > size) {
                        let _ = file.set_len(0);
                        return End::Elsewhere(
                            "the server sent more bytes than the file has".to_owned(),
                        );
                    }
                    if let Err(error) = file.write_all(&piece) {
                        return cannot_write(error);
                    }
                    bar.set_position(have);
                }
                Ok(Err(error)) => return End::Again(format!("the connection broke off: {error}")),
                Err(RecvTimeoutError::Timeout) => {
                    return End::Again(format!("nothing came for {:?}", self.stall));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match total.or(wanted.size).filter(|&total| have < total) {
            Some(total) => {
                End::Again(format!("the connection broke off after {have} of {total} bytes"))
            }
            None => file.sync_all().map_or_else(cannot_write, |()| End::Whole),
        }
    }

    /// Checks what was fetched, and throws it away if it is something else.
    fn check_partial(&self, wanted: &Wanted, partial: &Path) -> anyhow::Result<Result<(), String>> {
        let Some(expected) = &wanted.sha256 else { return Ok(Ok(())) };
        let found =
            sha256(partial).with_context(|| format!("cannot read `{}`", partial.display()))?;
        if found == *expected {
            return Ok(Ok(()));
        }
        remove_if_there(partial)?;
        Ok(Err(format!("it sent other bytes: their SHA-256 is {found} instead of {expected}")))
    }

    fn bar(&self, wanted: &Wanted) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let style = "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is valid");
        ProgressBar::new(wanted.size.unwrap_or(0))
            .with_style(style)
            .with_message(wanted.name.clone())
    }
}

fn restart(partial: &Path, reason: &str) -> End {
    match remove_if_there(partial) {
        Ok(()) => End::Again(reason.to_owned()),
        Err(error) => End::Fatal(error),
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    header(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

fn read_page(body: Body) -> io::Result<String> {
    const LONGEST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    body.into_reader().take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first byte of `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = header(headers, "content-range")?.strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

/// The size in `Content-Range: bytes */10`.
fn range_total(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-range")?.rsplit('/').next()?.parse().ok()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove_if_there(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", file.display()))
        }
        _ => Ok(()),
    }
}

/// Hexadecimal SHA-256 of a file.
fn sha256(file: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(file)?, &mut digest)?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
