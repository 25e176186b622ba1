//! Maps category ids, which may start anywhere and have gaps, to labels 0, 1, 2 …

use cvhost_annotations::Category;
use cvhost_datasets::{check_num_classes, checkpoint_numbering, list_of};
use cvhost_plugin_api::data::{LabelSpec, OpenArgs, Problem};
use cvhost_plugin_api::forms::detection::FORM;
use cvhost_plugin_api::{PluginError, Result};
use std::collections::{HashMap, HashSet};

/// The classes of a dataset.
#[derive(Debug, Default)]
pub struct Labels {
    pub spec: LabelSpec,
    /// Category id to label.
    pub by_id: HashMap<i64, i64>,
    pub warnings: Vec<Problem>,
}

/// Numbers the categories. `used` contains the ids that occur in annotations.
///
/// `model.class_names` fixes the order if set. Otherwise, if the checkpoint has all the classes by
/// name and the configuration doesn't request another count, the checkpoint's numbering is used, so
/// that its head fits. Otherwise the order is by id.
pub fn choose(categories: &[Category], used: &HashSet<i64>, args: &OpenArgs) -> Result<Labels> {
    let mut categories: Vec<&Category> = categories.iter().collect();
    categories.sort_by_key(|c| c.id);
    let model = &args.config["model"];
    let num_classes = model["num_classes"].as_u64();
    let class_names: Option<Vec<&str>> = model["class_names"]
        .as_array()
        .map(|names| names.iter().filter_map(|n| n.as_str()).collect());

    let mut warnings = Vec::new();
    if let Some(index) = unused_supercategory(&categories, used) {
        let wanted = match &class_names {
            Some(names) => categories
                .get(index)
                .is_some_and(|c| names.contains(&c.name.as_str())),
            None => num_classes == Some(categories.len() as u64),
        };
        if !wanted {
            let dropped = categories.remove(index);
            warnings.push(Problem::warning(format!(
                "category {} `{}` has no annotations and is the supercategory of all others: it \
                 is not used as a class",
                dropped.id, dropped.name
            )));
        }
    }

    if let Some(names) = class_names {
        check_class_names(&names, &categories)?;
        let position: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        categories.sort_by_key(|c| position.get(c.name.as_str()).copied());
    } else if let Some(labels) = checkpoint_labels(&categories, &args.checkpoint_classes, num_classes) {
        return Ok(Labels { warnings, ..labels });
    }
    check_num_classes(
        &args.config,
        &names_of(&categories),
        "the annotations",
        " (there is no class for the background)",
    )?;

    let spec = LabelSpec {
        form: FORM.into(),
        names: categories.iter().map(|c| c.name.as_str().into()).collect(),
        ids: categories.iter().map(|c| c.id).collect(),
        ..Default::default()
    };
    let by_id = categories
        .iter()
        .zip(0..)
        .map(|(c, label)| (c.id, label))
        .collect();
    Ok(Labels {
        spec,
        by_id,
        warnings,
    })
}

/// Finds the category that only groups the others: some exporters list it, with id 0, and never use
/// it.
fn unused_supercategory(categories: &[&Category], used: &HashSet<i64>) -> Option<usize> {
    // It must be the supercategory of one of the first two, whichever isn't the category itself.
    let group = |index: usize| categories.get(index)?.supercategory.as_deref();
    let groups = [group(0), group(1)];
    categories.iter().position(|candidate| {
        groups.contains(&Some(candidate.name.as_str()))
            && !used.contains(&candidate.id)
            && categories.len() > 1
            && categories
                .iter()
                .filter(|c| c.id != candidate.id)
                .all(|c| c.supercategory.as_deref() == Some(candidate.name.as_str()))
    })
}

fn check_class_names(names: &[&str], categories: &[&Category]) -> Result<()> {
    let wanted: HashSet<&str> = names.iter().copied().collect();
    let found: HashSet<&str> = categories.iter().map(|c| c.name.as_str()).collect();
    if wanted == found && names.len() == wanted.len() {
        return Ok(());
    }
    let list = |names: &HashSet<&str>, others: &HashSet<&str>| {
        let mut only: Vec<String> = names.difference(others).map(|n| format!("`{n}`")).collect();
        only.sort();
        only.join(", ")
    };
    let mut details = Vec::new();
    if !wanted.is_subset(&found) {
        details.push(format!("not in the annotations: {}", list(&wanted, &found)));
    }
    if !found.is_subset(&wanted) {
        details.push(format!("not in `model.class_names`: {}", list(&found, &wanted)));
    }
    if names.len() != wanted.len() {
        details.push("a name occurs twice in `model.class_names`".to_owned());
    }
    let message = "`model.class_names` and the annotations' categories differ";
    Err(PluginError::config("model.class_names", message)
        .with_details(details)
        .with_help(format!(
            "`model.class_names` sets the order of the classes and must name each once: {}",
            list_of(&names_of(categories))
        )))
}

fn names_of<'a>(categories: &[&'a Category]) -> Vec<&'a str> {
    categories.iter().map(|c| c.name.as_str()).collect()
}

