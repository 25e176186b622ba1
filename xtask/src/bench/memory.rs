//! A program's output, and the peak memory of the program and all its children.

use crate::sh;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The results of a watched program.
pub struct Watched {
    pub stdout: String,
    /// In megabytes; memory shared by several of the processes counts once.
    pub peak_memory: u64,
}

impl Watched {
    /// The last line of the program's output, parsed as JSON.
    ///
    /// # Errors
    /// If the line isn't JSON.
    pub fn report(&self) -> Result<Value> {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("expected a line of JSON, got {line:?}"))
    }
}

/// Runs a command to completion and samples the memory of its processes 20 times per second.
///
/// # Errors
/// If it can't be started or doesn't exit with status 0.
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

/// A process and all its direct and indirect children.
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
    // The name is in parentheses and may contain anything; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The proportional set size of a process in kilobytes; 0 if the process has ended.
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
    fn memory_of_children_is_counted() {
        let mut command = Command::new("sh");
        // A child of the shell briefly holds 20 MB.
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
