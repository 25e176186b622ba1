//! The computed part of a model family.

use cvhost_plugin_api::error::Result;
use cvhost_set_prediction::Predictions;
use serde_json::{Map, Value};
use tch::Tensor;

/// A batch as the network sees it.
pub struct Images<'a> {
    /// `[N, 3, H, W]`.
    pub pixel_values: &'a Tensor,
    /// `[N, H, W]`, 1 on the image and 0 on padding. `None` if no image is padded.
    pub pixel_mask: Option<&'a Tensor>,
    /// Whether dropout is active.
    pub train: bool,
}

/// What happens to padding when images of different sizes share a batch.
///
/// A padded image yields other boxes than it does alone, by several pixels: through attention if
/// the network has no mask, and through the backbone's border and the mask's resolution if it has
/// one. In evaluation and prediction padding is therefore always removed, and images of equal size
/// run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Training keeps padding and passes [`Images::pixel_mask`], as the reference implementation of
    /// DETR does.
    Masked,
    /// Training removes padding too; the network never gets a mask.
    Removed,
}

/// A detection network: `N` images to `Q` predictions per decoder layer and image.
pub trait Network: Send {
    /// The number of queries `Q`.
    fn queries(&self) -> i64;

    /// The smallest usable height and width of an image, in pixels.
    fn smallest_input(&self) -> i64 {
        1
    }

    /// The decoder's states `[N, Q, d]` after each layer, the last layer last. Layers before the
    /// last one may be omitted unless `every_layer`.
    fn layers(&self, images: &Images<'_>, every_layer: bool) -> Result<Vec<Tensor>>;

    /// The predictions from one layer's states `[N, Q, d]`; see [`Heads`](crate::Heads).
    fn heads(&self, states: &Tensor) -> Predictions;

    /// Alternative names of the parameter `name` in checkpoints.
    fn aliases(&self, name: &str) -> Vec<String> {
        let _ = name;
        Vec::new()
    }

    /// Writes the values that the configuration overrode into the `config.json` to save. `json`
    /// holds the original file with the data set's classes.
    fn write_config(&self, json: &mut Map<String, Value>);
}
