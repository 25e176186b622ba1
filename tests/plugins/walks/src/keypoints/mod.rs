//! Top-down keypoints: a record a person, with the person's box as its region. Form `walk-keypoints/1`:
//!
//! | field | role | content |
//! |---|---|---|
//! | `keypoints` | keypoints | `[1, K, 3]` f32: x, y in pixels; of targets the visibility (0 not labelled, 2 visible), of predictions 0..1 how sure |
//! | `boxes` | boxes | `[1, 4]` f32 xyxy: the person's box |
//! | `scores` | column | `[1]` f32, of predictions: how sure of box and keypoints; of records to predict: of the box |
//!
//! `LabelSpec.extra` is `{"keypoints": [name; K], "sigmas": [number; K], "skeleton": [[i, j], …]}`, where a sigma is what COCO's
//! evaluation calls one: how far apart annotators put a keypoint, as a part of the person's size. Regions are upright; one that an
//! augmentation has turned says where the person is, and the network sees the person turned. The predictions of an image's
//! records are put together by the host, so an image has `[N, K, 3]`, and no fields at all where nobody is on it.

pub mod adapter;
mod metric;
pub mod people;
pub mod task;

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::serde_json::{self, Value};

pub const FORM: &str = "walk-keypoints/1";

/// What the labels say of keypoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    pub names: Vec<String>,
    pub sigmas: Vec<f64>,
    /// Pairs of keypoints that a drawing connects.
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
                "the labels name {} keypoints with {} sigmas; expected {{\"keypoints\": [name, …], \"sigmas\": [number, …]}} with \
                 them, found `{}`",
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
