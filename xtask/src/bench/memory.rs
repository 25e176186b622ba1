//! A program's output, and the most memory that it and all its children had at once.

use crate::sh;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What a program that was watched gave.
pub struct Watched {
    pub stdout: String,
    /// Megabytes; memory that several of the processes share counts once.
    pub peak_memory: u64,
}

impl Watched {
    /// The last line that the program printed, as JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn report(&self) -> Result<Value> {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("expected a line of JSON, got {line:?}"))
    }
}

/// Runs a command to its end and looks at its processes' memory twenty times a second.
///
/// # Errors
/// When it can't be started or doesn't end with status 0.
pub fn watched(command: &mut Command) -> Result<Watched> {
    eprintln!("$ {}", sh::display(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
    let mut pipe = child.stdout.take().context("the program has no output")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(with_children(child.id()).into_iter().map(proportional).sum());
        thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        bail!("`{}` failed ({status})", sh::display(command));
    }
    let stdout = reader
        .join()
        .map_err(|_| anyhow::anyhow!("reading the output of `{}` failed", sh::display(command)))??;
    Ok(Watched {
        stdout,
        peak_memory: peak >> 10,
    })
}

/// A process and all that it started, directly or not.
fn with_children(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(parent) = parent(process)
        {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    found
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in brackets and may hold anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Kilobytes of a process, where shared memory counts in parts; 0 for one that is gone.
fn proportional(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_memory_counts() {
        let mut command = Command::new("sh");
        // A child of the shell holds 20 MB for a moment.
        let child = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); sleep 0.4";
        command.args([
            "-c",
            &format!("(sh -c \"{}\") & wait; echo done", child.replace('$', "\\$")),
        ]);
        let watched = watched(&mut command).unwrap();
        assert_eq!(watched.stdout, "done\n");
        assert!(watched.peak_memory >= 19, "{} MB", watched.peak_memory);
    }
}
