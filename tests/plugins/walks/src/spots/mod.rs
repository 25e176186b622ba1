//! Boxes around people: the stage before keypoints. Form `walk-spots/1`: `boxes` (boxes, `[N, 4]`
//! f32 xyxy); predictions also have `scores` (column, `[N]` f32).

pub mod adapter;
pub mod task;

pub const FORM: &str = "walk-spots/1";
