//! Everything that is printed: results to standard output, everything else to standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use crate::args::Cli;

/// An error with a second line that says more, and a third that says what to do.
#[derive(Debug)]
pub struct Explained {
    /// What is wrong.
    pub problem: String,
    /// What was seen or looked for.
    pub detail: String,
    /// What to do.
    pub hint: String,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n  {}\nhint: {}", self.problem, self.detail, self.hint)
    }
}

impl std::error::Error for Explained {}

/// Sends log messages to standard error; `MINT_LOG` chooses which, such as `debug`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("MINT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
}

/// Prints a result. Ends the program if that is not possible.
pub fn result(text: &str) {
    checked(writeln!(io::stdout(), "{text}"));
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

/// Prints something worth knowing that is no result.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A number of things, such as `1 image` or `2 images`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Prints an error and its causes.
pub fn error(error: &anyhow::Error) {
    note(&format!("error: {error}"));
    for cause in error.chain().skip(1) {
        note(&format!("  caused by: {cause}"));
    }
}

/// Prints a completion script.
pub fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mint-cli", &mut script);
    checked(io::stdout().write_all(&script));
}
