//! Everything that becomes HTML, a text table or a drawing.

pub mod page;
pub mod pictures;
pub mod sketch;
pub mod summary;
pub mod survey;
