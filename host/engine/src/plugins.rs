//! Plugins that are loaded: from a catalogue of files whose notes have passed to constructed components.

use crate::error::{checked, from_plugin};
use crate::telemetry;
use cvhost::error::{Error, Result};
use cvhost::plugins::{Catalogue, Found};
use cvhost_plugin_api::abi::{AdapterBox, LoggerBox, PluginRef, TaskBox};
use cvhost_plugin_api::abi_stable::std_types::RStr;
use cvhost_plugin_api::load::load;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The plugins of a session. Each file is loaded once, when something of it is first asked for, and never unloaded.
pub struct Registry {
    catalogue: Catalogue,
    loaded: HashMap<PathBuf, PluginRef>,
}

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
            loaded: HashMap::new(),
        }
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The task of that name.
    pub fn task(&mut self, name: &str) -> Result<(TaskBox, Provided)> {
        let (found, _) = self.catalogue.require("task", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        Ok((checked(plugin.task()(RStr::from_str(name)))?, provided))
    }

    /// The adapter for a form and a checkpoint's `model_type`; `choice` is `model.adapter`.
    pub fn adapter(
        &mut self,
        form: &str,
        model_type: &str,
        choice: Option<&str>,
    ) -> Result<(AdapterBox, Provided)> {
        let (found, component) = self.catalogue.adapter(form, model_type, choice)?;
        let provided = provided(found, &component.name);
        let plugin = self.load(&provided.file)?;
        Ok((
            checked(plugin.adapter()(RStr::from_str(&provided.name)))?,
            provided,
        ))
    }

    /// The logger of that name.
    pub fn logger(&mut self, name: &str) -> Result<(LoggerBox, Provided)> {
        let (found, _) = self.catalogue.require("logger", name)?;
        let provided = provided(found, name);
        let plugin = self.load(&provided.file)?;
        Ok((checked(plugin.logger()(RStr::from_str(name)))?, provided))
    }

    /// Loads one plugin file whose note has passed.
    pub fn load(&mut self, file: &Path) -> Result<PluginRef> {
        if let Some(plugin) = self.loaded.get(file) {
            return Ok(*plugin);
        }
        let plugin = load(file).map_err(|e| {
            Error::environment(format!("plugin {} could not be loaded: {e}", file.display()))
                .with_help("build it again against this host's cvhost-plugin-api, or remove it")
        })?;
        if let Err(error) = plugin.init()(telemetry::host()).into_result() {
            return Err(from_plugin(error).within(format!("plugin {}", file.display())));
        }
        tracing::debug!("loaded {}", file.display());
        self.loaded.insert(file.to_owned(), plugin);
        Ok(plugin)
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
