//! `cargo xtask dist`: creates a folder that can be moved to any machine with libtorch.

use crate::workspace::{PROGRAMS, Workspace};
use crate::{build, notices, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

const FOLDER: &str = "dist";
/// Files and folders of the repository to include if they exist.
const DOCUMENTS: [&str; 5] = [
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "README.md",
    "CHANGELOG.md",
    "configs",
];

/// # Errors
/// If the build fails, a binary isn't relocatable, or a file can't be copied.
pub fn run() -> Result<()> {
    // This also checks that no binary has an rpath into this checkout.
    build::run()?;
    let workspace = Workspace::load()?;
    let root = sh::root();
    let part = root.join(FOLDER).with_extension("part");
    remove(&part)?;
    lay_out(&workspace, &root, &part)?;
    let file = part.join("THIRD-PARTY.txt");
    fs::write(&file, notices::collect()?).with_context(|| format!("cannot write {}", file.display()))?;
    let done = root.join(FOLDER);
    remove(&done)?;
    fs::rename(&part, &done)
        .with_context(|| format!("cannot rename {} to {}", part.display(), done.display()))?;
    println!(
        "{}: {} programs, {} plugins. libtorch is not included; bin/cvhost looks for it (LIBTORCH, or python3's \
         torch).",
        done.display(),
        PROGRAMS.len(),
        workspace.plugins.len()
    );
    Ok(())
}

fn lay_out(workspace: &Workspace, root: &Path, dist: &Path) -> Result<()> {
    for program in PROGRAMS {
        copy(&workspace.program(program), &dist.join("bin").join(program))?;
    }
    for plugin in &workspace.plugins {
        copy(&workspace.built.join(plugin), &dist.join("plugins").join(plugin))?;
    }
    for document in DOCUMENTS {
        if root.join(document).exists() {
            copy(&root.join(document), &dist.join(document))?;
        }
    }
    Ok(())
}

/// Copies a file, or a folder with its contents; file modes are preserved.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = || -> std::io::Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from, to).map(drop)
    };
    if !from.is_dir() {
        return copied().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()));
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_plugins_are_put_into_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("built")).unwrap();
        fs::create_dir_all(root.join("configs")).unwrap();
        for file in [
            "built/cvhost",
            "built/cvhost-engine",
            "built/liba.so",
            "built/other",
            "configs/a.yaml",
            "LICENSE-MIT",
        ] {
            fs::write(root.join(file), file).unwrap();
        }
        let workspace = Workspace {
            built: root.join("built"),
            target: root.join("built"),
            plugins: vec!["liba.so".to_owned()],
        };
        lay_out(&workspace, root, &root.join("dist")).unwrap();
        for file in [
            "bin/cvhost",
            "bin/cvhost-engine",
            "plugins/liba.so",
            "configs/a.yaml",
            "LICENSE-MIT",
        ] {
            assert!(root.join("dist").join(file).is_file(), "{file}");
        }
        assert!(!root.join("dist/bin/other").exists());
    }
}
