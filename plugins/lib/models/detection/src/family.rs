//! The static part of a model family.

use crate::network::{Network, Padding};
use cvhost_image_processor::Defaults;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::Scope;
use cvhost_set_prediction::LossSettings;
use serde_json::Value;

/// A detection model family: how its checkpoints are read, and the defaults for missing keys.
pub trait Family: 'static {
    type Network: Network + 'static;

    /// `model_type` in the saved `config.json`.
    const MODEL_TYPE: &'static str;
    /// The only entry of `architectures` in the saved `config.json`.
    const ARCHITECTURE: &'static str;
    /// Image processing where `preprocessor_config.json` lacks a key.
    const PROCESSOR: Defaults;
    /// What happens to padding when images of different sizes share a batch.
    const PADDING: Padding;
    /// Matching costs and loss coefficients where `config.json` lacks a key.
    const LOSS: LossSettings = LossSettings::DETR;

    /// The stride of the coarsest feature map in pixels, from `config.json`.
    ///
    /// # Errors
    /// An unusable `config.json`. The stride is then unknown; [`Family::network`] reports the
    /// error.
    fn stride(json: &Value) -> Result<i64>;

    /// Builds the network under `root`. `json` is `config.json`, `config` the whole resolved
    /// configuration, and `classes` the number of classes without "no object".
    ///
    /// # Errors
    /// A value in `json` or `config` of the wrong type or out of range; the error names its key.
    fn network(root: &Scope, json: &Value, config: &Value, classes: i64) -> Result<Self::Network>;
}
