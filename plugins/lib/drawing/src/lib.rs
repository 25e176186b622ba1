//! What tasks share in drawing predictions onto pictures: a colour for every class, and tags with text.

mod palette;
mod tag;

pub use palette::{colour, text_on};
pub use tag::{Lettering, fill, put_back, take};
