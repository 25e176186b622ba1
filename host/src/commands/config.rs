//! `cvhost config check` and `config show`: from the file and the plugins' notes alone.

use cvhost::cli::{ConfigArgs, Global};
use cvhost::config::{Draft, Loaded};
use cvhost::error::Result;
use cvhost::output;
use cvhost::plugins::{Catalogue, Host, Search, relevant};
use serde_json::json;

/// Reports all problems, or that there are none.
pub fn check(args: &ConfigArgs, global: &Global) -> Result<()> {
    let loaded = load(args, global)?;
    if global.json {
        output::event(
            "config_checked",
            json!({"status": "ok", "warnings": loaded.warnings}),
        );
    } else {
        output::line(&format!("{}: no problems", args.config.display()));
    }
    Ok(())
}

/// Prints the resolved configuration.
pub fn show(args: &ConfigArgs, global: &Global) -> Result<()> {
    let loaded = load(args, global)?;
    if global.json {
        output::event(
            "config",
            json!({"config": loaded.to_json(), "warnings": loaded.warnings}),
        );
    } else {
        output::line(loaded.to_commented_yaml().trim_end());
    }
    Ok(())
}

fn load(args: &ConfigArgs, global: &Global) -> Result<Loaded> {
    let draft = Draft::read(&args.config, &args.overrides)?;
    let catalogue = Catalogue::discover(&Search::usual(&global.plugins_dir, &[]), Host::this())?;
    let plan = relevant(&catalogue, &draft, args.plugin.as_deref())?;
    let mut loaded = draft.finish(&plan.schemas)?;
    loaded.warnings.splice(0..0, plan.warnings);
    for warning in &loaded.warnings {
        output::note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}
