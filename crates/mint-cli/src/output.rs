//! Everything that is printed: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use mint_device::FailureWatch;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::hints;

/// What is logged unless `MINT_LOG` says otherwise. The error that ends a program says why a device
/// failed; after that its runtime repeats a warning for each further piece of work.
const LOGGED: &str = "warn,cubecl_wgpu::compute::stream=error";

/// Sends log messages to standard error; `MINT_LOG` chooses which, such as `debug`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("MINT_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let mut written = tracing_subscriber::fmt::layer().with_writer(io::stderr).without_time();
    if !io::stderr().is_terminal() {
        written.set_ansi(false);
    }
    tracing_subscriber::registry()
        .with(FailureWatch::new(end).with_filter(LevelFilter::WARN))
        .with(written.with_filter(filter))
        .init();
}

/// Ends the program, whatever it waits for.
fn end(message: &str) {
    error(&anyhow::anyhow!("{message}"));
    std::process::exit(1);
}

/// Prints a result. Ends the program if that is not possible.
pub fn result(text: &str) {
    result_bytes(format!("{text}\n").as_bytes());
}

/// [`result`], as it is.
pub fn result_bytes(bytes: &[u8]) {
    checked(io::stdout().write_all(bytes));
}

/// Prints what clap answers instead of a command line: help and the version are results, usage
/// errors are not. Returns the exit code.
pub fn answer(answer: &clap::Error) -> ExitCode {
    let printed = answer.print();
    if !answer.use_stderr() {
        checked(printed);
    }
    ExitCode::from(answer.exit_code() as u8)
}

/// Ends the program if a result could not be written: nothing that it may still do is of use then.
fn checked(written: io::Result<()>) {
    let Err(error) = written.and_then(|()| io::stdout().flush()) else { return };
    // Whoever reads has seen enough, as with `| head`.
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    note(&format!("error: cannot write the results to standard output: {error}"));
    std::process::exit(1);
}

/// Prints something worth knowing that is not a result.
pub fn note(text: &str) {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
}

/// A text without signs that terminals obey, which names of files and classes may have: those are
/// written as escapes.
pub fn printable(text: &str) -> String {
    let obeyed = |sign: char| {
        sign.is_control() || matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return text.to_owned();
    }
    let escape = |sign: char| -> String {
        if obeyed(sign) { sign.escape_default().collect() } else { sign.into() }
    };
    text.chars().map(escape).collect()
}

/// A path as people read it. Bytes that are no text are written as `\xE4`, so that paths which
/// differ do not look the same.
pub fn shown(path: &Path) -> String {
    if let Some(text) = path.to_str() {
        return printable(text);
    }
    let mut shown = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        shown += &printable(chunk.valid());
        chunk.invalid().iter().for_each(|byte| shown += &format!("\\x{byte:02X}"));
    }
    shown
}

/// A number of things, such as `1 image` or `2 images`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Prints an error, its causes, and what to do.
pub fn error(error: &anyhow::Error) {
    note(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        note(&format!("  caused by: {cause}"));
    }
    if let Some(hint) = hints::hint(error) {
        note(&format!("hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_that_terminals_obey_are_escaped() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{9b}ä"), "a\\u{1b}[31m\\nb\\u{9b}ä");
        assert_eq!(printable("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(printable("plain text, 犬"), "plain text, 犬");
    }

    #[cfg(unix)]
    #[test]
    fn paths_that_are_no_text_can_be_told_apart() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let shown = |bytes: &[u8]| shown(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(shown(b"k\xe4se.jpg"), "k\\xE4se.jpg");
        assert_eq!(shown(b"k\xf6se.jpg"), "k\\xF6se.jpg");
        assert_eq!(shown("käse\t.jpg".as_bytes()), "käse\\t.jpg");
    }
}
