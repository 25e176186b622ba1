//! Resolves a checked configuration: one place for each value, defaults filled in, paths resolved;
//! also the rules that a schema can't express.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::Problem;
use super::node::{Content, Entry, Mark, Node};
use super::optimisation;

/// Keys of `model` with a fixed meaning that plugins implement. A file that uses one is valid with
/// any plugin; if no plugin declares it, a warning reports that it has no effect.
pub const PLUGIN_MODEL_KEYS: [&str; 7] = [
    "confidence_threshold",
    "iou_threshold",
    "max_detections",
    "dropout",
    "aux_loss_weight",
    "mask_threshold",
    "segmentation_type",
];

/// Keys accepted in `model` that belong to another section: key in `model`, section, key in that
/// section.
const MOVED: [(&str, &str, &str); 6] = [
    ("learning_rate", "training", "learning_rate"),
    ("weight_decay", "training", "weight_decay"),
    ("scheduler", "training", "scheduler"),
    ("scheduler_params", "training", "scheduler_params"),
    ("epochs", "training", "max_epochs"),
    ("image_size", "data", "image_size"),
];

/// Keys that name an input file or folder.
const INPUT_PATHS: [(&str, &str); 8] = [
    ("model", "model_name"),
    ("data", "model_name"),
    ("data", "train_data_path"),
    ("data", "val_data_path"),
    ("data", "test_data_path"),
    ("data", "train_annotation_file"),
    ("data", "val_annotation_file"),
    ("data", "test_annotation_file"),
];

/// Removes the loggers disabled by `NAME: false`, so that their schemas need not allow it.
pub fn switched_off(root: &mut Node) -> Vec<Entry> {
    let off = |entry: &Entry| entry.node.content == Content::Scalar(Value::Bool(false));
    let mut all = Vec::new();
    if root.entry("mlflow").is_some_and(off) {
        all.extend(root.take("mlflow"));
    }
    if let Some(Node {
        content: Content::Map(loggers),
        ..
    }) = root.child_mut("loggers")
    {
        all.extend(loggers.extract_if(.., |entry| off(entry)));
    }
    all
}

/// Puts the disabled loggers back under `loggers`.
pub fn put_back(root: &mut Node, loggers: Vec<Entry>) {
    if let Some(section) = section_mut(root, "loggers") {
        loggers.into_iter().for_each(|entry| section.put(entry));
    }
}

/// Turns an empty section into an empty map, and also a logger that is only enabled with
/// `NAME: true`.
pub fn empty_sections(root: &mut Node) {
    let clear = |node: &mut Node| node.content = Content::Map(Vec::new());
    let Content::Map(sections) = &mut root.content else {
        return;
    };
    for section in sections {
        if section.node.is_null() {
            clear(&mut section.node);
        }
        if section.key == "loggers"
            && let Content::Map(loggers) = &mut section.node.content
        {
            let on = |node: &Node| node.is_null() || node.content == Content::Scalar(Value::Bool(true));
            loggers
                .iter_mut()
                .map(|logger| &mut logger.node)
                .filter(|node| on(node))
                .for_each(clear);
        }
    }
}

/// Moves keys allowed in two sections into one, and `mlflow` into `loggers`. Returns the dropped
/// values, for warnings.
///
/// `training` and `data` take precedence over `model`, unless only `model`'s value was given on the
/// command line.
pub fn one_place(root: &mut Node) -> Vec<(Mark, String)> {
    let mut dropped = Vec::new();
    for (key, section, target) in MOVED {
        let Some(entry) = root.child_mut("model").and_then(|m| m.take(key)) else {
            continue;
        };
        let existing = root.at(&format!("{section}.{target}"));
        let wins = match existing {
            None => true,
            Some(node) => is_override(entry.key_mark) && !is_override(node.mark),
        };
        if let Some(node) = existing
            && node.to_json() != entry.node.to_json()
        {
            let (winner, loser) = if wins {
                ("model", section)
            } else {
                (section, "model")
            };
            let name = |s: &str| {
                if s == "model" {
                    format!("model.{key}")
                } else {
                    format!("{section}.{target}")
                }
            };
            let message = format!(
                "`{}` has no effect because `{}` is set",
                name(loser),
                name(winner)
            );
            dropped.push((if wins { node.mark } else { entry.key_mark }, message));
        }
        if wins && let Some(section) = section_mut(root, section) {
            section.put(Entry {
                key: target.to_owned(),
                ..entry
            });
        }
    }
    if let Some(mlflow) = root.take("mlflow")
        && let Some(loggers) = section_mut(root, "loggers")
    {
        match loggers.child_mut("mlflow") {
            None => loggers.put(mlflow),
            Some(own) => {
                for entry in mlflow.node.entries() {
                    if own.entry(&entry.key).is_none() {
                        own.put(entry.clone());
                    }
                }
            }
        }
    }
    dropped
}

fn is_override(mark: Mark) -> bool {
    matches!(mark, Mark::Override { .. })
}

