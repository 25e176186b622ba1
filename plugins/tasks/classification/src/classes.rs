//! Numbers the classes.

use crate::found::{Fixed, Found, Source};
use cvhost_datasets::{check_num_classes, checkpoint_numbering, list_of};
use cvhost_plugin_api::data::{LabelSpec, OpenArgs, Problem};
use cvhost_plugin_api::forms::classification::FORM;
use cvhost_plugin_api::{PluginError, Result};
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// Numbers the classes of a split, including those in `found.records`; a class without a number is
/// a fault.
///
/// `model.class_names` defines the classes if set. Otherwise the training split does, and for the
/// training split itself, or if it can't be read, the classes found. Without `model.class_names`, a
/// checkpoint that has all these classes by name keeps its numbering, unless the configuration
/// requests another count. Otherwise the classes are sorted by name.
pub fn number(found: &mut Found, fixed: &Fixed, args: &OpenArgs, source: &Source) -> Result<LabelSpec> {
    let given = class_names(args)?;
    let classes = found.classes.clone();
    let mut own: Vec<&str> = classes.iter().map(String::as_str).collect();
    own.sort_unstable();
    let known: Vec<&str> = match (&given, &fixed.classes) {
        (Some(names), _) => names.iter().map(String::as_str).collect(),
        (None, Some(names)) => names.iter().map(String::as_str).collect(),
        (None, None) => own.clone(),
    };
    let num_classes = args.config["model"]["num_classes"].as_u64();
    let checkpoint = match &given {
        Some(_) => None,
        None => checkpoint_numbering(&known, &args.checkpoint_classes, num_classes),
    };
    if checkpoint.is_none() {
        let of = match (&given, &fixed.classes) {
            (Some(_), _) => "the `model.class_names`".to_owned(),
            (None, Some(_)) => "the training data".to_owned(),
            (None, None) => format!("the {} data", args.split),
        };
        check_num_classes(&args.config, &known, &of, "")?;
    }
    let (names, label_of) = match &checkpoint {
        Some(labels) => (
            args.checkpoint_classes.iter().map(String::as_str).collect(),
            known.iter().copied().zip(labels.iter().copied()).collect(),
        ),
        None => (
            known.clone(),
            known.iter().copied().zip(0..).collect::<HashMap<&str, usize>>(),
        ),
    };
    let mut ids = vec![-1; names.len()];
    for &label in label_of.values() {
        if let Some(id) = ids.get_mut(label) {
            *id = label as i64;
        }
    }
    let spec = LabelSpec {
        form: FORM.into(),
        names: names.iter().map(|&n| n.into()).collect(),
        ids: ids.into(),
        ..Default::default()
    };
    let there: HashSet<&str> = own.iter().copied().collect();
    let lacking: Vec<&str> = known.iter().copied().filter(|n| !there.contains(n)).collect();
    let numbers: Vec<Option<u32>> = classes
        .iter()
        .map(|name| label_of.get(name.as_str()).map(|&l| l as u32))
        .collect();
    let from = if given.is_some() {
        "`model.class_names`"
    } else {
        "the training data"
    };
    let unknown = |name: &str| {
        format!(
            "class `{name}` is not among the classes of {from}: {}",
            list_of(&known)
        )
    };
    let warning = (!lacking.is_empty()).then(|| {
        Problem::warning(format!(
            "{}: no image of {} of the {} classes: {}",
            source.name().display(),
            lacking.len(),
            known.len(),
            list_of(&lacking)
        ))
    });
    report_unknown(&numbers, found, unknown);
    found.warnings.extend(warning);
    let numbers: Vec<u32> = numbers.into_iter().map(|n| n.unwrap_or(u32::MAX)).collect();
    found.records.renumber(&numbers);
    let counts = found.records.counts(spec.names.len());
    let extra = json!({"multi_label": found.multi_label, "class_counts": counts});
    Ok(LabelSpec {
        extra: extra.to_string().into(),
        ..spec
    })
}

/// `model.class_names`; a repeated name is an error.
fn class_names(args: &OpenArgs) -> Result<Option<Vec<String>>> {
    const KEY: &str = "model.class_names";
    let Some(names) = args.config["model"]["class_names"].as_array() else {
        return Ok(None);
    };
    let names: Vec<String> = names
        .iter()
        .filter_map(|n| n.as_str().map(str::to_owned))
        .collect();
    let mut seen = HashSet::new();
    let twice: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|n| !seen.insert(*n))
        .collect();
    if !twice.is_empty() {
        let message = format!("`{KEY}` has repeated names: {}", list_of(&twice));
        return Err(PluginError::config(KEY, message).with_help("each class needs a unique name"));
    }
    if names.is_empty() {
        return Err(PluginError::config(KEY, format!("`{KEY}` is empty"))
            .with_help("list each class once, or omit the key"));
    }
    Ok(Some(names))
}

/// Adds a fault for each line, or for each folder, of a class without a number.
fn report_unknown(numbers: &[Option<u32>], found: &mut Found, unknown: impl Fn(&str) -> String) {
    const KIND: &str = "unknown classes";
    if numbers.iter().all(Option::is_some) {
        return;
    }
    if found.lines.is_empty() {
        for (name, _) in found.classes.iter().zip(numbers).filter(|(_, n)| n.is_none()) {
            found
                .faults
                .push(KIND, || format!("folder `{name}`: {}", unknown(name)));
        }
        return;
    }
    let mut reported = HashSet::new();
    for (index, line) in found.lines.iter().enumerate() {
        for &label in found.records.labels(index) {
            if numbers.get(label as usize).is_some_and(Option::is_none)
                && let Some(name) = found.classes.get(label as usize)
            {
                found.faults.push(KIND, || {
                    if reported.insert(label) {
                        format!("line {line}: {}", unknown(name))
                    } else {
                        format!("line {line}: class `{name}`, as above")
                    }
                });
            }
        }
    }
    // Classes that have a column but no images.
    for (label, name) in found.classes.iter().enumerate() {
        let unused = !found.lines.is_empty() && numbers.get(label).is_some_and(Option::is_none);
        if unused && !reported.contains(&(label as u32)) {
            found.faults.push(KIND, || format!("line 1: {}", unknown(name)));
        }
    }
}
