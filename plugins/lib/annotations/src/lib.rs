//! Readers of annotation files: COCO, Pascal VOC, YOLO, CSV. They know formats, and no task: what comes out is boxes with their
//! images and classes, and for COCO files, where wanted, shapes and keypoints.
//!
//! Every parser takes whatever bytes a file may have, and gives an error instead of running out of memory or stack: the
//! targets in `fuzz/` of this repository try that.

mod boxes;
pub mod coco;
pub mod csv;
pub mod fuzz;
mod images;
mod limits;
mod nan;
mod open;
mod parallel;
mod plan;
#[cfg(test)]
mod testing;
pub mod voc;
pub mod yolo;

pub use boxes::{Annotation, BoxSet, ByImage, Category, Naming};
pub use images::{Images, position};
pub use nan::plain_json;
pub use open::{Format, Found, Located, Request, locate, open};
