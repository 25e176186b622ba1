//! Class numbering rules shared by all tasks.

use cvhost_plugin_api::{PluginError, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Maximum number of class names in a message.
const MAX_NAMES: usize = 30;

/// The labels of `found` in the checkpoint's numbering, if every name matches a different class of
/// the checkpoint, ignoring case, and `num_classes` doesn't request another count. The trained head
/// then fits.
pub fn checkpoint_numbering(
    found: &[&str],
    checkpoint: &[String],
    num_classes: Option<u64>,
) -> Option<Vec<usize>> {
    if num_classes.is_some_and(|n| n != checkpoint.len() as u64) {
        return None;
    }
    let mut by_name = HashMap::new();
    for (label, name) in checkpoint.iter().enumerate() {
        by_name.entry(name.to_lowercase()).or_insert(label);
    }
    let mut taken = HashSet::new();
    found
        .iter()
        .map(|name| {
            by_name
                .get(&name.to_lowercase())
                .copied()
                .filter(|l| taken.insert(*l))
        })
        .collect()
}

/// Rejects a configured `model.num_classes` that isn't the number of classes. `source` is what
/// defines the classes, in the plural ("the annotations"); `hint` is appended to the help.
pub fn check_num_classes(config: &Value, names: &[&str], source: &str, hint: &str) -> Result<()> {
    let count = names.len();
    match config["model"]["num_classes"].as_u64() {
        Some(n) if n != count as u64 => {
            let message = format!(
                "`model.num_classes` is {n}, but {source} have {count}: {}",
                list_of(names)
            );
            let help = format!("set `model.num_classes: {count}`, or omit it{hint}");
            Err(PluginError::config("model.num_classes", message).with_help(help))
        }
        _ => Ok(()),
    }
}

/// The names in backticks, at most 30 of them.
pub fn list_of(names: &[&str]) -> String {
    let mut text = names
        .iter()
        .take(MAX_NAMES)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_NAMES {
        text += &format!(" and {} more", names.len() - MAX_NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_checkpoint_with_all_classes_determines_their_numbers() {
        let checkpoint = ["N/A", "Dog", "N/A", "Cat"].map(str::to_owned);
        assert_eq!(
            checkpoint_numbering(&["cat", "dog"], &checkpoint, None),
            Some(vec![3, 1])
        );
        assert_eq!(
            checkpoint_numbering(&["cat", "dog"], &checkpoint, Some(4)),
            Some(vec![3, 1])
        );
        assert_eq!(checkpoint_numbering(&["cat", "dog"], &checkpoint, Some(2)), None);
        assert_eq!(checkpoint_numbering(&["cat", "cow"], &checkpoint, None), None);
        assert_eq!(checkpoint_numbering(&["cat", "Cat"], &checkpoint, None), None);
    }

    #[test]
    fn a_wrong_count_names_the_key_and_the_classes() {
        let config = json!({"model": {"num_classes": 3}});
        let error = check_num_classes(&config, &["cat", "dog"], "the annotations", "").unwrap_err();
        assert_eq!(error.key, "model.num_classes");
        assert_eq!(
            error.message,
            "`model.num_classes` is 3, but the annotations have 2: `cat`, `dog`"
        );
        assert!(error.help.contains("model.num_classes: 2"));
        assert!(check_num_classes(&config, &["a", "b", "c"], "the annotations", "").is_ok());
        assert!(check_num_classes(&json!({}), &["a"], "the annotations", "").is_ok());
    }

    #[test]
    fn long_lists_are_truncated() {
        let names = vec!["x"; 32];
        assert!(list_of(&names).ends_with("`x` and 2 more"));
    }
}
