//! Applies the user's `image_size` in place of the file's size.

use crate::entry::Entry;
use crate::size::{MAX_SIDE, Size};
use cvhost_plugin_api::error::Result;
use serde_json::Value;

/// Sets the input size. `[height, width]` is exact; a single number is a square, or with `edge` the
/// shortest edge, with DETR's ratio to the longest. A processor that resizes and then crops keeps
/// doing so at the same ratio. ConvNeXT's processor can't produce a non-square input, so ViT's
/// replaces it.
pub(crate) fn apply_user_size(
    entry: &Entry,
    edge: bool,
    size: &mut Size,
    center_crop: &mut Option<[u32; 2]>,
    processor_type: &mut String,
) -> Result<()> {
    let wanted = match entry.value {
        Value::Array(sides) => entry.pair(sides)?,
        Value::Number(_) if edge => {
            let shortest = entry.side()?;
            let longest = (f64::from(shortest) * 1333.0 / 800.0).round() as u32;
            *size = Size::Edges {
                shortest,
                longest: longest.min(MAX_SIDE),
            };
            return Ok(());
        }
        Value::Number(_) => [entry.side()?; 2],
        _ if edge => {
            return Err(entry.wrong("[height, width], or a single number for the shortest edge"));
        }
        _ => return Err(entry.wrong("[height, width], or a single number for a square")),
    };
    let [height, width] = wanted;
    match (*size, center_crop.as_mut()) {
        (Size::ConvNext { crop_pct, .. }, None) if height == width => {
            *size = Size::ConvNext {
                edge: height,
                crop_pct,
            };
        }
        (Size::Exact { height: h, width: w }, Some(crop)) => {
            *size = Size::Exact {
                height: scaled(h, height, crop[0]),
                width: scaled(w, width, crop[1]),
            };
            *crop = wanted;
        }
        (Size::Shortest { edge }, Some(crop)) => {
            *size = Size::Shortest {
                edge: scaled(edge, height.max(width), crop[0].min(crop[1])),
            };
            *crop = wanted;
        }
        (old, crop) => {
            if matches!(old, Size::ConvNext { .. }) {
                *processor_type = "ViTImageProcessor".into();
            }
            if crop.is_some() {
                *center_crop = None;
            }
            *size = Size::Exact { height, width };
        }
    }
    Ok(())
}

/// `side` scaled by `new` / `old`, limited to the allowed range.
fn scaled(side: u32, new: u32, old: u32) -> u32 {
    let exact = f64::from(side) * f64::from(new) / f64::from(old.max(1));
    (exact.round() as u32).clamp(1, MAX_SIDE)
}
