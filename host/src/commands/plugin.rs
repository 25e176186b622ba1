//! `cvhost plugin list` and `plugin inspect`, based on the contents of the plugin files only.

use std::path::Path;

use cvhost::cli::Global;
use cvhost::error::{Error, Result};
use cvhost::output;
use cvhost::plugins::{Catalogue, Found, Host, Origin, Search, digest};
use serde_json::{Value, json};

/// Prints one line per file: its name, what it provides, or why it is rejected.
pub fn list(global: &Global) -> Result<()> {
    let catalogue = Catalogue::discover(&Search::usual(&global.plugins_dir, &[]), Host::this())?;
    for warning in &catalogue.warnings {
        output::note(&format!("warning: {warning}"));
    }
    if global.json {
        for found in &catalogue.found {
            output::event("plugin", fields(found));
        }
        return Ok(());
    }
    if catalogue.found.is_empty() {
        output::line("no plugin files were found; searched:");
        for folder in &catalogue.folders {
            let state = if folder.exists { "" } else { ", missing" };
            output::line(&format!(
                "  {} ({}{state})",
                folder.path.display(),
                folder.origin.name()
            ));
        }
        return Ok(());
    }
    table(&catalogue.found).iter().for_each(|line| output::line(line));
    Ok(())
}

/// The JSON fields of one file.
fn fields(found: &Found) -> Value {
    let note = found.note.as_ref();
    let components: Vec<Value> = note
        .into_iter()
        .flat_map(|n| &n.components)
        .map(|c| match c.serves.is_empty() {
            true => json!({"kind": c.kind, "name": c.name}),
            false => json!({"kind": c.kind, "name": c.name, "serves": c.serves}),
        })
        .collect();
    json!({
        "file": found.file,
        "status": if found.rejection.is_some() { "rejected" } else { "ok" },
        "name": note.map(|n| &n.name),
        "version": note.map(|n| &n.version),
        "components": components,
        "reason": found.rejection.as_ref().map(ToString::to_string),
        "shadowed_by": found.shadowed_by,
    })
}

/// Aligned columns: status, plugin, version, provided components, file.
fn table(found: &[Found]) -> Vec<String> {
    let rows: Vec<[String; 5]> = found.iter().map(row).collect();
    let titles = ["STATUS", "PLUGIN", "VERSION", "PROVIDES", "FILE"].map(str::to_owned);
    let width = |i: usize| {
        rows.iter()
            .chain([&titles])
            .filter_map(|row| row.get(i))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..4).map(width).collect();
    let line = |row: &[String; 5]| {
        let [status, plugin, version, provides, file] = row;
        let padded = [status, plugin, version, provides].into_iter().zip(&widths);
        let cells: String = padded.map(|(cell, width)| format!("{cell:width$}  ")).collect();
        format!("{cells}{file}")
    };
    let mut lines = vec![line(&titles)];
    for (row, found) in rows.iter().zip(found) {
        lines.push(line(row));
        if let Some(rejection) = &found.rejection {
            lines.push(format!("  {rejection}"));
        }
        if let Some(other) = &found.shadowed_by {
            lines.push(format!("  not used; {} is used instead", other.display()));
        }
    }
    lines
}

fn row(found: &Found) -> [String; 5] {
    let status = match (&found.rejection, &found.shadowed_by) {
        (Some(_), _) => "rejected",
        (None, Some(_)) => "shadowed",
        (None, None) => "ok",
    };
    let note = found.note.as_ref();
    let provides = note
        .into_iter()
        .flat_map(|n| &n.components)
        .map(|c| format!("{} {}", c.kind, c.name));
    [
        status.to_owned(),
        note.map_or_else(|| "-".to_owned(), |n| n.name.clone()),
        note.map_or_else(|| "-".to_owned(), |n| n.version.clone()),
        provides.collect::<Vec<_>>().join(", "),
        found.file.display().to_string(),
    ]
}