/// The checkpoint's numbering, if every category is one of its classes.
fn checkpoint_labels(
    categories: &[&Category],
    classes: &[String],
    num_classes: Option<u64>,
) -> Option<Labels> {
    let labels = checkpoint_numbering(&names_of(categories), classes, num_classes)?;
    let mut ids = vec![-1; classes.len()];
    let mut by_id = HashMap::new();
    for (category, label) in categories.iter().zip(labels) {
        *ids.get_mut(label)? = category.id;
        by_id.insert(category.id, label as i64);
    }
    let names = classes.iter().map(|name| name.as_str().into()).collect();
    let spec = LabelSpec {
        form: FORM.into(),
        names,
        ids: ids.into(),
        ..Default::default()
    };
    Some(Labels {
        spec,
        by_id,
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn category(id: i64, name: &str, supercategory: &str) -> Category {
        Category {
            id,
            name: name.to_owned(),
            supercategory: Some(supercategory.to_owned()),
            ..Category::default()
        }
    }

    fn args(model: Value, checkpoint: &[&str]) -> OpenArgs {
        OpenArgs {
            config: json!({"model": model}),
            checkpoint_classes: checkpoint.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }

    fn names(labels: &Labels) -> Vec<&str> {
        labels.spec.names.iter().map(|n| n.as_str()).collect()
    }

    fn animals() -> Vec<Category> {
        vec![category(90, "dog", "animal"), category(7, "cat", "animal")]
    }

    #[test]
    fn ids_with_gaps_are_numbered_in_their_order() {
        let labels = choose(&animals(), &HashSet::new(), &args(json!({}), &[])).unwrap();
        assert_eq!(names(&labels), ["cat", "dog"]);
        assert_eq!(labels.spec.ids.as_slice(), [7, 90]);
        assert_eq!((labels.by_id[&7], labels.by_id[&90]), (0, 1));
    }

    #[test]
    fn only_an_unused_supercategory_of_all_is_skipped() {
        let mut categories = animals();
        categories.push(category(0, "animal", "none"));
        let labels = choose(&categories, &HashSet::from([7]), &args(json!({}), &[])).unwrap();
        assert_eq!(names(&labels), ["cat", "dog"]);
        assert_eq!(labels.warnings.len(), 1);
        // Kept if used or requested.
        let used = HashSet::from([0]);
        assert_eq!(
            choose(&categories, &used, &args(json!({}), &[]))
                .unwrap()
                .spec
                .names
                .len(),
            3
        );
        let asked = args(json!({"num_classes": 3}), &[]);
        assert_eq!(
            choose(&categories, &HashSet::new(), &asked)
                .unwrap()
                .spec
                .names
                .len(),
            3
        );
        // An unused class that doesn't group the others is a class.
        assert_eq!(
            choose(&animals(), &HashSet::from([7]), &args(json!({}), &[]))
                .unwrap()
                .spec
                .names
                .len(),
            2
        );
    }

    #[test]
    fn class_names_set_the_order_and_must_match() {
        let labels = choose(
            &animals(),
            &HashSet::new(),
            &args(json!({"class_names": ["dog", "cat"]}), &[]),
        )
        .unwrap();
        assert_eq!(names(&labels), ["dog", "cat"]);
        assert_eq!(labels.by_id[&90], 0);
        let error = choose(
            &animals(),
            &HashSet::new(),
            &args(json!({"class_names": ["Dog", "cat"]}), &[]),
        )
        .unwrap_err();
        assert_eq!(error.key, "model.class_names");
        assert!(
            error.to_string().contains("not in the annotations: `Dog`"),
            "{error}"
        );
        assert!(
            error.to_string().contains("not in `model.class_names`: `dog`"),
            "{error}"
        );
    }

    #[test]
    fn an_error_for_a_wrong_class_count_names_the_key_and_the_classes() {
        let error = choose(&animals(), &HashSet::new(), &args(json!({"num_classes": 3}), &[])).unwrap_err();
        assert_eq!(error.key, "model.num_classes");
        assert!(
            error
                .message
                .contains("is 3, but the annotations have 2: `cat`, `dog`"),
            "{error}"
        );
        assert!(error.help.contains("model.num_classes: 2"));
    }

    #[test]
    fn a_checkpoint_with_all_classes_keeps_its_numbering() {
        let checkpoint = ["N/A", "Dog", "N/A", "bird", "Cat"];
        let labels = choose(&animals(), &HashSet::new(), &args(json!({}), &checkpoint)).unwrap();
        assert_eq!(names(&labels), checkpoint);
        assert_eq!(labels.spec.ids.as_slice(), [-1, 90, -1, -1, 7]);
        assert_eq!((labels.by_id[&7], labels.by_id[&90]), (4, 1));
        // Generic names, or another requested count: numbered from the data.
        let generic = args(json!({}), &["LABEL_0", "LABEL_1"]);
        assert_eq!(
            names(&choose(&animals(), &HashSet::new(), &generic).unwrap()),
            ["cat", "dog"]
        );
        let two = args(json!({"num_classes": 2}), &checkpoint);
        assert_eq!(
            names(&choose(&animals(), &HashSet::new(), &two).unwrap()),
            ["cat", "dog"]
        );
    }
}
