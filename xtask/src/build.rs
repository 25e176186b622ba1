//! `cargo xtask build`: builds the workspace, and checks the libraries that each binary links.

use crate::elf::{self, Allowed, Dynamic};
use crate::workspace::{PROGRAMS, Workspace};
use crate::{setup, sh};
use anyhow::{Result, bail};

/// # Errors
/// If a prerequisite is missing, the build fails, or a binary links a forbidden library.
pub fn run() -> Result<()> {
    setup::run(&setup::Options::default())?;
    sh::run(&mut sh::cargo(["build", "--workspace"]))?;
    check_linkage(&Workspace::load()?)
}

/// Checks the libraries linked by the built programs and plugins.
///
/// # Errors
/// A single report of all binaries that link forbidden libraries or weren't built.
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
            "binaries link forbidden libraries (see the crate's build.rs):\n  {}",
            problems.join("\n  ")
        );
    }
    Ok(())
}
