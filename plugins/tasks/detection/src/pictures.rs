//! The pictures that an annotation file names.

use crate::coco::Image;
use cvhost_data_sets::{Faults, PictureFolder, Trouble};
use cvhost_plugin_api::Result;
use std::path::Path;

/// Adds a fault for every image whose file is missing or lies outside `root`. `split` names the configuration key.
pub fn check(root: &Path, split: &str, images: &[Image], faults: &mut Faults) -> Result<()> {
    let mut folder = PictureFolder::open(root, split)?;
    for image in images {
        if let Err(trouble) = folder.check(&image.file_name) {
            faults.push(trouble.kind(), || match trouble {
                Trouble::Missing => {
                    format!(
                        "image {}: {} {trouble}",
                        image.id,
                        root.join(&*image.file_name).display()
                    )
                }
                Trouble::Leaves(_) => {
                    format!("image {}: file_name {:?} {trouble}", image.id, &*image.file_name)
                }
            });
        }
    }
    Ok(())
}
