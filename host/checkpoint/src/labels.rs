//! The labels that a checkpoint was trained with, stored in its `config.json`. `id2label` holds the
//! class names; the key below holds what a target form needs beyond that and no Hugging Face key
//! stores (names of keypoints, things and stuff).

use super::folder::{MAX_LABELS, label_names};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::LabelSpec;
use serde_json::{Value, json};

const KEY: &str = "cvhost_labels";

/// Writes `spec` into a `config.json` before it is saved.
pub fn remember(config: &mut Value, spec: &LabelSpec) {
    let names: Vec<&str> = spec.names.iter().map(|n| n.as_str()).collect();
    if let Some(config) = config.as_object_mut() {
        let ids: Vec<i64> = spec.ids.to_vec();
        config.insert(
            KEY.to_owned(),
            json!({"form": spec.form.as_str(), "names": names, "ids": ids, "extra": spec.extra.as_str()}),
        );
    }
}

/// Reads the labels of a `config.json` for a task with this target form. A checkpoint from
/// elsewhere, or of another form, only has names. Without real names in `id2label`, the classes are
/// called `LABEL_<id>`; their number is that of the placeholders, else `num_labels`.
pub fn recall(config: &Value, form: &str) -> Result<LabelSpec> {
    let kept = &config[KEY];
    let names = label_names(config)?;
    if kept["form"] == form {
        let kept_names = texts(&kept["names"]);
        // The user may have renamed classes in `id2label`, or changed their number.
        if names.as_ref().is_none_or(|n| n.len() == kept_names.len()) {
            let ids = kept["ids"].as_array().into_iter().flatten();
            let ids: Vec<i64> = ids.filter_map(Value::as_i64).collect();
            let names = names.unwrap_or(kept_names);
            if ids.len() != names.len() {
                return Err(Error::input(format!(
                    "config.json: `{KEY}` has {} ids for {} names",
                    ids.len(),
                    names.len()
                )));
            }
            return Ok(LabelSpec {
                form: form.into(),
                names: names.into_iter().map(Into::into).collect(),
                ids: ids.into(),
                extra: kept["extra"].as_str().unwrap_or_default().into(),
            });
        }
    }
    let names = match names {
        Some(names) => names,
        None => (0..count(config)?).map(|i| format!("LABEL_{i}")).collect(),
    };
    Ok(LabelSpec {
        form: form.into(),
        ids: (0..names.len() as i64).collect::<Vec<_>>().into(),
        names: names.into_iter().map(Into::into).collect(),
        extra: Default::default(),
    })
}

/// The number of classes in a `config.json` without class names.
fn count(config: &Value) -> Result<usize> {
    // `label_names` has checked the range of the ids.
    let ids = config["id2label"].as_object().into_iter().flatten();
    let highest = ids.filter_map(|(id, _)| id.parse::<usize>().ok()).max();
    let count = match (highest, config.get("num_labels").filter(|v| !v.is_null())) {
        (Some(highest), _) => Some(highest + 1),
        (None, Some(number)) => number.as_u64().map(|n| n as usize),
        (None, None) => Some(2),
    };
    count.filter(|count| *count <= MAX_LABELS).ok_or_else(|| {
        Error::input(format!("config.json: `num_labels` is {}", config["num_labels"]))
            .with_expected(format!("a number of classes of at most {MAX_LABELS}"))
    })
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LabelSpec {
        LabelSpec {
            form: "pose/1".into(),
            names: vec!["person".into()].into(),
            ids: vec![7].into(),
            extra: r#"{"keypoints":["nose"]}"#.into(),
        }
    }

    #[test]
    fn stored_labels_are_read_back() {
        let mut config = json!({"id2label": {"0": "person"}});
        remember(&mut config, &spec());
        assert_eq!(recall(&config, "pose/1").unwrap(), spec());
        let none = LabelSpec {
            form: "depth/1".into(),
            ..LabelSpec::default()
        };
        let mut config = json!({});
        remember(&mut config, &none);
        assert_eq!(
            recall(&config, "depth/1").unwrap(),
            none,
            "a task may have no classes"
        );
    }

    #[test]
    fn renamed_classes_are_used_and_extras_of_another_form_are_ignored() {
        let mut config = json!({"id2label": {"0": "person"}});
        remember(&mut config, &spec());
        config["id2label"] = json!({"0": "Mensch"});
        let renamed = recall(&config, "pose/1").unwrap();
        assert_eq!(
            (renamed.names[0].as_str(), renamed.extra),
            ("Mensch", spec().extra)
        );
        config["id2label"] = json!({"0": "a", "1": "b"});
        assert!(recall(&config, "pose/1").unwrap().extra.is_empty());
        assert!(recall(&config, "boxes/1").unwrap().extra.is_empty());
    }

    #[test]
    fn a_foreign_checkpoint_has_its_names_or_placeholders() {
        let named = recall(&json!({"id2label": {"0": "a", "1": "b"}}), "x/1").unwrap();
        assert_eq!(
            named.names.iter().map(|n| n.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let plain = recall(&json!({"num_labels": 3}), "x/1").unwrap();
        assert_eq!(plain.names.len(), 3);
        assert_eq!(plain.names[2], "LABEL_2");
        assert_eq!(recall(&json!({}), "x/1").unwrap().names.len(), 2);
        let placeholders = json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}});
        assert_eq!(recall(&placeholders, "x/1").unwrap().names.len(), 3);
    }

    #[test]
    fn an_invalid_number_of_classes_is_an_error() {
        for wrong in [json!(1_000_000_000_000_000_000u64), json!(-3), json!("three")] {
            let error = recall(&json!({"num_labels": wrong}), "x/1")
                .unwrap_err()
                .to_string();
            assert!(error.contains("`num_labels` is"), "{error}");
        }
    }

    #[test]
    fn different_numbers_of_ids_and_names_are_an_error() {
        let config = json!({"cvhost_labels": {"form": "x/1", "names": ["a"], "ids": [], "extra": ""}});
        assert!(
            recall(&config, "x/1")
                .unwrap_err()
                .to_string()
                .contains("0 ids for 1 names")
        );
    }
}
