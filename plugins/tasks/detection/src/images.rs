//! Checks the images that annotations refer to.

use cvhost_annotations::{BoxSet, Naming};
use cvhost_datasets::{Faults, ImageFolder, Trouble};
use cvhost_plugin_api::Result;
use std::path::Path;

/// Adds a fault for every image whose file is missing or outside `root`. `split` is used for the
/// configuration key.
pub fn check(root: &Path, split: &str, set: &BoxSet, faults: &mut Faults) -> Result<()> {
    let mut folder = ImageFolder::open(root, split)?;
    let has_ids = matches!(set.naming, Naming::Annotations | Naming::Segments);
    for (id, name) in set.images.ids().iter().zip(set.images.names()) {
        if let Err(trouble) = folder.check(name) {
            let image = if has_ids {
                format!("image {id}: ")
            } else {
                String::new()
            };
            faults.push(trouble.kind(), || match trouble {
                Trouble::Missing => format!("{image}{} {trouble}", root.join(name).display()),
                Trouble::Leaves(_) => format!("{image}file_name {name:?} {trouble}"),
            });
        }
    }
    Ok(())
}
