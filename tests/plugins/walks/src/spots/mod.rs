//! Persons as boxes: the stage before keypoints. Form `walk-spots/1`: `boxes` (boxes, `[N, 4]` f32 xyxy), of predictions also
//! `scores` (column, `[N]` f32).

pub mod adapter;
pub mod task;

pub const FORM: &str = "walk-spots/1";
