//! The licence texts of all crates linked into cvhost and its plugins, which must accompany the
//! binaries.

use crate::sh;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Lists every crate with its licence, then each licence text once with the crates it belongs to.
///
/// # Errors
/// If cargo can't list the workspace's dependencies.
pub fn collect() -> Result<String> {
    let mut command = sh::cargo([
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]);
    let metadata: Value = serde_json::from_str(&sh::output(&mut command)?)?;
    let linked = linked(&metadata)?;
    let mut crates = Vec::new();
    let mut texts: HashMap<String, BTreeSet<String>> = HashMap::new();
    // Crates with a source come from a registry; the others belong to the workspace.
    for package in array(&metadata["packages"])
        .iter()
        .filter(|package| package["source"].is_string())
    {
        let (Some(id), Some(name), Some(version)) = (
            package["id"].as_str(),
            package["name"].as_str(),
            package["version"].as_str(),
        ) else {
            continue;
        };
        if !linked.contains(id) {
            continue;
        }
        crates.push(format!(
            "{name} {version}: {}",
            package["license"].as_str().unwrap_or("see its text")
        ));
        let folder = package["manifest_path"]
            .as_str()
            .and_then(|manifest| Path::new(manifest).parent());
        for text in folder.map(licence_texts).unwrap_or_default() {
            texts.entry(text).or_default().insert(format!("{name} {version}"));
        }
    }
    crates.sort();
    Ok(render(&crates, texts))
}

/// IDs of all packages linked by the workspace's libraries and programs, excluding build and test
/// dependencies.
fn linked(metadata: &Value) -> Result<HashSet<String>> {
    let nodes: HashMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let tools = ["xtask", "cvhost-tests"];
    let mut open: Vec<&str> = array(&metadata["packages"])
        .iter()
        .filter(|package| package["source"].is_null() && !tools.iter().any(|tool| package["name"] == *tool))
        .filter_map(|package| package["id"].as_str())
        .collect();
    let mut seen = HashSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        let node = nodes
            .get(id)
            .with_context(|| format!("cargo metadata has no resolved package {id}"))?;
        for dependency in array(&node["deps"]) {
            // A normal dependency has the kind null; others have "build" or "dev".
            if array(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
            {
                open.extend(dependency["pkg"].as_str());
            }
        }
    }
    Ok(seen)
}

fn licence_texts(folder: &Path) -> Vec<String> {
    let mut texts: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_uppercase();
            [
                "LICENSE",
                "LICENCE",
                "COPYING",
                "COPYRIGHT",
                "NOTICE",
                "UNLICENSE",
            ]
            .iter()
            .any(|start| name.starts_with(start))
        })
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .map(|text| text.replace('\r', "").trim().to_owned())
        .collect();
    texts.sort();
    texts
}

fn render(crates: &[String], texts: HashMap<String, BTreeSet<String>>) -> String {
    let mut out = String::from("cvhost and its plugins link these crates:\n\n");
    for line in crates {
        let _ = writeln!(out, "  {line}");
    }
    let mut texts: Vec<(BTreeSet<String>, String)> =
        texts.into_iter().map(|(text, from)| (from, text)).collect();
    texts.sort();
    for (from, text) in texts {
        let from: Vec<String> = from.into_iter().collect();
        let _ = write!(out, "\n{}\n{}:\n\n{text}\n", "=".repeat(80), from.join(", "));
    }
    out
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_that_only_build_or_test_are_not_linked() {
        let metadata = serde_json::json!({
            "packages": [
                {"id": "host", "name": "cvhost", "source": null},
                {"id": "xtask", "name": "xtask", "source": null},
            ],
            "resolve": {"nodes": [
                {"id": "host", "deps": [
                    {"pkg": "a", "dep_kinds": [{"kind": null}]},
                    {"pkg": "b", "dep_kinds": [{"kind": "build"}, {"kind": "dev"}]},
                ]},
                {"id": "a", "deps": [{"pkg": "c", "dep_kinds": [{"kind": null}]}]},
                {"id": "b", "deps": []}, {"id": "c", "deps": []},
                {"id": "xtask", "deps": [{"pkg": "b", "dep_kinds": [{"kind": null}]}]},
            ]},
        });
        let linked = linked(&metadata).unwrap();
        assert_eq!(linked, ["host", "a", "c"].map(str::to_owned).into());
    }

    #[test]
    fn a_text_shared_by_several_crates_is_listed_once() {
        let texts = HashMap::from([(
            "same text".to_owned(),
            BTreeSet::from(["b 1".to_owned(), "a 1".to_owned()]),
        )]);
        let out = render(&["a 1: MIT".to_owned(), "b 1: MIT".to_owned()], texts);
        assert_eq!(out.matches("same text").count(), 1);
        assert!(out.contains("a 1, b 1:"), "{out}");
    }
}
