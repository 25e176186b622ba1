//! Drawing for the host and for tasks: a common palette and font, text labels, and conversion to
//! and from images that cross the plugin interface.

mod palette;
mod tag;

pub use palette::{blend, colour, ramp, text_on};
pub use tag::{Lettering, fill, put_back, take};
