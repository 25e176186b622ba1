//! Readers for annotation files: COCO, Pascal VOC, YOLO, CSV. They know formats, not tasks: they
//! return boxes with their images and classes and, for COCO files, shapes and keypoints on request.
//!
//! Every parser accepts arbitrary bytes and returns an error rather than running out of memory or
//! stack; the fuzz targets in this repository's `fuzz/` check this.

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
