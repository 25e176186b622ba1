//! The names of the form `detection/1` and of a detector's model inputs.

pub use cvhost_image_processor::PIXEL_VALUES;

/// The form of targets and predictions.
pub const FORM: &str = "detection/1";
/// The boxes of targets and predictions, `[K, 4]`.
pub const BOXES: &str = "boxes";
/// The class index of each box, `[K]` i64.
pub const CLASS_LABELS: &str = "class_labels";
/// The score of each predicted box, `[K]` f32 in 0..1.
pub const SCORES: &str = "scores";
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
            tasks: {},
            adapters: {
                // `FORM`; the note is assembled from literals.
                $name => $crate::DetectorAdapter::<$family>::new(), serves [("detection/1", $name)]
            },
            loggers: {},
        }
    };
}
