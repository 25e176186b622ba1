//! `cvhost doctor`: checks that this machine has what cvhost needs, and reports what is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cvhost::cli::Global;
use cvhost::error::{Error, Result};
use cvhost::plugins::{Catalogue, Host, Search};
use cvhost::{libtorch, machine, output};
use cvhost_plugin_api::note::{API_VERSION, LIBTORCH_VERSION, TARGET};
use serde_json::json;

use super::engine::ENGINE;

/// With less free disk space than this, saving a checkpoint may fail.
const LITTLE_DISK: u64 = 2 << 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// Works without it, or less well.
    Warning,
    /// Training is impossible until this is fixed.
    Missing,
}

struct Check {
    name: &'static str,
    status: Status,
    text: String,
}

/// Prints one line per check.
///
/// # Errors
/// If something required is missing.
pub fn run(global: &Global) -> Result<()> {
    let mut checks = vec![versions(), engine()];
    checks.extend(torch_and_gpu());
    checks.extend(plugins(global));
    checks.push(disk());
    checks.push(cache());
    for check in &checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Missing => "missing",
        };
        if global.json {
            output::event(
                "check",
                json!({"name": check.name, "status": status, "message": check.text}),
            );
        } else {
            output::line(&format!(
                "{status:8} {:10} {}",
                check.name,
                check.text.replace('\n', "\n                    ")
            ));
        }
    }
    let missing: Vec<&str> = checks
        .iter()
        .filter(|c| c.status == Status::Missing)
        .map(|c| c.name)
        .collect();
    if global.json {
        let status = if missing.is_empty() { "ok" } else { "missing" };
        output::event("doctor_finished", json!({"status": status, "missing": missing}));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::environment(format!(
        "this machine is missing requirements of cvhost: {}",
        missing.join(", ")
    )))
}

fn versions() -> Check {
    let glibc = machine::glibc_version().unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let version = env!("CARGO_PKG_VERSION");
    let text =
        format!("cvhost {version}, plugin interface {API_VERSION}, {TARGET}, glibc {glibc}, {cores} cores");
    Check {
        name: "program",
        status: Status::Ok,
        text,
    }
}

fn engine() -> Check {
    let file = env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .unwrap_or_default()
        .with_file_name(ENGINE);
    let (status, text) = if file.is_file() {
        (Status::Ok, file.display().to_string())
    } else {
        (
            Status::Missing,
            format!(
                "{} does not exist; in a checkout `cargo build --workspace` builds it",
                file.display()
            ),
        )
    };
    Check {
        name: "engine",
        status,
        text,
    }
}

fn torch_and_gpu() -> [Check; 2] {
    let gpus = gpus();
    let (torch, cuda) = match libtorch::find() {
        Ok(found) => {
            let text = format!(
                "{} from {} ({})",
                found.version,
                found.lib.display(),
                found.found_by
            );
            (
                Check {
                    name: "libtorch",
                    status: Status::Ok,
                    text,
                },
                found.cuda,
            )
        }
        Err(error) => (
            Check {
                name: "libtorch",
                status: Status::Missing,
                text: error.to_string(),
            },
            false,
        ),
    };
    let usable = "libtorch is CPU-only; a GPU needs LIBTORCH or an installed Python torch";
    let (status, text) = match (gpus, cuda) {
        (Some(gpus), true) => (Status::Ok, gpus),
        (Some(gpus), false) => (
            Status::Warning,
            format!("{gpus}, but this {usable} {LIBTORCH_VERSION} with CUDA"),
        ),
        (None, true) => (Status::Ok, "none; training runs on the CPU".to_owned()),
        (None, false) => (Status::Ok, format!("none; training runs on the CPU ({usable})")),
    };
    [
        torch,
        Check {
            name: "gpu",
            status,
            text,
        },
    ]
}

/// The names of the GPUs reported by the driver.
fn gpus() -> Option<String> {
    if !Path::new("/dev/nvidia0").exists() {
        return None;
    }
    let query = ["--query-gpu=name,memory.total", "--format=csv,noheader"];
    let names = Command::new("nvidia-smi")
        .args(query)
        .output()
        .ok()
        .filter(|o| o.status.success());
    let names = names.map(|o| String::from_utf8_lossy(&o.stdout).trim().replace('\n', "; "));
    Some(
        names
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "a GPU of an unknown model".to_owned()),
    )
}

fn plugins(global: &Global) -> Vec<Check> {
    let name = "plugins";
    let catalogue = match Catalogue::discover(&Search::usual(&global.plugins_dir, &[]), Host::this()) {
        Ok(catalogue) => catalogue,
        Err(error) => {
            return vec![Check {
                name,
                status: Status::Missing,
                text: error.to_string(),
            }];
        }
    };
    let searched = catalogue.folders.iter().map(|folder| {
        let state = if folder.exists { "" } else { ", missing" };
        format!("  {} ({}{state})", folder.path.display(), folder.origin.name())
    });
    let searched = searched.collect::<Vec<_>>().join("\n");
    let usable: Vec<&str> = catalogue.usable().map(|(_, note)| note.name.as_str()).collect();
    let (status, text) = if catalogue.components("task").next().is_some() {
        (Status::Ok, format!("{} from\n{searched}", usable.join(", ")))
    } else {
        (
            Status::Missing,
            format!("no plugin provides a task; searched\n{searched}"),
        )
    };
    let mut checks = vec![Check { name, status, text }];
    for found in &catalogue.found {
        if let Some(rejection) = &found.rejection {
            let text = format!("{} is rejected: {rejection}", found.file.display());
            checks.push(Check {
                name: "plugin",
                status: Status::Warning,
                text,
            });
        }
    }
    let warnings = catalogue.warnings.into_iter();
    checks.extend(warnings.map(|text| Check {
        name: "plugin",
        status: Status::Warning,
        text,
    }));
    checks
}

fn disk() -> Check {
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let (status, text) = match machine::free_bytes(&here) {
        Some(free) => {
            let status = if free < LITTLE_DISK {
                Status::Warning
            } else {
                Status::Ok
            };
            (
                status,
                format!("{:.1} GB free in {}", free as f64 / 1e9, here.display()),
            )
        }
        None => (
            Status::Warning,
            format!("the free space in {} is unknown", here.display()),
        ),
    };
    Check {
        name: "disk",
        status,
        text,
    }
}

/// The folder where models from the hub are cached.
fn cache() -> Check {
    let home = |variable: &str| env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = home("HF_HUB_CACHE")
        .or_else(|| home("HF_HOME").map(|p| p.join("hub")))
        .or_else(|| home("XDG_CACHE_HOME").map(|p| p.join("huggingface/hub")))
        .or_else(|| home("HOME").map(|p| p.join(".cache/huggingface/hub")));
    let Some(cache) = cache else {
        let text = "neither HF_HOME nor HOME is set: models can't be downloaded from the hub".to_owned();
        return Check {
            name: "hub cache",
            status: Status::Warning,
            text,
        };
    };
    let models = fs::read_dir(&cache).map(|entries| {
        entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("models--"))
            .count()
    });
    let offline = env::var("HF_HUB_OFFLINE")
        .is_ok_and(|v| matches!(v.to_lowercase().as_str(), "1" | "true" | "yes" | "on"));
    let text = match models {
        Ok(count) => format!("{}, {count} models", cache.display()),
        Err(_) => format!("{}, empty", cache.display()),
    };
    let text = if offline {
        format!("{text}; HF_HUB_OFFLINE is set, so nothing is downloaded")
    } else {
        text
    };
    Check {
        name: "hub cache",
        status: Status::Ok,
        text,
    }
}
