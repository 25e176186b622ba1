//! Locates the libtorch libraries: `LIBTORCH`, next to the program, `.libtorch` of a checkout, an
//! installed Python torch.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cvhost_plugin_api::note::LIBTORCH_VERSION;

use crate::error::{Error, Result};

/// The library that the engine and the plugins link.
const LIBRARY: &str = "libtorch_cpu.so";
/// Present only in CUDA builds of libtorch.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// A libtorch of the right version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder with `libtorch_cpu.so`.
    pub lib: PathBuf,
    /// Such as `2.11.0` or `2.11.0+cu130`.
    pub version: String,
    /// Where it was found, for messages.
    pub found_by: String,
    /// Whether it can use a GPU.
    pub cuda: bool,
}

impl Libtorch {
    /// `LD_LIBRARY_PATH` with this libtorch first.
    pub fn library_path(&self) -> OsString {
        let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let mut path = self.lib.clone().into_os_string();
        if !before.is_empty() {
            path.push(":");
            path.push(before);
        }
        path
    }
}

/// Searches all locations in order and returns the first match.
///
/// # Errors
/// If none is found, with all locations tried and the problem of each. If `LIBTORCH` is set but
/// unusable: an explicit choice is never skipped.
pub fn find() -> Result<Libtorch> {
    let program = env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
    let chosen = env::var_os("LIBTORCH")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    find_in(
        chosen.as_deref(),
        program.as_deref().and_then(Path::parent),
        &python_torch,
    )
}

/// `chosen` is `LIBTORCH`, `program` the folder of the program, `python` returns the location of
/// Python's torch.
fn find_in(
    chosen: Option<&Path>,
    program: Option<&Path>,
    python: &dyn Fn() -> Result<PathBuf, String>,
) -> Result<Libtorch> {
    if let Some(root) = chosen {
        return inspect(root, "LIBTORCH").map_err(|why| {
            Error::environment(format!("LIBTORCH={} can't be used: {why}", root.display()))
                .with_expected(format!(
                    "a folder of libtorch {LIBTORCH_VERSION} with lib/{LIBRARY}"
                ))
                .with_help("set LIBTORCH to such a folder, or unset it")
        });
    }
    let mut tried = Vec::new();
    for (root, found_by) in beside(program) {
        match inspect(&root, found_by) {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("{found_by}, {}: {why}", root.display())),
        }
    }
    match python()
        .and_then(|root| inspect(&root, "Python's torch").map_err(|why| format!("{}: {why}", root.display())))
    {
        Ok(found) => return Ok(found),
        Err(why) => tried.push(format!("Python's torch: {why}")),
    }
    tried.insert(0, "LIBTORCH: not set".to_owned());
    Err(Error::environment("libtorch was not found")
        .with_details(tried)
        .with_expected(format!("libtorch {LIBTORCH_VERSION}"))
        .with_help(format!(
            "set LIBTORCH to its folder, or `python3 -m pip install torch=={LIBTORCH_VERSION}`, or \
             in a checkout `cargo xtask setup`"
        )))
}

/// Candidate locations relative to the program.
fn beside(program: Option<&Path>) -> Vec<(PathBuf, &'static str)> {
    let Some(program) = program else { return Vec::new() };
    let mut places = vec![(program.join("libtorch"), "beside the program")];
    if let Some(parent) = program.parent() {
        places.push((parent.join("libtorch"), "beside the program"));
    }
    let checkout = program
        .ancestors()
        .map(|folder| folder.join(".libtorch"))
        .find(|folder| folder.is_dir());
    places.extend(checkout.map(|folder| (folder, "the checkout's folder")));
    places
}

/// Checks `root` and returns the libtorch in it, or what is wrong with it.
fn inspect(root: &Path, found_by: &str) -> Result<Libtorch, String> {
    if !root.is_dir() {
        return Err("the folder does not exist".to_owned());
    }
    // A folder of links made for the linker records the real location, which also has the GPU
    // libraries.
    let origin = fs::read_to_string(root.join("origin"))
        .ok()
        .map(|text| PathBuf::from(text.trim_end()));
    let libs = [origin, Some(root.join("lib")), Some(root.to_path_buf())];
    let lib = libs.into_iter().flatten().find(|lib| lib.join(LIBRARY).exists());
    let lib = lib.ok_or_else(|| format!("it has no lib/{LIBRARY}"))?;
    let lib = lib.canonicalize().map_err(|e| e.to_string())?;
    let version = lib.parent().and_then(version).or_else(|| self::version(root));
    let version =
        version.ok_or("it has neither `build-version` nor `version.py`, so its version is unknown")?;
    if version.split('+').next() != Some(LIBTORCH_VERSION) {
        return Err(format!(
            "it is version {version}, but {LIBTORCH_VERSION} is required"
        ));
    }
    let cuda = lib.join(CUDA_LIBRARY).exists();
    Ok(Libtorch {
        lib,
        version,
        found_by: found_by.to_owned(),
        cuda,
    })
}

