//! Options of the hub client and its cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Options of the hub client and its cache, taken from the same environment variables as the hub's
/// own tools.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// `HF_ENDPOINT`, without a trailing slash.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// `HF_HUB_OFFLINE`: never use the network.
    pub offline: bool,
    /// `HF_TOKEN`, else the token file that the hub login writes.
    pub token: Option<String>,
    /// The wait before a failed request is retried; doubled after each try.
    pub retry_wait: Duration,
    /// Timeout of connecting, and of each read of a response.
    pub timeout: Duration,
}

impl HubOptions {
    /// The options from the process environment.
    pub fn from_env() -> HubOptions {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The options from `variable`, a lookup by name. Empty values count as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> HubOptions {
        let set = |name: &str| {
            variable(name)
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
        };
        let yes = |name: &str| {
            set(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()))
        };
        let user_cache = || {
            let home = || Path::new(&set("HOME").unwrap_or_else(|| "/".to_owned())).join(".cache");
            set("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
        };
        let home = set("HF_HOME").map_or_else(|| user_cache().join("huggingface"), PathBuf::from);
        let cache = set("HF_HUB_CACHE")
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .map(PathBuf::from);
        let token_file = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let login_token = || {
            let text = std::fs::read_to_string(token_file).ok()?;
            Some(text.trim().to_owned()).filter(|t| !t.is_empty())
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        HubOptions {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            offline: yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"),
            token: set("HF_TOKEN").or_else(login_token),
            retry_wait: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}
