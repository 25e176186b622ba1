//! The host's half of loading: from a file whose note has passed to the plugin's root module.
//!
//! abi_stable's own loader doesn't fit in two ways. `RootModule::load_from_file` gives the first plugin of a type for every
//! file; and its layout check accepts only plugins as new as the host or newer, where a host needs the reverse: an old plugin
//! in a newer host. So: the library's header, the check with its arguments swapped, then the module without another check.

use crate::abi::PluginRef;
use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::lib_header_from_path;
use std::path::Path;

/// Why a plugin file was not loaded after its note had passed.
#[derive(Debug)]
pub enum LoadError {
    /// The dynamic loader's own words: a missing library or symbol, a damaged file.
    Open(String),
    /// No `cvhost` root module inside, or one by another abi_stable.
    Header(String),
    /// The types of the interface differ.
    Layout(String),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Open(e) => write!(f, "the dynamic loader refused it: {e}"),
            LoadError::Header(e) => write!(f, "it has no usable root module: {e}"),
            LoadError::Layout(e) => write!(f, "its interface types differ from this host's: {e}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Opens a plugin and gives its root module. The library is never closed: tensors and vtables of it live on.
///
/// The file must have passed the check of its note: from here on its own code runs (initialisers of the library).
pub fn load(file: &Path) -> Result<PluginRef, LoadError> {
    open_for_good(file)?;
    // The library is open already, so this finds it by its file and adds nothing but the symbol's look-up.
    let header = lib_header_from_path(file).map_err(|e| LoadError::Header(e.to_string()))?;
    let layout = header
        .layout()
        .ok_or_else(|| LoadError::Header("the layout is missing".into()))?;
    check_layout_compatibility(layout, <PluginRef as StableAbi>::LAYOUT)
        .map_err(|e| LoadError::Layout(differing_types(&e.to_string())))?;
    // SAFETY: the layouts have just been compared, with the plugin's as the interface and the host's as the implementation.
    unsafe { header.unchecked_layout::<PluginRef>() }.map_err(|e| LoadError::Header(e.to_string()))
}

/// Opens with all symbols resolved at once, so that a missing one is an error here and not a crash later.
fn open_for_good(file: &Path) -> Result<(), LoadError> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: initialisers of the library run here; that its note has passed is all that can be known before.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| LoadError::Open(e.to_string()))?;
    std::mem::forget(library);
    Ok(())
}

/// The types that differ, out of abi_stable's report, which lists for each difference the path of
/// types that leads to it, and the two layouts in full.
fn differing_types(report: &str) -> String {
    let mut types: Vec<&str> = Vec::new();
    for line in report.lines() {
        let Some((_, name)) = line.split_once("<this:") else {
            continue;
        };
        let name = name.trim_end_matches('>').trim();
        if !name.is_empty() && !types.contains(&name) {
            types.push(name);
        }
    }
    types.join(", ")
}
