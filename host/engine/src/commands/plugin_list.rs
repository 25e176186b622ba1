//! `cvhost plugin list --load`: lists the plugins like the launcher does, loading each and
//! measuring the time.

use crate::registry::Registry;
use cvhost::cli::Global;
use cvhost::error::Result;
use cvhost::output;
use cvhost::plugins::{Catalogue, Host, Search};
use serde_json::json;
use std::time::Instant;

pub fn list(global: &Global) -> Result<()> {
    let started = Instant::now();
    let catalogue = Catalogue::discover(&Search::usual(&global.plugins_dir, &[]), Host::this())?;
    let discovery = started.elapsed();
    let registry = Registry::new(catalogue);
    let files: Vec<_> = registry
        .catalogue()
        .usable()
        .map(|(f, n)| (f.file.clone(), n.name.clone()))
        .collect();
    for (file, name) in files {
        let started = Instant::now();
        let result = registry.load(&file);
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        let reason = result.err().map(|e| e.to_string());
        if global.json {
            let status = if reason.is_none() { "ok" } else { "rejected" };
            let fields = json!({
                "file": file, "name": name, "status": status, "load_ms": milliseconds, "reason": reason,
            });
            output::event("plugin_loaded", fields);
        } else {
            let status_text = reason.unwrap_or_else(|| format!("loaded in {milliseconds:.1} ms"));
            output::line(&format!("{name}  {}  {status_text}", file.display()));
        }
    }
    let milliseconds = discovery.as_secs_f64() * 1000.0;
    if global.json {
        output::event("plugins_discovered", json!({"discovery_ms": milliseconds}));
    } else {
        output::line(&format!("discovery of all files took {milliseconds:.1} ms"));
    }
    Ok(())
}
