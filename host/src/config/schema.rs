//! The JSON Schema that a configuration is checked against: the host's own, merged with the keys of
//! all relevant plugins.
//!
//! Supported subset: type, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum,
//! minLength, minItems, maxItems, items, properties, required, additionalProperties, anyOf, oneOf,
//! allOf, default, description, $ref into $defs. Stricter than JSON Schema in one respect: an
//! object with `properties` but without `additionalProperties` accepts no other keys.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::check::check;
use super::node::{Mark, Node};
use super::sections::{Config, MlflowConfig};

/// The configuration keys of one plugin, as declared in its note.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSchema {
    /// The plugin's name, for messages.
    pub plugin: String,
    /// A partial schema of the whole document: `{"properties":{"data":{"properties":{…}}}}`. Null
    /// adds nothing.
    pub schema: Value,
    /// A partial schema whose defaults apply to the host's own keys; given for the chosen task.
    /// Null changes nothing.
    pub defaults: Value,
}

/// Maximum depth of `$ref`s; a recursive schema is cut off here and accepts anything below.
const MAX_REFS: usize = 16;
/// Maximum size of a plugin schema with its references expanded, in values.
const MAX_SCHEMA: usize = 20_000;

/// The host's schema alone.
pub fn host() -> Value {
    let generator = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    let generator = SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .into_generator();
    let mlflow = generator.into_root_schema_for::<MlflowConfig>().to_value();
    // A missing section is treated as empty, so its defaults are those of its keys.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for section in properties.values_mut().filter_map(Value::as_object_mut) {
            section.insert("default".to_owned(), json!({}));
        }
        properties.insert(
            "loggers".to_owned(),
            json!({
                "description": "Loggers by name, each with its own keys.",
                "type": "object",
                "default": {},
                "properties": {"mlflow": mlflow},
                "additionalProperties": {"type": "object", "additionalProperties": true},
            }),
        );
        properties.insert("mlflow".to_owned(), mlflow);
    }
    if let Some(root) = schema.as_object_mut() {
        root.insert("required".to_owned(), json!(["model"]));
    }
    schema
}

/// The host's schema merged with the keys of `plugins`. The host's definition of a key takes
/// precedence, then the first plugin's. Only the default of a host key can be set by the chosen
/// task, as defaults are task-specific.
pub fn merged(plugins: &[PluginSchema]) -> Value {
    let mut schema = host();
    let mut added = json!({});
    for plugin in plugins {
        let mut budget = MAX_SCHEMA;
        merge(
            &mut added,
            &written_out(&plugin.schema, &plugin.schema, 0, &mut budget),
        );
    }
    for defaults in plugins.iter().map(|p| &p.defaults) {
        for (section, added) in defaults["properties"].as_object().into_iter().flatten() {
            if let Some(section) = schema["properties"].get_mut(section) {
                take_defaults(section, added);
            }
        }
    }
    merge(&mut schema, &added);
    // The top-level `mlflow` accepts the same keys as the logger of that name.
    let logger = schema.pointer("/properties/loggers/properties/mlflow").cloned();
    if let (Some(logger), Some(section)) = (logger, schema.pointer_mut("/properties/mlflow")) {
        *section = logger;
        if let Some(section) = section.as_object_mut() {
            section.remove("default");
        }
    }
    schema
}