/// The version recorded in a libtorch or Python torch folder.
fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

/// The folder of the torch that Python would import. torch itself is not imported.
fn python_torch() -> Result<PathBuf, String> {
    const SCRIPT: &str = "import importlib.util as u; s = u.find_spec('torch'); \
                          print(s.submodule_search_locations[0] if s else '')";
    let venv = env::var_os("VIRTUAL_ENV").map(|venv| Path::new(&venv).join("bin/python3"));
    let python = venv
        .filter(|python| python.exists())
        .unwrap_or_else(|| PathBuf::from("python3"));
    let output = Command::new(&python)
        .args(["-c", SCRIPT])
        .output()
        .map_err(|e| format!("{} can't be run: {e}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim() {
        "" => Err(format!("{} has no torch", python.display())),
        folder => Ok(PathBuf::from(folder)),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn torch(folder: &Path, version_file: &str, text: &str) {
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("lib").join(LIBRARY), "").unwrap();
        fs::write(folder.join(version_file), text).unwrap();
    }

    fn none() -> Result<PathBuf, String> {
        Err("python3 has no torch".to_owned())
    }

    #[test]
    fn an_explicit_choice_wins_and_is_never_skipped() {
        let folder = TempDir::new().unwrap();
        let (chosen, program) = (folder.path().join("chosen"), folder.path().join("bin"));
        torch(&program.join("libtorch"), "build-version", "2.11.0\n");
        let error = find_in(Some(&chosen), Some(&program), &none).unwrap_err();
        assert!(error.what.contains("LIBTORCH="), "{error}");
        torch(&chosen, "build-version", "2.4.0\n");
        let error = find_in(Some(&chosen), Some(&program), &none).unwrap_err();
        assert!(error.what.contains("2.4.0"), "{error}");
        torch(&chosen, "build-version", "2.11.0+cpu\n");
        assert_eq!(
            find_in(Some(&chosen), Some(&program), &none).unwrap().found_by,
            "LIBTORCH"
        );
    }

    #[test]
    fn locations_are_tried_in_order_and_all_are_listed() {
        let folder = TempDir::new().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let program = root.join("target/debug");
        fs::create_dir_all(&program).unwrap();
        let python = || Ok(root.join("site/torch"));
        let error = find_in(None, Some(&program), &none).unwrap_err().to_string();
        for place in [
            "LIBTORCH: not set",
            "target/debug/libtorch",
            "target/libtorch",
            "Python's torch",
        ] {
            assert!(error.contains(place), "{error}");
        }
        torch(
            &root.join("site/torch"),
            "version.py",
            "from typing import x\n__version__ = '2.11.0+cu130'\n",
        );
        fs::write(root.join("site/torch/lib").join(CUDA_LIBRARY), "").unwrap();
        let found = find_in(None, Some(&program), &python).unwrap();
        assert_eq!((found.version.as_str(), found.cuda), ("2.11.0+cu130", true));
        torch(&root.join(".libtorch"), "build-version", "2.11.0");
        let found = find_in(None, Some(&program), &python).unwrap();
        assert_eq!((found.lib, found.cuda), (root.join(".libtorch/lib"), false));
    }

    #[test]
    fn a_folder_of_links_leads_to_the_real_one() {
        let folder = TempDir::new().unwrap();
        let root = folder.path().canonicalize().unwrap();
        torch(&root.join("torch"), "version.py", "__version__ = '2.11.0'\n");
        torch(&root.join(".libtorch"), "build-version", "2.11.0");
        fs::write(
            root.join(".libtorch/origin"),
            format!("{}\n", root.join("torch/lib").display()),
        )
        .unwrap();
        assert_eq!(
            inspect(&root.join(".libtorch"), "x").unwrap().lib,
            root.join("torch/lib")
        );
    }
}
