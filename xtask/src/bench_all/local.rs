//! Cells on this machine: one after the other, or one per GPU.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::plan::Task;

/// How often a process is looked after.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs tasks; returns those that failed, each with what it said. A signal ends the sweep after the
/// images at hand; the same command continues it.
pub fn run(program: &Path, tasks: &[Task], gpus: &[usize]) -> anyhow::Result<Vec<String>> {
    let signal = listen()?;
    let failed = Mutex::new(Vec::new());
    // Tasks that fill a cache come first, so a queue is all that is needed.
    let queue = Mutex::new(tasks.iter().enumerate().collect::<VecDeque<_>>());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    let work = |gpu: Option<usize>| {
        while let Some((index, task)) = next() {
            if signal.load(Ordering::Relaxed) != 0 {
                return;
            }
            eprintln!("{} of {}: {}", index + 1, tasks.len(), task.name);
            if let Err(error) = run_task(program, task, gpu, &signal) {
                eprintln!("failed: {}: {error:#}", task.name);
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.push(format!("{}: {error:#}", task.name));
            }
        }
    };
    match gpus {
        [] => work(None),
        gpus => thread::scope(|scope| {
            for &gpu in gpus {
                scope.spawn(move || work(Some(gpu)));
            }
        }),
    }
    if signal.load(Ordering::Relaxed) != 0 {
        bail!("stopped by a signal; the same command continues the sweep");
    }
    Ok(failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn run_task(
    program: &Path,
    task: &Task,
    gpu: Option<usize>,
    signal: &AtomicUsize,
) -> anyhow::Result<()> {
    let parent = task.folder.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
    let mut log = task.folder.as_os_str().to_owned();
    log.push(".log");
    let log = Path::new(&log);
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    let mut command = Command::new(program);
    command.args(&task.arguments).stdin(Stdio::null()).stdout(file.try_clone()?);
    match gpu {
        // Several bars on one terminal would be none.
        Some(gpu) => command.args(["--gpu", &gpu.to_string()]).stderr(file),
        None => command.stderr(Stdio::inherit()),
    };
    let status = wait(command.spawn().context("mint-cli cannot be started")?, signal)?;
    if status.success() {
        return Ok(());
    }
    bail!("it ended with {status}; its output is in `{}`", log.display())
}

/// Waits for a process, and hands a signal on to it.
fn wait(mut child: Child, signal: &AtomicUsize) -> anyhow::Result<ExitStatus> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signal.load(Ordering::Relaxed) != 0 && !told {
            told = true;
            // A signal from the terminal has reached it as well; a second one does no harm.
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        }
        thread::sleep(PAUSE);
    }
}

/// The number of the signal that came; 0 before.
fn listen() -> anyhow::Result<Arc<AtomicUsize>> {
    let signal = Arc::new(AtomicUsize::new(0));
    #[cfg(unix)]
    for kind in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_usize(kind, signal.clone(), kind as usize)
            .context("cannot listen for signals")?;
    }
    Ok(signal)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_task_runs_once_and_says_which_gpu_is_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("mint-cli");
        // Each process takes its time, so that both GPUs are at work.
        fs::write(&program, "#!/bin/sh\necho \"$@\"\nsleep 0.2\n[ $1 != bad ]\n").expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        // A process that another test is just starting may hold the file open for a moment.
        while Command::new(&program).arg("ready").stdout(Stdio::null()).status().is_err() {
            thread::yield_now();
        }
        let task = |name: &str| Task {
            name: name.to_owned(),
            folder: folder.path().join("records").join(name),
            arguments: vec![name.to_owned()],
            tera_operations: None,
            fills_cache: false,
        };
        let tasks = ["a", "b", "bad", "c", "d"].map(task);
        let failed = run(&program, &tasks, &[3, 5]).expect("the sweep goes on");
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].starts_with("bad: it ended with exit status: 1"), "{failed:?}");
        let mut gpus: Vec<String> = Vec::new();
        for task in &tasks {
            let log = task.folder.with_extension("log");
            let said = fs::read_to_string(&log).expect("each task has a log");
            let words: Vec<&str> = said.split_whitespace().collect();
            assert_eq!(words[..2], [task.name.as_str(), "--gpu"], "{said}");
            assert_eq!(words.len(), 3, "it ran once: {said}");
            gpus.push(words[2].to_owned());
        }
        gpus.sort();
        gpus.dedup();
        assert_eq!(gpus, ["3", "5"]);
    }
}
