//! Lays out the folder that builds link libtorch from: all of it or nothing.

use crate::elf::Dynamic;
use crate::libtorch;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The libraries of torch that the project itself links or torch loads by name.
const LIBRARIES: [&str; 3] = ["libtorch_cpu.so", "libc10.so", "libshm.so"];

/// A folder under construction beside the final one, so that the last step is a rename. Dropped, it is removed.
pub struct Subset {
    pub folder: PathBuf,
    into: PathBuf,
}

impl Subset {
    /// # Errors
    /// When the folder can't be made.
    pub fn new(into: &Path) -> Result<Subset> {
        let name = into
            .file_name()
            .context("--into needs a folder with a name")?
            .to_string_lossy()
            .into_owned();
        let parent = into.parent().unwrap_or(Path::new("/"));
        remove_leftovers(parent, &name);
        let folder = parent.join(format!("{name}.part-{}", std::process::id()));
        fs::create_dir_all(folder.join("lib"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        // Until it has its name, git shall not see it.
        fs::write(folder.join(".gitignore"), "*\n")?;
        Ok(Subset {
            folder,
            into: into.to_path_buf(),
        })
    }

    /// Adds what both kinds of layout have, tries to load it, and gives the folder its name.
    ///
    /// # Errors
    /// When a library can't be loaded on this machine, or the disk refuses.
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
        // Checks the result, and writes `origin`, which holds the final path.
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
        // After `finish` there is nothing left; after an error a leftover is only untidy.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of earlier runs that were killed.
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

/// Links `into` to the torch in `root`, which [`libtorch::usable`] has accepted.
///
/// # Errors
/// When a link can't be made or the libraries don't load.
pub fn link(root: &Path, into: &Path) -> Result<()> {
    let root = root
        .canonicalize()
        .with_context(|| format!("cannot follow {}", root.display()))?;
    let part = Subset::new(into)?;
    let lib = part.folder.join("lib");
    for (name, file) in libraries(&root.join("lib"))? {
        symlink(&file, lib.join(&name)).with_context(|| format!("cannot link {}", file.display()))?;
    }
    symlink(root.join("include"), part.folder.join("include"))?;
    part.finish()
}

/// torch's libraries, and those that they need and find through their own rpath: libgomp, libcudart, libcupti.
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
            .with_context(|| format!("cannot follow {}", file.display()))?;
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

/// Lets the dynamic loader resolve everything that `library` needs.
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
    fn a_failed_layout_leaves_nothing_and_keeps_the_old_folder() {
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
        // No process has this number: Linux ends at 2^22.
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
