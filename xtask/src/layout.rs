//! Creates the folder from which builds link libtorch, atomically.

use crate::elf::Dynamic;
use crate::libtorch;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The torch libraries that the project links or that torch loads by name.
const LIBRARIES: [&str; 3] = ["libtorch_cpu.so", "libc10.so", "libshm.so"];

/// A folder under construction next to the final one, so that the last step is a rename. It is
/// removed on drop.
pub struct Subset {
    pub folder: PathBuf,
    into: PathBuf,
}

impl Subset {
    /// # Errors
    /// If the folder can't be created.
    pub fn new(into: &Path) -> Result<Subset> {
        let name = into
            .file_name()
            .context("--into needs a folder that has a name")?
            .to_string_lossy()
            .into_owned();
        let parent = into.parent().unwrap_or(Path::new("/"));
        remove_leftovers(parent, &name);
        let folder = parent.join(format!("{name}.part-{}", std::process::id()));
        fs::create_dir_all(folder.join("lib"))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        // Hides the folder from git until it gets its final name.
        fs::write(folder.join(".gitignore"), "*\n")?;
        Ok(Subset {
            folder,
            into: into.to_path_buf(),
        })
    }

    /// Adds the files common to both kinds of layout, checks that the libraries load, and renames
    /// the folder to its final name.
    ///
    /// # Errors
    /// If a library can't be loaded on this machine, or a file operation fails.
    pub fn finish(self) -> Result<()> {
        // torch-sys links -ltorch; the real libtorch.so would pull in libtorch_cuda.so.
        symlink("libtorch_cpu.so", self.folder.join("lib/libtorch.so"))?;
        fs::write(
            self.folder.join("build-version"),
            format!("{}\n", libtorch::VERSION),
        )?;
        fs::remove_file(self.folder.join(".gitignore"))?;
        check_loads(&self.folder.join("lib/libtorch_cpu.so"))?;
        remove_any(&self.into)?;
        fs::rename(&self.folder, &self.into).with_context(|| {
            format!(
                "cannot rename {} to {}",
                self.folder.display(),
                self.into.display()
            )
        })?;
        // Checks the result, and writes `origin`, which contains the final path.
        libtorch::valid(&self.into)?;
        eprintln!(
            "libtorch {} is ready in {}",
            libtorch::VERSION,
            self.into.display()
        );
        Ok(())
    }
}

impl Drop for Subset {
    fn drop(&mut self) {
        // After `finish` the folder no longer exists; after an error, a leftover is harmless.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders left by killed earlier runs.
fn remove_leftovers(parent: &Path, name: &str) {
    let prefix = format!("{name}.part-");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(process) = file.to_str().and_then(|file| file.strip_prefix(&prefix)) else {
            continue;
        };
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn remove_any(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("cannot remove the old {}", path.display()))
}

/// Links `into` to the torch in `root`, which has been accepted by [`libtorch::usable`].
///
/// # Errors
/// If a link can't be created or the libraries don't load.
pub fn link(root: &Path, into: &Path) -> Result<()> {
    let root = root
        .canonicalize()
        .with_context(|| format!("cannot resolve {}", root.display()))?;
    let part = Subset::new(into)?;
    let lib = part.folder.join("lib");
    for (name, file) in libraries(&root.join("lib"))? {
        symlink(&file, lib.join(&name)).with_context(|| format!("cannot link {}", file.display()))?;
    }
    symlink(root.join("include"), part.folder.join("include"))?;
    part.finish()
}

/// torch's libraries, and those they need and find through their own rpath: libgomp, libcudart,
/// libcupti.
fn libraries(lib: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut open: Vec<(String, PathBuf)> = LIBRARIES
        .iter()
        .map(|&name| (name.to_owned(), lib.join(name)))
        .filter(|(_, file)| file.is_file())
        .collect();
    while let Some((name, file)) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = file
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", file.display()))?;
        let dynamic = Dynamic::read(&file)?;
        let own = file.parent().unwrap_or(lib);
        let folders: Vec<PathBuf> = std::iter::once(own.to_path_buf())
            .chain(
                dynamic
                    .rpath
                    .iter()
                    .map(|dir| dir.replace("$ORIGIN", &own.to_string_lossy()).into()),
            )
            .collect();
        for needed in dynamic.needed {
            if let Some(library) = folders
                .iter()
                .map(|dir| dir.join(&needed))
                .find(|library| library.is_file())
            {
                open.push((needed, library));
            }
        }
        found.push((name, file));
    }
    Ok(found)
}

/// Checks that the dynamic loader resolves everything that `library` needs.
fn check_loads(library: &Path) -> Result<()> {
    let loader = "/lib64/ld-linux-x86-64.so.2";
    let out = Command::new(loader)
        .arg("--list")
        .arg(library)
        .output()
        .with_context(|| format!("cannot start {loader}; cvhost is for x86-64 Linux with glibc"))?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let bad: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("not found"))
        .collect();
    if !bad.is_empty() {
        bail!(
            "{} does not load on this machine:\n  {}",
            library.display(),
            bad.join("\n  ")
        );
    }
    if !out.status.success() {
        bail!(
            "{} does not load on this machine: {}",
            library.display(),
            text.trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_layout_leaves_nothing_behind_and_keeps_the_old_folder() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("torch");
        fs::create_dir(&into).unwrap();
        fs::write(into.join("old"), "").unwrap();
        let part = Subset::new(&into).unwrap();
        fs::write(part.folder.join("lib/libtorch_cpu.so"), "not a library").unwrap();
        assert!(part.finish().is_err());
        assert!(into.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn leftovers_of_killed_runs_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        // No process has this ID: Linux stops at 2^22.
        fs::create_dir(dir.path().join("torch.part-99999999")).unwrap();
        let part = Subset::new(&dir.path().join("torch")).unwrap();
        assert!(!dir.path().join("torch.part-99999999").exists());
        assert!(part.folder.exists());
    }

    #[test]
    fn a_library_that_does_not_load_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libx.so");
        fs::write(&file, "text").unwrap();
        assert!(check_loads(&file).unwrap_err().to_string().contains("libx.so"));
        check_loads(&std::env::current_exe().unwrap()).unwrap();
    }
}
