//! The plugin of `tests/plugins/detr_variant`, an adapter that modifies another one, built as a
//! third party would build it.

use crate::programs::target;
use crate::{root, toy};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The built plugin, alone in its folder.
///
/// It is never placed in the build folder, not even for a moment: it serves the same models as a
/// workspace plugin, so any `cvhost` of this checkout that searched there meanwhile would ask which
/// one to use.
pub fn plugin() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = root().join("tests/plugins/detr_variant");
        // With the workspace's lock file and target folder, most dependencies are already built.
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        let products = target().join("tmp/detr-variant");
        toy::build_into(&folder, &products);
        products.join("debug/libdetr_variant.so")
    })
}

/// Creates a folder with a copy of the plugin and nothing else.
pub fn folder_in(folder: &Path) -> PathBuf {
    let plugins = folder.join("third-party");
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::copy(plugin(), plugins.join("libdetr_variant.so")).unwrap();
    plugins
}
