//! Writes annotations without their errors: for a COCO file the same file, including everything
//! that this task doesn't know; for other formats a COCO file.

mod coco;
mod convert;

use crate::config::DataKeys;
use crate::dataset;
use cvhost_annotations::Format;
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{OpenArgs, Repair};
use std::path::{Path, PathBuf};

/// Repairs the annotations of a split.
///
/// # Errors
/// Annotations that are missing or unreadable as a whole, and faults that only a human can fix.
pub fn repair(args: &OpenArgs) -> Result<Repair> {
    let policy = DataKeys::read(&args.config)?.box_policy;
    let located = dataset::locate(args)?;
    let (path, document, changes) = if located.format == Format::Coco {
        let path = beside(&located.source, "repaired.json");
        let (document, changes) = coco::repair(&located.source, &located.root, &args.split, policy)?;
        (path, document, changes)
    } else {
        let found = dataset::find(args)?;
        let path = match found.format {
            Format::Csv => beside(&found.source, "repaired.coco.json"),
            _ => found
                .root
                .join(format!("annotations_{}.repaired.coco.json", args.split)),
        };
        let (document, changes) = convert::repair(found, &args.split, policy)?;
        (path, document, changes)
    };
    let path = path.to_string_lossy().into_owned();
    Ok(Repair::file(path, serde_json::to_vec(&document)?, changes))
}

/// Replaces the file's extension: `a.json` with `repaired.json` becomes `a.repaired.json`.
fn beside(file: &Path, ending: &str) -> PathBuf {
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy())
        .unwrap_or_default();
    file.with_file_name(format!("{stem}.{ending}"))
}

#[cfg(test)]
mod tests;