/// Prints all metadata of a plugin file, given by path or by name.
pub fn inspect(what: &str, global: &Global) -> Result<()> {
    let found = look_up(what, global)?;
    if global.json {
        output::event("plugin", inspected(&found));
    } else {
        describe(&found).iter().for_each(|line| output::line(line));
    }
    match &found.rejection {
        None => Ok(()),
        Some(rejection) => {
            let mut error = Error::environment(format!(
                "{} is rejected: {}",
                found.file.display(),
                rejection.reason
            ));
            error.what.push_str(
                &rejection
                    .found
                    .as_ref()
                    .map(|f| format!(" (found {f})"))
                    .unwrap_or_default(),
            );
            error.expected.clone_from(&rejection.expected);
            error.help.clone_from(&rejection.help);
            Err(error)
        }
    }
}

fn look_up(what: &str, global: &Global) -> Result<Found> {
    let path = Path::new(what);
    if path.is_dir() || (what.contains('/') && !path.exists()) {
        return Err(Error::usage(format!("the plugin file {what} does not exist")));
    }
    if path.exists() {
        return Ok(Found::read(path, Origin::PluginFile, Host::this()));
    }
    let catalogue = Catalogue::discover(&Search::usual(&global.plugins_dir, &[]), Host::this())?;
    let mut matches = catalogue.by_name(what);
    // Prefer the one that is used.
    matches.sort_by_key(|f| f.usable().is_none());
    matches.first().map(|f| (*f).clone()).ok_or_else(|| {
        Error::usage(format!("no plugin file, plugin or component is named `{what}`"))
            .with_help("`cvhost plugin list` shows the available ones")
    })
}

fn inspected(found: &Found) -> Value {
    let mut all = fields(found);
    if let Value::Object(map) = &mut all {
        map.insert("note".to_owned(), json!(found.note));
        map.insert("sha256".to_owned(), json!(digest(&found.file).ok()));
        if let Some(facts) = &found.facts {
            map.insert("size".to_owned(), json!(facts.size));
            map.insert("needed".to_owned(), json!(facts.needed));
            map.insert("symbol_versions".to_owned(), json!(facts.versions));
        }
    }
    all
}

fn describe(found: &Found) -> Vec<String> {
    let [status, ..] = row(found);
    let mut lines = vec![
        format!("file         {}", found.file.display()),
        format!("status       {status}"),
    ];
    if let Some(other) = &found.shadowed_by {
        lines.push(format!("used instead {}", other.display()));
    }
    if let Some(note) = &found.note {
        lines.push(format!("plugin       {} {}", note.name, note.version));
        lines.push(format!("description  {}", note.description));
        lines.push(format!("licence      {}", note.license));
        lines.push(format!("interface    cvhost-plugin-api {}", note.api));
        lines.push(format!(
            "libtorch     {}",
            note.libtorch.as_deref().unwrap_or("not used")
        ));
        lines.push(format!("target       {}", note.target));
        lines.push(format!("compiler     {}, panic={}", note.rustc, note.panic));
        for component in &note.components {
            lines.push(format!("provides     {} {}", component.kind, component.name));
            for pair in &component.serves {
                lines.push(format!(
                    "  serves     {} models for {}",
                    pair.model_type, pair.form
                ));
            }
        }
        if !note.config_schema.is_null() {
            lines.push("config keys".to_owned());
            keys("", &note.config_schema, &mut lines);
            let kinds = note.config_schema.get("components").and_then(Value::as_object);
            for (kind, own) in kinds.into_iter().flatten() {
                for (name, schema) in own.as_object().into_iter().flatten() {
                    lines.push(format!("config keys of {kind} {name}"));
                    keys("", schema, &mut lines);
                }
            }
        }
    }
    if let Some(facts) = &found.facts {
        lines.push(format!("size         {} bytes", facts.size));
        lines.push(format!("needs        {}", facts.needed.join(", ")));
        let mut versions: Vec<&str> = facts.versions.iter().map(|(_, v)| v.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        lines.push(format!("versions     {}", versions.join(", ")));
    }
    if let Ok(digest) = digest(&found.file) {
        lines.push(format!("sha256       {digest}"));
    }
    lines
}

/// Lists the keys of a schema with their descriptions, one per line.
fn keys(path: &str, schema: &Value, lines: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (key, child) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if child.get("properties").is_some() {
            keys(&path, child, lines);
        } else {
            let text = child.get("description").and_then(Value::as_str).unwrap_or("");
            lines.push(format!("  {path}  {text}").trim_end().to_owned());
        }
    }
}
