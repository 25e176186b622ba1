//! Which plugins are relevant to a configuration, and therefore which keys it may contain.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use cvhost_plugin_api::note::{Component, Note, Serves};
use serde_json::{Value, json};

use super::{Catalogue, Found};
use crate::config::schema::merge;
use crate::config::{Draft, PluginSchema};
use crate::error::{Error, Result};

/// Maximum size of a checkpoint's config.json that is read, in bytes.
const MAX_CONFIG_JSON: u64 = 4 << 20;

/// The plugins relevant to a configuration.
#[derive(Debug, Clone)]
pub struct Relevant {
    /// The task, if one is given.
    pub task: Option<String>,
    pub schemas: Vec<PluginSchema>,
    pub warnings: Vec<String>,
}

impl Relevant {
    /// The keys of `model` that these plugins declare, which the host passes to post-processing.
    pub fn model_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .schemas
            .iter()
            .filter_map(|plugin| plugin.schema.pointer("/properties/model/properties")?.as_object())
            .flat_map(|properties| properties.keys().cloned())
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// Finds the task (`plugin` is `--plugin`), the adapters that may serve the model, and the
/// requested loggers. If the task or the model's family is not known yet, all are included.
///
/// # Errors
/// If `--plugin` contradicts `model.task_type`, or no plugin provides the task, adapter or logger.
pub fn relevant(catalogue: &Catalogue, draft: &Draft, plugin: Option<&str>) -> Result<Relevant> {
    let task_type = draft.text("model.task_type");
    if let (Some(plugin), Some(task_type)) = (plugin, &task_type)
        && plugin != task_type
    {
        let message =
            format!("`model.task_type` is `{task_type}`, but the command line has --plugin {plugin}");
        return Err(draft
            .error_at("model.task_type", message)
            .with_help("leave one of them out"));
    }
    let task = plugin.map(str::to_owned).or(task_type);
    let mut used: Vec<Used> = Vec::new();
    match &task {
        Some(name) => {
            let required = catalogue.require("task", name);
            let (found, component) = required.map_err(|e| {
                if plugin.is_some() {
                    e
                } else {
                    at(draft, "model.task_type", e)
                }
            })?;
            used.extend(Used::of(found, component));
        }
        None => used.extend(catalogue.components("task").filter_map(|(f, c)| Used::of(f, c))),
    }
    used.extend(adapters(catalogue, draft)?);
    let mut warnings = Vec::new();
    for name in draft.logger_names() {
        match catalogue.require("logger", &name) {
            Ok((found, component)) => used.extend(Used::of(found, component)),
            // Files for other installations may contain this section, so it is not an error.
            Err(_) if name == "mlflow" => {
                warnings.push("`mlflow` has no effect: no plugin provides a logger of that name".to_owned());
            }
            Err(error) => return Err(at(draft, &format!("loggers.{name}"), error)),
        }
    }
    used.extend(
        catalogue
            .components("logger")
            .filter(|(_, c)| c.default)
            .filter_map(|(f, c)| Used::of(f, c)),
    );
    Ok(Relevant {
        schemas: schemas(&used, task.as_deref()),
        task,
        warnings,
    })
}

/// A component relevant to a configuration, with its plugin's note.
struct Used<'a> {
    note: &'a Note,
    component: &'a Component,
}

impl<'a> Used<'a> {
    fn of(found: &'a Found, component: &'a Component) -> Option<Self> {
        let note = found.note.as_ref()?;
        Some(Used { note, component })
    }
}

/// The keys of the plugins of these components, one schema per plugin. Keys below
/// `components.<kind>.<name>` in a plugin's schema apply if that component is in use and take
/// precedence over the plugin-wide keys. The defaults of `task`, if one is chosen, also apply to
/// the host's keys.
fn schemas(used: &[Used<'_>], task: Option<&str>) -> Vec<PluginSchema> {
    let mut schemas: Vec<PluginSchema> = Vec::new();
    for Used { note, component } in used {
        let own = note
            .config_schema
            .pointer("/components")
            .and_then(|c| c.get(&component.kind)?.get(&component.name));
        let at = match schemas.iter().position(|s| s.plugin == note.name) {
            Some(at) => at,
            None => {
                schemas.push(PluginSchema {
                    plugin: note.name.clone(),
                    schema: json!({}),
                    defaults: Value::Null,
                });
                schemas.len() - 1
            }
        };
        let Some(schema) = schemas.get_mut(at) else {
            continue;
        };
        if let Some(own) = own {
            merge(&mut schema.schema, own);
        }
        if component.kind == "task" && task == Some(component.name.as_str()) {
            let mut defaults = own.cloned().unwrap_or_else(|| json!({}));
            merge(&mut defaults, &common(note));
            schema.defaults = defaults;
        }
    }
    for schema in &mut schemas {
        if let Some(Used { note, .. }) = used.iter().find(|u| u.note.name == schema.plugin) {
            merge(&mut schema.schema, &common(note));
        }
    }
    schemas
}

/// The part of a plugin's schema that applies to all of its components.
fn common(note: &Note) -> Value {
    let mut schema = note.config_schema.clone();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("components");
    }
    schema
}

/// The chosen adapter; otherwise those for the `model_type` of a model folder, without any replaced
/// by one from a file given on the command line; or all, for a model that isn't local yet.
fn adapters<'a>(catalogue: &'a Catalogue, draft: &Draft) -> Result<Vec<Used<'a>>> {
    if let Some(name) = draft.text("model.adapter") {
        let (found, component) = catalogue
            .require("adapter", &name)
            .map_err(|e| at(draft, "model.adapter", e))?;
        return Ok(Used::of(found, component).into_iter().collect());
    }
    let folder = draft.text("model.model_name").map(|name| draft.find_path(&name));
    let model_type = folder.and_then(|folder| model_type(&folder));
    let named = |pair: &Serves| {
        let mut adapters = catalogue.components("adapter").filter(|(f, _)| f.is_named());
        adapters.any(|(_, c)| c.serves.contains(pair))
    };
    let serving = |wanted: Option<&str>| {
        let serves = |found: &Found, component: &Component| {
            let mut pairs = component.serves.iter();
            pairs
                .any(|pair| wanted.is_none_or(|w| pair.model_type == w) && (found.is_named() || !named(pair)))
        };
        let fitting = catalogue.components("adapter").filter(|(f, c)| serves(f, c));
        fitting.filter_map(|(f, c)| Used::of(f, c)).collect::<Vec<_>>()
    };
    let fitting = serving(model_type.as_deref());
    Ok(if fitting.is_empty() {
        serving(None)
    } else {
        fitting
    })
}

/// The `model_type` of a checkpoint folder, if it can be read. Problems with the checkpoint are
/// reported when it is loaded.
fn model_type(folder: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(folder.join("config.json"))
        .ok()?
        .take(MAX_CONFIG_JSON)
        .read_to_string(&mut text)
        .ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    config.get("model_type")?.as_str().map(str::to_owned)
}

/// `error` with the line of the key that caused it.
fn at(draft: &Draft, path: &str, error: Error) -> Error {
    let located = draft.error_at(path, error.what.clone());
    Error {
        place: located.place,
        ..error
    }
}
