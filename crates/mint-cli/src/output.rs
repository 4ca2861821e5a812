//! Everything that is printed: results to standard output, everything else to standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::hints;

/// Sends log messages to standard error; `MINT_LOG` chooses which, such as `debug`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("MINT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
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
    let _ = writeln!(io::stderr(), "{text}");
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
