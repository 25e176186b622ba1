//! Everything that becomes HTML, a text table or a drawing.

pub mod drawings;
pub mod page;
pub mod sketch;
pub mod summary;
pub mod survey;
