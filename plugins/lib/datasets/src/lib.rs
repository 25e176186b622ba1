//! Helpers that tasks share for reading annotations. Nothing here depends on a task or an
//! annotation format.

mod class_names;
mod image_folder;
mod problems;
mod size;

pub use class_names::{check_num_classes, checkpoint_numbering, list_of};
pub use image_folder::{ImageFolder, LEAVING, MISSING, Trouble};
pub use problems::{Faults, Tally};
pub use size::upright_size;
