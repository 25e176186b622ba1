//! What tasks share in reading annotations. Nothing here knows a task or its annotation format.

mod class_names;
mod image_folder;
mod problems;
mod size;

pub use class_names::{check_num_classes, checkpoint_numbering, list_of};
pub use image_folder::{ImageFolder, LEAVING, MISSING, Trouble};
pub use problems::{Faults, Tally};
pub use size::upright_size;
