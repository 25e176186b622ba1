//! The interface between cvhost and its plugins, and the kit to write one.
//!
//! A plugin is a cdylib that implements traits of [`sdk`] and exports them with [`export_plugin!`]. Images, targets and
//! predictions are the types of [`data`]; tensors are in [`torch`] with the feature `tch`. `docs/plugin-authors.md` walks
//! through the smallest plugin that does something.
//!
//! Invariants: this crate never depends on the host; torch is needed only with the feature `tch`, which changes no type that
//! crosses; every call into a plugin is guarded against panics.

#[doc(hidden)]
pub mod abi;
pub mod data;
pub mod error;
pub mod forms;
#[doc(hidden)]
pub mod json_check;
mod lend;
#[doc(hidden)]
pub mod load;
pub mod note;
#[doc(hidden)]
pub mod note_bytes;
mod raw;
pub mod sdk;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tch")]
pub mod torch;

#[doc(hidden)]
pub use abi_stable;
pub use error::{PluginError, Result};
/// The JSON of configurations and checkpoints.
pub use serde_json;
