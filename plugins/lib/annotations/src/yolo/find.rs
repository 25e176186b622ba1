//! Finds the images of a YOLO split and their labels.

use super::{DataYaml, Plan};
use crate::limits;
use cvhost_images::{is_image, walk};
use cvhost_plugin_api::{PluginError, Result};
use std::path::{Component, Path, PathBuf};

/// Maximum size of an image list, in bytes.
const MAX_LIST: u64 = 256 << 20;

/// The split's images relative to the plan's root, sorted unless a list determines their order.
pub fn images(plan: &Plan, data: &DataYaml, split: &str) -> Result<Vec<String>> {
    if let Some(list) = &plan.list {
        return listed(&plan.root, list);
    }
    let all = || found_in(&plan.root, "");
    let Some(yaml) = &plan.yaml else { return all() };
    let root = plan.root.canonicalize().unwrap_or_else(|_| plan.root.clone());
    let own = yaml.parent().unwrap_or(Path::new(""));
    let entries = data.split(split);
    let mut images = Vec::new();
    for entry in entries {
        let Some(found) = resolve(entry, data.path.as_deref(), own, &root) else {
            images.clear();
            break;
        };
        if found.is_file() {
            images.extend(listed(&root, &found)?);
        } else {
            let below = found.strip_prefix(&root).unwrap_or(Path::new(""));
            images.extend(found_in(&root, &below.to_string_lossy())?);
        }
    }
    if !images.is_empty() {
        return Ok(images);
    }
    // The folder belongs to the split, unless it is the whole dataset's.
    let whole = own.canonicalize().is_ok_and(|own| own == root);
    if !whole {
        return all();
    }
    let key = format!("data.{split}_data_path");
    let what = if entries.is_empty() {
        format!("{} lists no images of the {split} split", yaml.display())
    } else {
        format!("the {split} images listed in {} were not found", yaml.display())
    };
    let looked = entries
        .iter()
        .map(|entry| format!("`{split}: {entry}` was not found in {}", root.display()));
    Err(PluginError::config(&key, what)
        .with_details(looked)
        .with_help(format!(
            "fix the file, or set `{key}` to the folder of the split's images"
        )))
}

/// The folder or list that an entry of `data.yaml` refers to, if it is inside `root`. Exporters
/// write `path` as on their machine, and `../` as if the file were one folder deeper, so several
/// starting points are tried.
fn resolve(entry: &str, path: Option<&str>, own: &Path, root: &Path) -> Option<PathBuf> {
    let plain = entry.trim_start_matches("../").trim_start_matches("./");
    let base = path.map(|path| own.join(path));
    let candidates = [
        base.map(|base| base.join(entry)),
        Some(own.join(entry)),
        Some(root.join(entry)),
        Some(own.join(plain)),
        Some(root.join(plain)),
    ];
    candidates
        .into_iter()
        .flatten()
        .filter_map(|candidate| candidate.canonicalize().ok())
        .find(|candidate| candidate.starts_with(root))
}

/// The images in and below a folder.
fn found_in(root: &Path, below: &str) -> Result<Vec<String>> {
    let folder = root.join(below);
    let files = walk(&folder, is_image)
        .map_err(|e| PluginError::data(format!("cannot list the folder {}: {e}", folder.display())))?;
    if below.is_empty() {
        return Ok(files.names);
    }
    Ok(files.names.iter().map(|name| format!("{below}/{name}")).collect())
}

/// The images in a list: relative to the root, relative to the list's folder, or absolute but
/// inside the root. Missing images are reported later, together with all other errors.
fn listed(root: &Path, list: &Path) -> Result<Vec<String>> {
    let failed = |what: String| PluginError::data(format!("{} {what}", list.display()));
    let bytes = limits::read(list, MAX_LIST).map_err(failed)?;
    let text = limits::utf8(&bytes).map_err(failed)?;
    let own = list.parent().unwrap_or(Path::new(""));
    let own = own.canonicalize().unwrap_or_else(|_| own.to_owned());
    let real_root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let beside = own
        .strip_prefix(&real_root)
        .ok()
        .map(|p| p.to_string_lossy().into_owned());
    let mut from_list = None;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.trim_start_matches("./");
        if Path::new(line).is_absolute() {
            let inside = Path::new(line)
                .strip_prefix(root)
                .or_else(|_| Path::new(line).strip_prefix(&real_root));
            names.push(inside.map_or(line.to_owned(), |p| p.to_string_lossy().into_owned()));
            continue;
        }
        let from_list =
            *from_list.get_or_insert_with(|| !root.join(line).is_file() && own.join(line).is_file());
        match beside.as_deref() {
            Some(folder) if from_list && !folder.is_empty() => names.push(format!("{folder}/{line}")),
            _ => names.push(line.to_owned()),
        }
    }
    Ok(names)
}

/// The folders that may contain labels.
pub struct LabelFolders {
    root: PathBuf,
    /// The configured folder.
    given: Option<PathBuf>,
}

impl LabelFolders {
    pub fn new(plan: &Plan) -> Self {
        LabelFolders {
            root: plan.root.clone(),
            given: plan.labels.clone(),
        }
    }

    /// The possible label files of an image, most likely first.
    pub fn candidates(&self, image: &str) -> impl Iterator<Item = PathBuf> {
        let path = Path::new(image);
        let own = path.parent().unwrap_or(Path::new(""));
        let file = path
            .with_extension("txt")
            .file_name()
            .map(PathBuf::from)
            .unwrap_or_default();
        let folders = match &self.given {
            Some(given) => {
                let after_images: PathBuf = own.components().skip_while(|c| !is_images(*c)).skip(1).collect();
                vec![given.join(own), given.join(after_images), given.clone()]
            }
            None => {
                let images = self.root.join(own);
                let beside = images.parent().map(|parent| parent.join("labels"));
                let twin = twin(&images);
                [twin, Some(images.clone()), Some(images.join("labels")), beside]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        };
        folders.into_iter().map(move |folder| folder.join(&file))
    }
}

fn is_images(component: Component) -> bool {
    matches!(component, Component::Normal(name) if name == "images")
}

/// The folder with the last `images` in its path replaced by `labels`.
fn twin(images: &Path) -> Option<PathBuf> {
    let components: Vec<Component> = images.components().collect();
    let last = components.iter().rposition(|c| is_images(*c))?;
    let twin = components.into_iter().enumerate().map(|(i, component)| {
        if i == last {
            Component::Normal("labels".as_ref())
        } else {
            component
        }
    });
    Some(twin.collect())
}
