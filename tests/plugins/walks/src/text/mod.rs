//! Text recognition: one line of text per image. Form `walk-text/1`:
//!
//! | field | role | content |
//! |---|---|---|
//! | `text` | text | the line's text, UTF-8 |
//! | `score` | opaque | `[1]` f32, 0..1, predictions only |
//!
//! `LabelSpec.extra` is `{"charset": "…"}`: the possible characters, each once. There are no
//! classes. Text is never mirrored: `config.schema.json` makes `horizontal_flip: 0` the default.

pub mod adapter;
mod font;
mod images;
mod metric;
pub mod task;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::{self, Value};

pub const FORM: &str = "walk-text/1";

/// The possible characters.
pub fn charset(spec: &LabelSpec) -> Result<Vec<char>> {
    let extra: Value = serde_json::from_str(&spec.extra).unwrap_or_default();
    let charset: Vec<char> = extra["charset"].as_str().unwrap_or_default().chars().collect();
    if charset.is_empty() {
        return Err(PluginError::data(format!(
            "the labels have no characters; expected {{\"charset\": \"ABC…\"}} with the labels, found `{}`",
            spec.extra
        )));
    }
    Ok(charset)
}
