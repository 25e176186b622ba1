//! What a plugin says of itself, readable from the file without running it.
//!
//! [`export_plugin!`](crate::export_plugin) writes an ELF note (section [`SECTION`], owner [`OWNER`], type [`TYPE`]) into the
//! plugin's own crate; its content is the JSON of [`Note`].

use serde::{Deserialize, Serialize};

/// The ELF section that holds the note.
pub const SECTION: &str = ".note.cvhost";
/// The owner name in the note's header, without the trailing NUL.
pub const OWNER: &str = "cvhost";
/// The note's type in its header.
pub const TYPE: u32 = 1;
/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;
/// The version of this interface; a plugin was built against one, the host provides one.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The libtorch that torch plugins and the engine are built for.
pub const LIBTORCH_VERSION: &str = "2.11.0";
/// The target triple of the compilation.
pub const TARGET: &str = env!("CVHOST_TARGET");
/// `rustc --version` of the compilation.
pub const RUSTC: &str = env!("CVHOST_RUSTC");

/// The content of a plugin's note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// [`SCHEMA`] at the time of the build. A host refuses a schema that it does not know.
    pub schema: u32,
    /// The plugin's name: its crate name, unless the export macro says otherwise.
    pub name: String,
    /// The plugin's own version (semver).
    pub version: String,
    /// The version of `cvhost-plugin-api` that it was built against (semver).
    pub api: String,
    /// The libtorch version that it links, or none.
    pub libtorch: Option<String>,
    /// Target triple, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// The compiler, as `rustc --version` prints it.
    pub rustc: String,
    /// `unwind` or `abort`. A plugin built with `abort` can't be guarded and is rejected.
    pub panic: String,
    pub license: String,
    pub description: String,
    pub components: Vec<Component>,
    /// JSON Schema of the configuration keys that the plugin reads, as a part of the whole document: for example
    /// `{"properties":{"data":{"properties":{"separator":{"enum":[",",";"]}}}}}`.
    #[serde(default)]
    pub config_schema: serde_json::Value,
}

/// One thing that a plugin provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `task`, `adapter` or `logger`.
    pub kind: String,
    /// The name by which a configuration asks for it.
    pub name: String,
    /// Of an adapter: the pairs of form and checkpoint `model_type` that it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<Serves>,
    /// Of a logger: on in every run, unless the configuration says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
}

/// A versioned form of targets and predictions, such as `name/1`, with the `model_type` of a checkpoint's `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serves {
    pub form: String,
    pub model_type: String,
}