/// `schema` with every reference into the definitions of `root` replaced by its target.
fn written_out(schema: &Value, root: &Value, refs: usize, budget: &mut usize) -> Value {
    if *budget == 0 {
        return Value::Bool(true);
    }
    *budget -= 1;
    match schema {
        Value::Array(items) => items.iter().map(|s| written_out(s, root, refs, budget)).collect(),
        Value::Object(map) => {
            let mut out = Map::new();
            if let Some(Value::String(reference)) = map.get("$ref") {
                let target = reference
                    .strip_prefix('#')
                    .and_then(|pointer| root.pointer(pointer));
                match target {
                    Some(target) if refs < MAX_REFS => {
                        if let Value::Object(target) = written_out(target, root, refs + 1, budget) {
                            out = target;
                        }
                    }
                    _ => {}
                }
            }
            for (key, value) in map {
                if !matches!(key.as_str(), "$ref" | "$defs" | "definitions" | "$schema") {
                    let value = match key.as_str() {
                        "default" | "enum" | "const" | "examples" => value.clone(),
                        _ => written_out(value, root, refs, budget),
                    };
                    out.insert(key.clone(), value);
                }
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

/// Copies the defaults that `more` has for keys of `base`, a section or a part of one, if they are
/// valid for the key.
fn take_defaults(base: &mut Value, more: &Value) {
    let properties = |schema: &Value| schema.get("properties").and_then(Value::as_object).cloned();
    let (Some(own), Some(added)) = (
        base.get_mut("properties").and_then(Value::as_object_mut),
        properties(more),
    ) else {
        return;
    };
    for (name, schema) in added {
        let Some(known) = own.get_mut(&name) else { continue };
        let default = schema
            .get("default")
            .filter(|default| check(&Node::from_json(default, Mark::Default), known).is_empty());
        if let (Some(known), Some(default)) = (known.as_object_mut(), default) {
            known.insert("default".to_owned(), default.clone());
        }
        take_defaults(known, &schema);
    }
}

/// Adds to `base` everything in `more` that `base` doesn't define. `required` becomes the union of
/// both.
pub(crate) fn merge(base: &mut Value, more: &Value) {
    let (Value::Object(base), Value::Object(more)) = (base, more) else {
        return;
    };
    for (key, value) in more {
        match (base.get_mut(key), key.as_str()) {
            (None, _) => {
                base.insert(key.clone(), value.clone());
            }
            (Some(Value::Array(own)), "required") => {
                for name in value.as_array().into_iter().flatten() {
                    if !own.contains(name) {
                        own.push(name.clone());
                    }
                }
            }
            (Some(own), "properties") => {
                let (Some(own), Some(added)) = (own.as_object_mut(), value.as_object()) else {
                    continue;
                };
                for (name, schema) in added {
                    match own.get_mut(name) {
                        Some(known) => merge(known, schema),
                        None => {
                            own.insert(name.clone(), schema.clone());
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(schema: Value) -> PluginSchema {
        PluginSchema {
            plugin: "p".to_owned(),
            schema,
            defaults: Value::Null,
        }
    }

    #[test]
    fn the_host_schema_has_no_references_and_all_sections() {
        let schema = host();
        assert!(!schema.to_string().contains("$ref"));
        for section in ["model", "data", "training", "loggers", "mlflow", "output"] {
            assert!(
                schema["properties"][section]["properties"].is_object(),
                "{section}"
            );
        }
        assert_eq!(
            schema["properties"]["training"]["properties"]["learning_rate"]["default"],
            json!(1e-4)
        );
        assert_eq!(
            schema["properties"]["training"]["properties"]["max_epochs"]["minimum"],
            json!(1)
        );
    }

    #[test]
    fn a_plugin_adds_keys_and_cannot_change_the_hosts() {
        let own = json!({"properties": {"data": {
            "additionalProperties": true,
            "properties": {"cache_mb": {"type": "string"}, "box_policy": {"$ref": "#/$defs/Policy"}}}},
            "$defs": {"Policy": {"enum": ["error", "clip"]}}});
        let schema = merged(&[plugin(own)]);
        let data = &schema["properties"]["data"];
        assert_eq!(data["properties"]["cache_mb"]["type"], "integer");
        assert_eq!(data["properties"]["box_policy"]["enum"], json!(["error", "clip"]));
    }

    #[test]
    fn only_the_task_may_change_a_default_and_only_to_a_valid_value() {
        let of = |schema: Value, task: bool| PluginSchema {
            defaults: if task { schema.clone() } else { Value::Null },
            ..plugin(schema)
        };
        let clip = |value: Value| json!({"properties": {"training": {"properties": {"gradient_clip": {"default": value}}}}});
        let default = |plugins: &[PluginSchema]| {
            let schema = merged(plugins);
            let key = &schema["properties"]["training"]["properties"]["gradient_clip"];
            assert_eq!(key["minimum"], json!(0.0));
            key["default"].clone()
        };
        assert_eq!(
            default(&[of(clip(json!(2.0)), false), of(clip(json!(1.0)), true)]),
            json!(1.0)
        );
        assert_eq!(default(&[of(clip(json!(2.0)), false)]), json!(0.1));
        assert_eq!(default(&[of(clip(json!(-1.0)), true)]), json!(0.1));
        assert_eq!(default(&[of(clip(json!("much")), true)]), json!(0.1));
        let flips = json!({"properties": {"data": {"properties": {"augmentations": {"default": {}}}}}});
        let schema = merged(&[of(flips, true)]);
        let augmentations = &schema["properties"]["data"]["properties"]["augmentations"];
        assert_eq!(augmentations["default"], json!({}), "{augmentations}");
    }

    #[test]
    fn recursive_schemas_terminate() {
        let own = json!({"properties": {"model": {"properties": {"tree": {"$ref": "#/$defs/T"}}}},
            "$defs": {"T": {"type": "object", "properties": {"a": {"$ref": "#/$defs/T"}, "b": {"$ref": "#/$defs/T"}}}}});
        let schema = merged(&[plugin(own)]);
        assert_eq!(
            schema["properties"]["model"]["properties"]["tree"]["type"],
            "object"
        );
    }

    #[test]
    fn invalid_schemas_add_nothing() {
        for nonsense in [json!(null), json!(3), json!([]), json!({"properties": 3})] {
            assert_eq!(merged(&[plugin(nonsense)]), merged(&[]));
        }
    }
}
