//! Logger `jsonl`: records a run as plain files in the run folder.
//!
//! | file | content |
//! |---|---|
//! | `params.json` | the resolved configuration, and parameters logged later |
//! | `tags.json` | text tags, if there are any |
//! | `metrics.jsonl` | one line per log call: `{"step": …, "time_ms": …, "val_map": …}` |
//! | `pictures/<name>-<step>.png` | logged images that aren't yet files in the run folder |
//! | `artifacts.jsonl` | one line per file, checkpoint or drawn image: name, path, step, time |
//! | `artifacts/` | copies of files from outside the run folder, except checkpoints |
//! | `status.json` | `{"status": "running"}`, finally `ok`, `failed` or `interrupted` |
//!
//! A resumed run continues the same files: lines written after the checkpoint are truncated, so
//! nothing is duplicated. There is nothing to configure.

mod artifacts;
mod files;
mod lines;
mod logger;

use schemars::JsonSchema;

/// Section `loggers.jsonl`, which has no keys.
#[derive(JsonSchema)]
#[allow(dead_code)] // only used to generate the schema
#[schemars(deny_unknown_fields)]
struct JsonlConfig {}

cvhost_plugin_api::export_plugin! {
    schema: "../config.schema.json",
    loggers: { default "jsonl" => |_| Ok(logger::JsonlLogger::default()) },
}

#[cfg(test)]
mod tests {
    use super::JsonlConfig;
    use schemars::generate::SchemaSettings;
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn the_schema_file_matches_the_type() {
        let generator = SchemaSettings::draft2020_12()
            .with(|s| s.inline_subschemas = true)
            .into_generator();
        let mut section = generator.into_root_schema_for::<JsonlConfig>().to_value();
        if let Some(section) = section.as_object_mut() {
            section.remove("$schema");
            section.remove("title");
            section.insert("properties".to_owned(), json!({}));
        }
        let schema = json!({"properties": {"loggers": {"properties": {"jsonl": section}}}});
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.schema.json");
        cvhost_plugin_api::testing::schema_is_current(&file, &schema);
    }
}
