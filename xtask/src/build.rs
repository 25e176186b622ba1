//! `cargo xtask build`: the workspace, and proof that each binary links what it may.

use crate::elf::{self, Allowed, Dynamic};
use crate::workspace::{PROGRAMS, Workspace};
use crate::{setup, sh};
use anyhow::{Result, bail};

/// # Errors
/// When something needed is missing, the build fails, or a binary links a library that it must not.
pub fn run() -> Result<()> {
    setup::run(&setup::Options::default())?;
    sh::run(&mut sh::cargo(["build", "--workspace"]))?;
    check_linkage(&Workspace::load()?)
}

/// Asserts what the built programs and plugins link.
///
/// # Errors
/// One report of every binary that links too much or wasn't built.
pub fn check_linkage(workspace: &Workspace) -> Result<()> {
    let launcher = (PROGRAMS[0], Allowed::NoTorch);
    let others = PROGRAMS[1..]
        .iter()
        .copied()
        .chain(workspace.plugins.iter().map(String::as_str));
    let mut problems = Vec::new();
    for (name, allowed) in std::iter::once(launcher).chain(others.map(|name| (name, Allowed::CpuTorch))) {
        match Dynamic::read(&workspace.built.join(name)) {
            Ok(dynamic) => {
                problems.extend(
                    elf::violations(&dynamic, allowed)
                        .iter()
                        .map(|what| format!("{name} {what}")),
                );
            }
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if !problems.is_empty() {
        bail!(
            "binaries link what they must not (see build.rs of the crate):\n  {}",
            problems.join("\n  ")
        );
    }
    Ok(())
}
