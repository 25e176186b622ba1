//! Selects the libtorch that builds link: the existing one, the user's, that of an installed Python
//! torch, or a downloaded one.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const VERSION: &str = "2.11.0";
/// The folder in the repository root where every build looks, set in `.cargo/config.toml`.
pub const FOLDER: &str = ".libtorch";

/// A header present in every complete `include` folder.
const HEADER: &str = "torch/csrc/api/include/torch/torch.h";

/// The step needed to provide a libtorch.
#[derive(Debug)]
pub enum Plan {
    /// The folder exists and is valid.
    Keep,
    /// Create links to `lib/` and `include/` of `root`.
    Link {
        root: PathBuf,
        why: String,
    },
    Download {
        why: String,
    },
}

/// Chooses, in this order: the user's LIBTORCH, the existing folder, an installed Python torch, a
/// download.
///
/// # Errors
/// If LIBTORCH is set to something unusable; the user's choice is never ignored silently.
pub fn plan(into: &Path, download: bool) -> Result<Plan> {
    if download {
        let kept = valid(into).is_ok() && !is_linked(into);
        return Ok(if kept {
            Plan::Keep
        } else {
            Plan::Download {
                why: "as requested".to_owned(),
            }
        });
    }
    if let Some(root) = chosen_by_user(into) {
        usable(&root).with_context(|| format!("LIBTORCH={} can't be used", root.display()))?;
        let kept = valid(into).is_ok()
            && same_file(
                &into.join("lib/libtorch_cpu.so"),
                &root.join("lib/libtorch_cpu.so"),
            );
        return Ok(if kept {
            Plan::Keep
        } else {
            Plan::Link {
                root,
                why: "LIBTORCH".to_owned(),
            }
        });
    }
    let why = match valid(into) {
        Ok(()) => return Ok(Plan::Keep),
        Err(_) if into.symlink_metadata().is_err() => format!("{} does not exist yet", into.display()),
        Err(error) => format!("{} is not valid: {error:#}", into.display()),
    };
    let Some(root) = python_torch() else {
        return Ok(Plan::Download {
            why: format!("{why}; python3 has no torch"),
        });
    };
    Ok(match usable(&root) {
        Ok(()) => Plan::Link {
            root,
            why: "installed for python3".to_owned(),
        },
        Err(error) => Plan::Download {
            why: format!("{why}; python3's torch can't be used: {error:#}"),
        },
    })
}

/// The user's LIBTORCH. If the user hasn't set it, cargo sets it to `.libtorch`.
fn chosen_by_user(into: &Path) -> Option<PathBuf> {
    let root = PathBuf::from(std::env::var_os("LIBTORCH").filter(|value| !value.is_empty())?);
    let default = crate::sh::root().join(FOLDER);
    (root != default && !same_file(&root, &default) && !same_file(&root, into)).then_some(root)
}

/// The folder of the torch package that `python3` would import. It isn't imported, which would take
/// seconds.
fn python_torch() -> Option<PathBuf> {
    let script = "import importlib.util\n\
                  spec = importlib.util.find_spec('torch')\n\
                  print(*(spec.submodule_search_locations or [] if spec else []), sep='\\n')";
    // Runs in the root of the file system, because python looks for modules in its working
    // directory.
    let out = Command::new("python3")
        .args(["-c", script])
        .current_dir("/")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(out.stdout)
        .ok()?
        .lines()
        .next()?
        .trim()
        .to_owned();
    (!folder.is_empty()).then(|| PathBuf::from(folder))
}

/// Whether builds can link the torch in `root`.
///
/// # Errors
/// If a file is missing or the version is wrong; the error names it.
pub fn usable(root: &Path) -> Result<()> {
    for file in ["lib/libtorch_cpu.so", "lib/libc10.so"] {
        if !root.join(file).is_file() {
            bail!("there is no {file} in {}", root.display());
        }
    }
    if !root.join("include").join(HEADER).is_file() {
        bail!("there are no C++ headers in {}/include", root.display());
    }
    match version(root) {
        Some(found) if found == VERSION => Ok(()),
        Some(found) => bail!("{} is version {found}; expected {VERSION}", root.display()),
        None => bail!(
            "{} has neither build-version nor version.py; expected version {VERSION}",
            root.display()
        ),
    }
}

/// The version of the torch in `root`, without the `+cu130` suffix, from libtorch's own file or the
/// Python package's.
fn version(root: &Path) -> Option<String> {
    let text = match fs::read_to_string(root.join("build-version")) {
        Ok(text) => text,
        Err(_) => python_version(&fs::read_to_string(root.join("version.py")).ok()?)?.to_owned(),
    };
    Some(text.trim().split('+').next()?.to_owned())
}

