//! Detects a split's annotation format from the files present, and locates them.

mod look;

use crate::{Format, Request, voc, yolo};
use cvhost_images::{is_image, walk};
use cvhost_plugin_api::{PluginError, Result};
use look::{Kind, ends_with, files_in, has_below, kind, only, yaml_in};
use std::path::{Path, PathBuf};

/// The location of a split's files.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// A file, and the folder that its file names are relative to.
    Coco {
        root: PathBuf,
        file: PathBuf,
    },
    Csv {
        root: PathBuf,
        file: PathBuf,
    },
    Voc(voc::Plan),
    Yolo(yolo::Plan),
}

impl Plan {
    pub fn format(&self) -> Format {
        match self {
            Plan::Coco { .. } => Format::Coco,
            Plan::Csv { .. } => Format::Csv,
            Plan::Voc(_) => Format::Voc,
            Plan::Yolo(_) => Format::Yolo,
        }
    }

    /// The path used in messages.
    pub fn source(&self) -> &Path {
        match self {
            Plan::Coco { file, .. } | Plan::Csv { file, .. } => file,
            Plan::Voc(plan) => plan.source(),
            Plan::Yolo(plan) => plan.source(),
        }
    }

    /// The folder that file names are relative to.
    pub fn root(&self) -> &Path {
        match self {
            Plan::Coco { root, .. } | Plan::Csv { root, .. } => root,
            Plan::Voc(plan) => &plan.root,
            Plan::Yolo(plan) => &plan.root,
        }
    }
}

/// The plan for the configured paths, and a warning if other formats match as well.
pub fn make(request: &Request) -> Result<(Plan, Option<String>)> {
    if !request.annotations.as_os_str().is_empty() {
        return Ok((given(request)?, None));
    }
    let mut roots = vec![request.images.to_owned()];
    let names: &[&str] = match request.split {
        "train" => &["train"],
        "val" => &["val", "valid", "validation"],
        "test" => &["test"],
        _ => &[],
    };
    roots.extend(
        names
            .iter()
            .map(|name| request.images.join(name))
            .filter(|path| path.is_dir()),
    );
    for root in &roots {
        let plans = beside(root, request)?;
        let others: Vec<&str> = plans.iter().skip(1).map(|plan| plan.format().name()).collect();
        let Some(plan) = plans.first() else { continue };
        let warning = (!others.is_empty()).then(|| {
            format!(
                "{}: read as {}, although {} would match as well; set `data.format` to choose",
                plan.source().display(),
                plan.format().name(),
                others.join(" and ")
            )
        });
        return Ok((plan.clone(), warning));
    }
    Err(nothing(request, &roots))
}

fn nothing(request: &Request, roots: &[PathBuf]) -> PluginError {
    let key = format!("data.{}_annotation_file", request.split);
    let looked = match request.format {
        Format::Auto => {
            "_annotations.coco.json, annotations.json, instances_*.json, data.yaml, labels/*.txt, \
             *.xml, Annotations/*.xml, _annotations.csv or annotations.csv"
        }
        Format::Coco => "_annotations.coco.json, annotations.json or instances_*.json",
        Format::Voc => "*.xml or Annotations/*.xml",
        Format::Yolo => "data.yaml or labels/*.txt",
        Format::Csv => "_annotations.csv, annotations.csv or another .csv",
    };
    let details = roots
        .iter()
        .map(|root| format!("there is no {looked} in {}", root.display()));
    PluginError::config(
        &key,
        format!("the annotations of the {} split were not found", request.split),
    )
    .with_details(details)
    .with_help(format!(
        "set `{key}` to a COCO JSON file, a CSV file, data.yaml, a list of images, or the \
             folder with the XML or label files"
    ))
}

