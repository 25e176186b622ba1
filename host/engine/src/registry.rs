//! Plugins that are loaded: from a catalogue of files whose notes have passed to constructed components.

use crate::telemetry;
use cvhost::error::{Error, Result};
use cvhost::interrupt;
use cvhost::plugin_error::{checked, from_plugin};
use cvhost::plugins::{Catalogue, Found};
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::abi::{AdapterBox, Host, HostRef, LoggerBox, NewArgsRef, PluginRef, TaskBox};
use cvhost_plugin_api::abi_stable::prefix_type::PrefixTypeTrait;
use cvhost_plugin_api::abi_stable::std_types::{RErr, ROk};
use cvhost_plugin_api::error::AbiResult;
use cvhost_plugin_api::load::load;
use cvhost_plugin_api::sdk::NewArgs;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The plugins of a session. Each file is loaded once, when something of it is first asked for, and never unloaded.
pub struct Registry {
    catalogue: Catalogue,
    /// Held for a look-up only, never while a plugin's code runs: that code may ask for another plugin's adapter.
    loaded: Mutex<HashMap<PathBuf, PluginRef>>,
}

/// The registry of the session, for plugins that ask the host for an adapter.
static SHARED: Mutex<Option<Arc<Registry>>> = Mutex::new(None);

/// A component's name, and the plugin that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provided {
    pub name: String,
    pub plugin: String,
    pub version: String,
    pub file: PathBuf,
}

impl Registry {
    pub fn new(catalogue: Catalogue) -> Self {
        Registry {
            catalogue,
            loaded: Mutex::default(),
        }
    }

    /// The registry that plugins can ask, too: the latest shared one answers them.
    pub fn shared(catalogue: Catalogue) -> Arc<Self> {
        let registry = Arc::new(Registry::new(catalogue));
        *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&registry));
        registry
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The task of that name.
    pub fn task(&self, name: &str, config: &Value) -> Result<(TaskBox, Provided)> {
        let (found, _) = self.catalogue.require("task", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        let args = NewArgs::new(name, config.clone());
        Ok((args.lend(|args| checked(plugin.task()(args)))?, provided))
    }

    /// The adapter for a form and a checkpoint's `model_type`; `choice` is `model.adapter`.
    pub fn adapter(
        &self,
        form: &str,
        model_type: &str,
        choice: Option<&str>,
        config: &Value,
    ) -> Result<(AdapterBox, Provided)> {
        let (found, component) = self.catalogue.adapter(form, model_type, choice)?;
        let provided = provided(found, &component.name);
        let plugin = self.load(&provided.file)?;
        let args = NewArgs::new(&provided.name, config.clone());
        Ok((args.lend(|args| checked(plugin.adapter()(args)))?, provided))
    }

    /// The logger of that name.
    pub fn logger(&self, name: &str, config: &Value) -> Result<(LoggerBox, Provided)> {
        let (found, _) = self.catalogue.require("logger", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        let args = NewArgs::new(name, config.clone());
        Ok((args.lend(|args| checked(plugin.logger()(args)))?, provided))
    }

    /// Loads one plugin file whose note has passed.
    pub fn load(&self, file: &Path) -> Result<PluginRef> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = loaded().get(file) {
            return Ok(*plugin);
        }
        let plugin = load(file).map_err(|e| {
            Error::environment(format!("plugin {} could not be loaded: {e}", file.display()))
                .with_help("build it again against this host's cvhost-plugin-api, or remove it")
        })?;
        if let Err(error) = plugin.init()(host_functions()).into_result() {
            return Err(from_plugin(error).within(format!("plugin {}", file.display())));
        }
        tracing::debug!("loaded {}", file.display());
        loaded().insert(file.to_owned(), plugin);
        Ok(plugin)
    }
}

/// What plugins get of the host.
fn host_functions() -> HostRef {
    static HOST: OnceLock<HostRef> = OnceLock::new();
    *HOST.get_or_init(|| {
        Host {
            log: telemetry::log,
            max_level: telemetry::max_level,
            cancelled,
            adapter: adapter_for_plugins,
            progress: telemetry::progress,
        }
        .leak_into_prefix()
    })
}

extern "C" fn cancelled() -> bool {
    interrupt::requested()
}

/// What a plugin gets that asks the host for an adapter by name.
extern "C" fn adapter_for_plugins(args: NewArgsRef<'_>) -> AbiResult<AdapterBox> {
    let name = args.name();
    let config = serde_json::from_str(&args.config()).unwrap_or_default();
    let registry = SHARED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = registry
        .ok_or_else(|| Error::failed("the host has no plugins to ask"))
        // The form and the family don't matter where the adapter is named.
        .and_then(|registry| registry.adapter("", "", Some(name.as_str()), &config));
    match found {
        Ok((adapter, _)) => ROk(adapter),
        // Not the error's own advice: the user hasn't asked for this name.
        Err(error) => RErr(
            PluginError::environment(format!("the adapter in use builds on `{name}`: {}", error.what)).with_help(
                format!(
                    "install one plugin that provides the adapter `{name}`, or use another adapter; `cvhost plugin list` \
                     shows what was found"
                ),
            ),
        ),
    }
}

fn provided(found: &Found, component: &str) -> Provided {
    let (plugin, version) = found
        .note
        .as_ref()
        .map(|n| (n.name.clone(), n.version.clone()))
        .unwrap_or_default();
    Provided {
        name: component.to_owned(),
        plugin,
        version,
        file: found.file.clone(),
    }
}