fn python_version(source: &str) -> Option<&str> {
    let line = source.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1)
}

/// Checks that `folder` is a complete libtorch created by setup.
///
/// # Errors
/// If it isn't; the error states the problem.
pub fn valid(folder: &Path) -> Result<()> {
    usable(folder)?;
    let lib = folder.join("lib");
    if lib.join("libtorch_cuda.so").symlink_metadata().is_ok() {
        bail!("it contains a libtorch_cuda.so, which every binary would link");
    }
    if !same_file(&lib.join("libtorch.so"), &lib.join("libtorch_cpu.so")) {
        bail!("its libtorch.so is not libtorch_cpu.so");
    }
    // Updated if the folder was moved, or was created before this file existed.
    let origin = origin_of(folder)?;
    if read_origin(folder) != Some(origin.clone()) {
        write_origin(folder, &origin)?;
    }
    Ok(())
}

/// Whether the folder consists of links to another torch rather than containing the libraries
/// itself.
pub fn is_linked(folder: &Path) -> bool {
    folder.join("lib/libtorch_cpu.so").is_symlink()
}

/// The folder from which libtorch is loaded at run time: the one the links point to, where a GPU
/// build has its libtorch_cuda.so.
///
/// # Errors
/// If a link is broken.
pub fn origin_of(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("lib/libtorch_cpu.so");
    let real = library
        .canonicalize()
        .with_context(|| format!("cannot resolve {}", library.display()))?;
    real.parent()
        .map(Path::to_path_buf)
        .context("libtorch_cpu.so has no parent folder")
}

/// The content of the `origin` file.
pub fn read_origin(folder: &Path) -> Option<PathBuf> {
    Some(PathBuf::from(
        fs::read_to_string(folder.join("origin")).ok()?.trim_end(),
    ))
}

/// # Errors
/// If the file can't be written.
pub fn write_origin(folder: &Path, origin: &Path) -> Result<()> {
    let file = folder.join("origin");
    fs::write(&file, format!("{}\n", origin.display()))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Creates a folder that looks like Python's torch package.
    fn fake_torch(folder: &Path, version: &str) {
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::create_dir_all(folder.join("include/torch/csrc/api/include/torch")).unwrap();
        for file in [
            "lib/libtorch_cpu.so",
            "lib/libc10.so",
            "include/torch/csrc/api/include/torch/torch.h",
        ] {
            fs::write(folder.join(file), "").unwrap();
        }
        fs::write(
            folder.join("version.py"),
            format!("from x import y\n__version__ = '{version}'\n"),
        )
        .unwrap();
    }

    #[test]
    fn only_the_pinned_version_is_usable() {
        let dir = tempfile::tempdir().unwrap();
        fake_torch(dir.path(), "2.11.0+cu130");
        usable(dir.path()).unwrap();
        fake_torch(dir.path(), "2.9.1");
        let error = usable(dir.path()).unwrap_err().to_string();
        assert!(error.contains("2.9.1") && error.contains("2.11.0"), "{error}");
    }

    #[test]
    fn a_torch_without_headers_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        fake_torch(dir.path(), "2.11.0");
        fs::remove_dir_all(dir.path().join("include")).unwrap();
        assert!(usable(dir.path()).unwrap_err().to_string().contains("headers"));
    }

    #[test]
    fn a_folder_that_would_link_cuda_is_not_valid() {
        let dir = tempfile::tempdir().unwrap();
        fake_torch(dir.path(), "2.11.0");
        symlink("libtorch_cpu.so", dir.path().join("lib/libtorch.so")).unwrap();
        valid(dir.path()).unwrap();
        symlink("/nowhere", dir.path().join("lib/libtorch_cuda.so")).unwrap();
        assert!(valid(dir.path()).is_err());
    }

    #[test]
    fn a_moved_folder_gets_a_new_origin() {
        let dir = tempfile::tempdir().unwrap();
        fake_torch(dir.path(), "2.11.0");
        symlink("libtorch_cpu.so", dir.path().join("lib/libtorch.so")).unwrap();
        write_origin(dir.path(), Path::new("/somewhere/else")).unwrap();
        valid(dir.path()).unwrap();
        assert_eq!(
            read_origin(dir.path()),
            Some(dir.path().canonicalize().unwrap().join("lib"))
        );
    }
}
