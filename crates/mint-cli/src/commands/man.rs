//! Writes manual pages.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use mint_eval::write_whole;

use crate::args::Cli;
use crate::output;

/// Writes a page for each command into a folder, which is made if need be.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let mut command = Cli::command();
    command.build();
    write(&command, folder)
}

/// Writes the pages of a command and of those below it, and prints where they are.
fn write(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let page = Man::new(command.clone());
    let file = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).context("a page cannot be drawn")?;
    write_whole(&file, &text).with_context(|| format!("cannot write `{}`", file.display()))?;
    output::result(&file.display().to_string());
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(shown).try_for_each(|command| write(command, folder))
}
