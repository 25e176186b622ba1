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