/// All formats that match a folder of images or of a dataset, most likely first.
fn beside(root: &Path, request: &Request) -> Result<Vec<Plan>> {
    let wanted = |format| request.format == Format::Auto || request.format == format;
    let mut plans = Vec::new();
    if wanted(Format::Coco) {
        plans.extend(coco_beside(root, request)?);
    }
    if wanted(Format::Yolo) {
        plans.extend(yolo_beside(root));
    }
    if wanted(Format::Voc) {
        match voc_beside(root, request.split) {
            Ok(plan) => plans.extend(plan),
            // A missing VOC split list doesn't matter if another format matches.
            Err(error) if plans.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    if wanted(Format::Csv) {
        let usual = ["_annotations.csv", "annotations.csv"].map(|name| root.join(name));
        let file = usual
            .into_iter()
            .find(|path| path.is_file())
            .or_else(|| only(root, &["csv"]));
        plans.extend(file.map(|file| Plan::Csv {
            root: root.to_owned(),
            file,
        }));
    }
    Ok(plans)
}

fn coco_beside(root: &Path, request: &Request) -> Result<Option<Plan>> {
    let split = request.split;
    let own = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut usual = vec![
        root.join("_annotations.coco.json"),
        root.join("annotations.json"),
        root.join(format!("instances_{split}.json")),
    ];
    let instances: Vec<PathBuf> = files_in(root)
        .into_iter()
        .filter(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
            name.starts_with("instances_") && name.ends_with(".json")
        })
        .collect();
    let found = usual.iter().any(|path| path.is_file());
    if !found && let [_, _, ..] = instances.as_slice() {
        let key = format!("data.{split}_annotation_file");
        let message = format!("several files could have the annotations of the {split} split");
        return Err(PluginError::config(&key, message)
            .with_details(instances.iter().map(|path| path.display().to_string()))
            .with_help(format!("set `{key}` to the right one")));
    }
    usual.extend(instances);
    // COCO's original layout, and one folder deeper: annotations/instances_val2017.json next to
    // val2017/ or images/val2017/.
    for above in root.ancestors().skip(1).take(2) {
        for name in [own.as_str(), split] {
            usual.push(above.join(format!("annotations/instances_{name}.json")));
        }
    }
    Ok(usual
        .into_iter()
        .find(|path| path.is_file())
        .map(|file| Plan::Coco {
            root: root.to_owned(),
            file,
        }))
}

fn voc_beside(root: &Path, split: &str) -> Result<Option<Plan>> {
    let above = root.parent().unwrap_or(root);
    for (base, inside) in [(root, true), (above, false)] {
        let files = base.join("Annotations");
        if !has_below(&files, "xml") {
            continue;
        }
        let list = base.join(format!("ImageSets/Main/{split}.txt"));
        if !list.is_file() && list.parent().is_some_and(Path::is_dir) {
            let key = format!("data.{split}_annotation_file");
            return Err(PluginError::config(
                &key,
                format!(
                    "the list of the {split} split, {}, does not exist",
                    list.display()
                ),
            )
            .with_help(format!(
                "set `{key}` to a list of its images, or to {} to use all",
                files.display()
            )));
        }
        let images = if inside && base.join("JPEGImages").is_dir() {
            "JPEGImages"
        } else {
            ""
        };
        return Ok(Some(Plan::Voc(voc::Plan {
            root: root.to_owned(),
            images,
            files,
            list: list.is_file().then_some(list),
        })));
    }
    let here = files_in(root).iter().any(|path| ends_with(path, &["xml"]));
    Ok(here.then(|| {
        Plan::Voc(voc::Plan {
            root: root.to_owned(),
            images: "",
            files: root.to_owned(),
            list: None,
        })
    }))
}

fn yolo_beside(root: &Path) -> Option<Plan> {
    let own = yaml_in(root);
    if own.is_none() && !has_labels(root) {
        return None;
    }
    // The split's folder and its `images` are below the file.
    let yaml = own.or_else(|| root.ancestors().skip(1).take(3).find_map(yaml_in));
    Some(Plan::Yolo(yolo::Plan {
        root: root.to_owned(),
        yaml,
        ..yolo::Plan::default()
    }))
}

/// Whether images in or below a folder have label files in the usual places.
fn has_labels(root: &Path) -> bool {
    let folders = yolo::LabelFolders::new(&yolo::Plan {
        root: root.to_owned(),
        ..yolo::Plan::default()
    });
    let Ok(images) = walk(root, is_image) else {
        return false;
    };
    // The first few may be images without objects.
    let some = images.names.iter().take(1000);
    some.into_iter()
        .any(|image| folders.candidates(image).any(|file| file.is_file()))
}

/// The plan for the configured annotations.
fn given(request: &Request) -> Result<Plan> {
    let path = request.annotations;
    let key = format!("data.{}_annotation_file", request.split);
    let refused = |what: &str| {
        let wanted = match request.format {
            Format::Coco => "a COCO JSON file",
            Format::Csv => "a CSV or TSV file with one box per row",
            Format::Voc => "the folder of the XML files, or a list of the split's images",
            Format::Yolo => "data.yaml, a list of the split's images, or the folder of the labels",
            Format::Auto => {
                "a COCO JSON file, a CSV file, data.yaml, a list of images, or the folder with \
                 the XML or label files"
            }
        };
        Err(PluginError::config(&key, format!("{} {what}", path.display()))
            .with_help(format!("`{key}` must be {wanted}")))
    };
    if !path.exists() {
        let message = format!("the annotations of the {} split were not found", request.split);
        return Err(PluginError::config(&key, message)
            .with_details([format!("there is no file {}", path.display())])
            .with_help(format!(
                "`{key}` must be a COCO JSON file or one of the other formats in docs/detection.md"
            )));
    }
    let kind = kind(path);
    let format = match (request.format, kind) {
        (Format::Auto, Kind::Json) => Format::Coco,
        (Format::Auto, Kind::Table) => Format::Csv,
        (Format::Auto, Kind::Yaml) => Format::Yolo,
        (Format::Auto, Kind::Xml) => Format::Voc,
        (Format::Auto, Kind::Folder) => match (has_below(path, "xml"), has_below(path, "txt")) {
            (true, _) => Format::Voc,
            (false, true) => Format::Yolo,
            (false, false) => return refused("has neither XML files nor label files"),
        },
        (Format::Auto, Kind::List) => list_format(path, request.images),
        (Format::Auto, Kind::Other) => return refused("is not a supported annotation file"),
        (format, _) => format,
    };
    let root = request.images.to_owned();
    let file = path.to_owned();
    Ok(match (format, kind) {
        (Format::Coco | Format::Csv, Kind::Folder) => return refused("is a folder"),
        (Format::Coco, _) => Plan::Coco { root, file },
        (Format::Csv, _) => Plan::Csv { root, file },
        (Format::Voc, Kind::Folder | Kind::List | Kind::Xml) => Plan::Voc(voc_given(root, file, kind)),
        (Format::Voc, _) => return refused("is neither a folder of XML files nor a list of images"),
        (_, Kind::Yaml) => Plan::Yolo(yolo::Plan {
            root,
            yaml: Some(file),
            ..yolo::Plan::default()
        }),
        (_, Kind::List) => Plan::Yolo(yolo::Plan {
            yaml: yaml_around(&[&root, file.parent().unwrap_or(&root)]),
            root,
            list: Some(file),
            labels: None,
        }),
        (_, Kind::Folder) => Plan::Yolo(yolo::Plan {
            yaml: yaml_around(&[&root, &file]),
            root,
            list: None,
            labels: Some(file),
        }),
        _ => return refused("is neither data.yaml, nor a list of images, nor a folder of labels"),
    })
}

fn voc_given(root: PathBuf, path: PathBuf, kind: Kind) -> voc::Plan {
    let images = if root.join("JPEGImages").is_dir() {
        "JPEGImages"
    } else {
        ""
    };
    if kind == Kind::Folder {
        return voc::Plan {
            root,
            images,
            files: path,
            list: None,
        };
    }
    let beside = path.parent().unwrap_or(&root).to_owned();
    let files = if kind == Kind::Xml {
        beside
    } else {
        voc_files(&root, &path).unwrap_or(beside)
    };
    voc::Plan {
        root,
        images,
        files,
        list: Some(path),
    }
}

/// The folder of the XML files that belong to a list in a dataset.
fn voc_files(root: &Path, list: &Path) -> Option<PathBuf> {
    let own = list.parent()?;
    let mut around: Vec<PathBuf> = [root, root.parent().unwrap_or(root)]
        .into_iter()
        .chain(list.ancestors().skip(1).take(3))
        .map(|folder| folder.join("Annotations"))
        .collect();
    around.extend([root.to_owned(), own.to_owned()]);
    around.into_iter().find(|folder| has_below(folder, "xml"))
}

/// Whether a list belongs to a VOC or a YOLO dataset.
fn list_format(list: &Path, root: &Path) -> Format {
    if voc_files(root, list).is_some() {
        Format::Voc
    } else {
        Format::Yolo
    }
}

/// `data.yaml` in or above one of the folders.
fn yaml_around(folders: &[&Path]) -> Option<PathBuf> {
    folders
        .iter()
        .find_map(|folder| folder.ancestors().take(4).find_map(yaml_in))
}

#[cfg(test)]
mod tests;
