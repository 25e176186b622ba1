//! Loads plugins from the catalogue and constructs their components.

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

/// The plugins of a session. Each file is loaded once, on first use, and never unloaded.
pub struct Registry {
    catalogue: Catalogue,
    /// Locked only for look-ups, never while plugin code runs: that code may ask for another
    /// plugin's adapter.
    loaded: Mutex<HashMap<PathBuf, PluginRef>>,
}

/// The registry for plugins that ask the host for an adapter.
static SHARED: Mutex<Option<Arc<Registry>>> = Mutex::new(None);

/// The name of a component and the plugin that provides it.
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

    /// Creates a registry that also answers requests of plugins; the latest shared registry is
    /// used.
    pub fn shared(catalogue: Catalogue) -> Arc<Self> {
        let registry = Arc::new(Registry::new(catalogue));
        *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&registry));
        registry
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Creates the task with this name.
    pub fn task(&self, name: &str, config: &Value) -> Result<(TaskBox, Provided)> {
        let (found, _) = self.catalogue.require("task", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        let args = NewArgs::new(name, config.clone());
        Ok((args.lend(|args| checked(plugin.task()(args)))?, provided))
    }

    /// Creates the adapter for a target form and a checkpoint's `model_type`; `choice` is
    /// `model.adapter`.
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

    /// Creates the logger with this name.
    pub fn logger(&self, name: &str, config: &Value) -> Result<(LoggerBox, Provided)> {
        let (found, _) = self.catalogue.require("logger", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        let args = NewArgs::new(name, config.clone());
        Ok((args.lend(|args| checked(plugin.logger()(args)))?, provided))
    }

    /// Loads a plugin file whose note has been checked.
    pub fn load(&self, file: &Path) -> Result<PluginRef> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = loaded().get(file) {
            return Ok(*plugin);
        }
        let plugin = load(file).map_err(|e| {
            Error::environment(format!("cannot load plugin {}: {e}", file.display()))
                .with_help("rebuild it against this host's version of cvhost-plugin-api, or remove it")
        })?;
        if let Err(error) = plugin.init()(host_functions()).into_result() {
            return Err(from_plugin(error).within(format!("plugin {}", file.display())));
        }
        tracing::debug!("loaded {}", file.display());
        loaded().insert(file.to_owned(), plugin);
        Ok(plugin)
    }
}

/// The host functions for plugins.
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

/// Creates the adapter that a plugin asks for by name.
extern "C" fn adapter_for_plugins(args: NewArgsRef<'_>) -> AbiResult<AdapterBox> {
    let name = args.name();
    let config = serde_json::from_str(&args.config()).unwrap_or_default();
    let registry = SHARED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = registry
        .ok_or_else(|| Error::failed("the host has no plugin registry"))
        // The form and model family don't matter if the adapter is named.
        .and_then(|registry| registry.adapter("", "", Some(name.as_str()), &config));
    match found {
        Ok((adapter, _)) => ROk(adapter),
        // Not the error's own help: the user hasn't asked for this name.
        Err(error) => RErr(
            PluginError::environment(format!("the adapter in use depends on `{name}`: {}", error.what))
                .with_help(format!(
                    "install one plugin that provides the adapter `{name}`, or use another \
                     adapter; `cvhost plugin list` lists the plugins found"
                )),
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
