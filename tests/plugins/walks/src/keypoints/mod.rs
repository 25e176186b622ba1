//! Top-down keypoints: one record per person, with the person's box as its region. Form
//! `walk-keypoints/1`:
//!
//! | field | role | content |
//! |---|---|---|
//! | `keypoints` | keypoints | `[1, K, 3]` f32: x, y in pixels; in targets the visibility (0 not labelled, 2 visible), in predictions a score 0..1 |
//! | `boxes` | boxes | `[1, 4]` f32 xyxy: the person's box |
//! | `scores` | column | `[1]` f32: in predictions the score of box and keypoints; in records to predict the score of the box |
//!
//! `LabelSpec.extra` is `{"keypoints": [name; K], "sigmas": [number; K], "skeleton": [[i, j], …]}`,
//! with sigmas as in COCO's evaluation: how far apart annotators place a keypoint, as a fraction of
//! the person's size. Regions are axis-aligned; one that an augmentation has rotated still gives
//! the person's location, and the network sees the person rotated. The host combines the
//! predictions of an image's records, so an image has `[N, K, 3]`, and no fields at all if there is
//! nobody in it.

pub mod adapter;
mod metric;
pub mod people;
pub mod task;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::{self, Value};

pub const FORM: &str = "walk-keypoints/1";

/// The labels' description of keypoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    pub names: Vec<String>,
    pub sigmas: Vec<f64>,
    /// Pairs of keypoints that drawings connect.
    pub skeleton: Vec<[usize; 2]>,
}

impl Anatomy {
    pub fn of(spec: &LabelSpec) -> Result<Self> {
        let extra: Value = serde_json::from_str(&spec.extra).unwrap_or_default();
        let list = |key: &str| extra[key].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = list("keypoints")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let sigmas: Vec<f64> = list("sigmas").iter().filter_map(Value::as_f64).collect();
        let end = |pair: &Value, i: usize| pair[i].as_u64().map(|k| k as usize).filter(|k| *k < names.len());
        let skeleton = list("skeleton")
            .iter()
            .filter_map(|p| Some([end(p, 0)?, end(p, 1)?]))
            .collect();
        if names.is_empty() || sigmas.len() != names.len() {
            return Err(PluginError::data(format!(
                "the labels name {} keypoints with {} sigmas; expected \
                 {{\"keypoints\": [name, …], \"sigmas\": [number, …]}} with the labels, found `{}`",
                names.len(),
                sigmas.len(),
                spec.extra
            )));
        }
        Ok(Anatomy {
            names,
            sigmas,
            skeleton,
        })
    }
}
