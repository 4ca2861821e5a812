//! Cells as job arrays of Slurm.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::REPORTS;
use super::plan::Task;
use super::sweep::Sweep;

/// Runs `$line`. What is killed, or stopped before its time is over, is queued again, and goes on
/// where it was; what is cancelled, or fails by itself, is not.
const TASK: &str = r#"eval "exec $line" &
process=$!
again() {
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
  exit 0
}
trap 'kill -TERM "$process"; wait "$process"; again' USR1
trap 'kill -TERM "$process"; wait "$process"; exit 143' TERM
wait "$process"
status=$?
if [ "$status" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
  again
fi
exit "$status"
"#;

/// Writes the scripts, and submits them: the cells that fill the cache, then the others, then the
/// report.
pub fn submit(
    sweep: &Sweep,
    tasks: &[Task],
    program: &Path,
    no_submit: bool,
) -> anyhow::Result<()> {
    let folder = sweep.output.canonicalize().context("the output folder cannot be used")?;
    let folder = folder.join("slurm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    // A copy, so that the sweep ends with the program that it began with.
    let copy = folder.join("mint-cli");
    if !is_same(program, &copy) {
        let partial = folder.join("mint-cli.partial");
        fs::copy(program, &partial).context("the program cannot be copied")?;
        fs::rename(&partial, &copy).context("the program cannot be copied")?;
    }
    let (first, rest): (Vec<&Task>, Vec<&Task>) = tasks.iter().partition(|task| task.fills_cache);
    let mut after = Vec::new();
    let mut last = None;
    for (name, tasks) in [("first", first), ("rest", rest)] {
        if tasks.is_empty() {
            continue;
        }
        let script = array(sweep, &folder, name, &tasks, &copy)?;
        if !no_submit {
            // The others wait for the cache, and compute what is missing if a job of it fails.
            let job = sbatch(&script, &after)?;
            println!("{} jobs `{}`: {job}", tasks.len(), script.display());
            after = vec![job.clone()];
            last = Some(job);
        } else {
            println!("`{}`: {} jobs", script.display(), tasks.len());
        }
    }
    let report = report(sweep, &folder, &copy)?;
    if let Some(last) = last {
        let job = sbatch(&report, &[last])?;
        println!("report `{}`: {job}", report.display());
    } else {
        println!("`{}`: the report, after all of them", report.display());
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Submits a script after others have ended, however they did; returns the job's number.
fn sbatch(script: &Path, after: &[String]) -> anyhow::Result<String> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    if !after.is_empty() {
        command.arg(format!("--dependency=afterany:{}", after.join(":")));
    }
    let output = command.arg(script).output().context("`sbatch` cannot be run; is this a machine of the cluster? `--no-submit` only writes the scripts")?;
    if !output.status.success() {
        bail!("sbatch: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    // The cluster's name may follow.
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(text.split(';').next().unwrap_or_default().to_owned())
}

/// The lines that say what a job needs.
fn header(sweep: &Sweep, name: &str, log: &Path) -> anyhow::Result<String> {
    let mut text = String::from("#!/bin/sh\n");
    writeln!(text, "#SBATCH --job-name=mint-{name}")?;
    writeln!(text, "#SBATCH --output={}", log.display())?;
    writeln!(text, "#SBATCH --open-mode=append")?;
    for option in &sweep.slurm.options {
        writeln!(text, "#SBATCH {option}")?;
    }
    Ok(text)
}

/// The script of an array of tasks.
fn array(
    sweep: &Sweep,
    folder: &Path,
    name: &str,
    tasks: &[&Task],
    program: &Path,
) -> anyhow::Result<PathBuf> {
    let mut lines = String::new();
    for task in tasks {
        let words = [program.display().to_string()].into_iter().chain(task.arguments.clone());
        let words: Vec<String> = words.map(|word| quoted(&word)).collect();
        writeln!(lines, "{}", words.join(" "))?;
    }
    let list = folder.join(format!("{name}.txt"));
    write(&list, &lines)?;
    let here = std::env::current_dir().context("the current folder cannot be told")?;
    let mut text = header(sweep, name, &folder.join(format!("{name}-%a.log")))?;
    writeln!(text, "#SBATCH --array=0-{}", tasks.len() - 1)?;
    writeln!(text, "#SBATCH --requeue")?;
    writeln!(text, "#SBATCH --cpus-per-task={}", sweep.slurm.cores)?;
    if sweep.slurm.gpus > 0 {
        writeln!(text, "#SBATCH --gpus-per-task={}", sweep.slurm.gpus)?;
        writeln!(text, "#SBATCH --ntasks=1")?;
    }
    // Two minutes before the time is over the run is saved and queued again.
    writeln!(text, "#SBATCH --signal=B:USR1@120")?;
    writeln!(text, "cd {} || exit 1", quoted(&here.display().to_string()))?;
    writeln!(
        text,
        "line=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {})",
        quoted(&list.display().to_string())
    )?;
    text.push_str(TASK);
    let script = folder.join(format!("{name}.sh"));
    write(&script, &text)?;
    Ok(script)
}

/// The script that puts everything together.
fn report(sweep: &Sweep, folder: &Path, program: &Path) -> anyhow::Result<PathBuf> {
    let output = folder.parent().unwrap_or(folder);
    let mut text = header(sweep, "report", &folder.join("report.log"))?;
    let words = |path: &Path| quoted(&path.display().to_string());
    let command = format!("{} report {}", words(program), words(output));
    // A file takes its name only when it is whole.
    for (format, file) in REPORTS {
        let file = output.join(file);
        let partial = words(&file.with_extension("partial"));
        writeln!(
            text,
            "{command} --format {format} > {partial} && mv {partial} {} || exit 1",
            words(&file)
        )?;
    }
    writeln!(text, "{command}")?;
    let script = folder.join("report.sh");
    write(&script, &text)?;
    Ok(script)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

/// A word for a shell, whatever it contains.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./,=:".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_as_they_are() {
        for word in ["a/b-c.d", "", "two words", "it's", "$HOME `ls` \\", "*"] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }
}