/// The section, created if missing; `None` if the document is not a map.
fn section_mut<'a>(root: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    if root.entry(name).is_none() {
        root.put(Entry {
            key: name.to_owned(),
            key_mark: Mark::Default,
            node: Node::empty_map(Mark::Default),
        });
    }
    root.child_mut(name)
}

/// Resolves all input paths of the document with [`find_path`].
pub fn find_paths(root: &mut Node, config_folder: &Path) {
    for (section, key) in INPUT_PATHS {
        let Some(node) = root.child_mut(section).and_then(|s| s.child_mut(key)) else {
            continue;
        };
        let Content::Scalar(Value::String(text)) = &mut node.content else {
            continue;
        };
        if let Some(found) = find_path(text, config_folder).to_str() {
            *text = found.to_owned();
        }
    }
}

/// Resolves a relative path against the current folder or, if it only exists there, the folder of
/// the configuration file.
pub fn find_path(text: &str, config_folder: &Path) -> PathBuf {
    let path = Path::new(text);
    let beside = config_folder.join(path);
    let elsewhere = !text.is_empty() && path.is_relative() && !path.exists() && beside.exists();
    if elsewhere { beside } else { path.to_path_buf() }
}

/// Fills in the defaults of missing keys, including the plugins' keys. A default of null is not
/// written.
pub fn fill_defaults(node: &mut Node, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    if !matches!(node.content, Content::Map(_)) {
        return;
    }
    for (key, child) in properties {
        if node.entry(key).is_none()
            && let Some(default) = child.get("default").filter(|d| !d.is_null())
        {
            let node_for = Node::from_json(default, Mark::Default);
            node.put(Entry {
                key: key.clone(),
                key_mark: Mark::Default,
                node: node_for,
            });
        }
        if let Some(own) = node.child_mut(key) {
            fill_defaults(own, child);
        }
    }
}

/// Sorts the sections into their usual order; keys within a section keep the order of the file.
pub fn sort_sections(root: &mut Node) {
    const ORDER: [&str; 5] = ["model", "data", "training", "loggers", "output"];
    if let Content::Map(entries) = &mut root.content {
        entries.sort_by_key(|entry| ORDER.iter().position(|name| *name == entry.key));
    }
}

/// Checks rules between keys, and refuses values that are recognised but not implemented.
pub fn rules(root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &str, message: &str, help: &str| {
        problems.push(Problem::new(path, root.mark_of(path), message).help(help));
    };
    let is_true = |path: &str| {
        root.at(path)
            .is_some_and(|n| n.content == Content::Scalar(Value::Bool(true)))
    };
    let number = |path: &str| root.at(path).and_then(|n| n.to_json().as_u64());
    let length = |path: &str| match root.at(path).map(|n| &n.content) {
        Some(Content::List(items)) => Some(items.len() as u64),
        _ => None,
    };
    if is_true("training.distributed") {
        refuse(
            "training.distributed",
            "training on several devices is not supported yet",
            "set it to false",
        );
    }
    if is_true("training.use_ray") {
        refuse(
            "training.use_ray",
            "training on a Ray cluster is not supported",
            "set it to false",
        );
    }
    if number("training.num_workers").is_some_and(|n| n > 1) {
        let help = "set it to 1; for data loading workers use `data.num_workers`";
        refuse(
            "training.num_workers",
            "training with more than one rank is not supported yet",
            help,
        );
    }
    let devices = "training.preferred_devices";
    if number(devices).or(length(devices)).is_some_and(|n| n > 1) {
        refuse(
            devices,
            "training on several devices is not supported yet",
            "name one device, such as [0]",
        );
    }
    let (classes, names) = (number("model.num_classes"), length("model.class_names"));
    if let (Some(classes), Some(names)) = (classes, names)
        && classes != names
    {
        let message = format!("`model.num_classes` is {classes}, but `model.class_names` has {names} names");
        refuse(
            "model.num_classes",
            &message,
            "remove one of them, or make them agree",
        );
    }
    let range = |path: &str| {
        let pair = root.at(path).map(Node::to_json);
        let numbers: Vec<f64> = pair
            .as_ref()?
            .as_array()?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        <[f64; 2]>::try_from(numbers).ok()
    };
    let resize = "data.augmentations.random_resize";
    if range(resize).is_some_and(|[low, high]| low > high || (low <= 10.0) != (high <= 10.0)) {
        let help = "write [low, high]: either factors up to 10, such as [0.8, 1.25], or pixels, \
                    such as [480, 800]";
        refuse(resize, "`random_resize` is not a range of sizes", help);
    }
    let scales = "data.augmentations.multi_scale";
    if range(scales).is_some_and(|[low, high]| low > high) {
        let help = "write [low, high], such as [0.8, 1.25]";
        refuse(scales, "`multi_scale` is not a range of factors", help);
    }
    problems.extend(optimisation::rules(root));
    problems
}
