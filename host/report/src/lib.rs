//! Output as HTML, text tables and drawings.

pub mod drawings;
pub mod page;
pub mod sketch;
pub mod summary;
pub mod survey;
