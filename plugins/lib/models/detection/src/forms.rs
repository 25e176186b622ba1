//! The names of the form `detection/1` and of a detector's model inputs.

pub use cvhost_image_processor::PIXEL_VALUES;
pub use cvhost_plugin_api::forms::detection::{BOXES, CLASS_LABELS, FORM, SCORES};

/// The padding mask of a batch, `[N, H, W]`: 1 on the image, 0 on padding.
pub const PIXEL_MASK: &str = "pixel_mask";

/// Exports a plugin whose only component is the adapter of a [`Family`](crate::Family), with
/// `config.schema.json` next to `src/` as its schema: `export_detector!("detr" => Detr);`. The
/// adapter's name is also the `model_type` that it serves.
#[macro_export]
macro_rules! export_detector {
    ($name:literal => $family:ty) => {
        ::cvhost_plugin_api::export_plugin! {
            torch: true,
            schema: "../config.schema.json",
            adapters: {
                $name => |_| Ok($crate::DetectorAdapter::<$family>::new()), serves [($crate::forms::FORM, $name)]
            },
        }
    };
}
