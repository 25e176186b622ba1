//! Checkpoints: Hugging Face folders in and out.
//!
//! | module | contents |
//! |---|---|
//! | [`folder`] | opens a model folder: JSON files, weight files, label names |
//! | [`weights`] | reads and checks safetensors files |
//! | [`labels`] | the labels that a model was trained for, in its `config.json` |
//! | [`load`] | loads weights into a model's parameters, and reports mismatches |
//! | [`packed`] | a safetensors file in memory |
//! | [`save`] | writes a model folder |
//! | [`state`] | the training state, saved alongside the model |
//! | [`store`] | a run's checkpoint folder: top-k, last, the second copy |
//! | [`background`] | saves checkpoints in the background |

pub mod background;
pub mod folder;
pub mod labels;
pub mod load;
pub mod packed;
pub mod save;
pub mod state;
pub mod store;
pub mod weights;

pub use background::{Saver, Snapshot};
pub use folder::ModelFolder;
pub use load::{LoadPolicy, LoadReport, load_into};
pub use packed::Packed;
pub use save::{ModelImage, ModelParts, save_model};
pub use state::{StateImage, TrainingState};
pub use store::{Checkpoints, Found, RetentionPolicy, Saved, Stamp, latest_valid};
pub use weights::Weights;
