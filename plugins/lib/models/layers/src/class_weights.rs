//! `model.class_weights`: the weight of each class in the loss.

use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};

const KEY: &str = "model.class_weights";

/// One weight per class, and the reason, if any, why they can't be used for training.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassWeights {
    weights: Option<Vec<f64>>,
    /// The error if balanced weights can't be computed. It only affects training: an evaluation
    /// split may lack a class.
    refusal: Option<PluginError>,
}

impl ClassWeights {
    /// Reads `model.class_weights` of the whole resolved configuration: `balanced`, a list with one
    /// number per class, or a map from class names to numbers, in which omitted classes have weight
    /// 1. Without the key, all classes have the same weight.
    ///
    /// `names` are the classes in label order; `counts` is the number of occurrences of each class
    /// in the split, if known.
    ///
    /// # Errors
    /// If a number isn't above 0, the list has another length, or a name isn't a class.
    pub fn from_config(config: &Value, names: &[String], counts: Option<&[u64]>) -> Result<Self> {
        let weights = match config.pointer("/model/class_weights") {
            None | Some(Value::Null) => None,
            Some(Value::String(word)) if word == "balanced" => return Ok(balanced(names, counts)),
            Some(Value::Array(list)) => Some(from_list(list, names)?),
            Some(Value::Object(map)) => Some(from_map(map, names)?),
            Some(other) => {
                return Err(PluginError::config(
                    KEY,
                    format!(
                        "`{KEY}`: expected `balanced`, a list of numbers or a map from class names to \
                         numbers, got {other}"
                    ),
                ));
            }
        };
        Ok(ClassWeights {
            weights,
            refusal: None,
        })
    }

    /// One weight per class, in label order; `None` if all are the same.
    pub fn get(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Returns the error if training with these weights isn't possible.
    pub fn allow_training(&self) -> Result<()> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

/// Balanced weights n / (C · count) (King and Zeng 2001; scikit-learn's `balanced`). Classes
/// missing from the split get weight 0, since none can be computed; no image uses it.
fn balanced(names: &[String], counts: Option<&[u64]>) -> ClassWeights {
    let refuse = |message: String, help: &str| Some(PluginError::config(KEY, message).with_help(help));
    let Some(counts) = counts else {
        return ClassWeights {
            weights: None,
            refusal: refuse(
                format!(
                    "`{KEY}: balanced` needs the number of occurrences of each class, which the task doesn't \
                     provide"
                ),
                "give a list of numbers, or a map from class names to numbers",
            ),
        };
    };
    let total: u64 = counts.iter().sum();
    let weight = |&count: &u64| match count {
        0 => 0.0,
        _ => total as f64 / (counts.len() as f64 * count as f64),
    };
    let empty: Vec<&str> = names
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    let refusal = match empty.is_empty() {
        true => None,
        false => refuse(
            format!(
                "`{KEY}: balanced`: no image has the class {}, so its weight can't be computed",
                empty.join(", ")
            ),
            "give the weights as numbers, or list only the classes that occur in `model.class_names`, which \
             gives them a head of their own",
        ),
    };
    ClassWeights {
        weights: Some(counts.iter().map(weight).collect()),
        refusal,
    }
}

fn from_list(list: &[Value], names: &[String]) -> Result<Vec<f64>> {
    if list.len() != names.len() {
        return Err(PluginError::config(
            KEY,
            format!(
                "`{KEY}`: expected {} numbers, one for each of {}; got {}",
                names.len(),
                names.join(", "),
                list.len()
            ),
        ));
    }
    list.iter()
        .zip(names)
        .map(|(value, name)| number(value, name))
        .collect()
}

fn from_map(map: &Map<String, Value>, names: &[String]) -> Result<Vec<f64>> {
    let unknown: Vec<&str> = map
        .keys()
        .filter(|name| !names.contains(name))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        return Err(PluginError::config(
            KEY,
            format!(
                "`{KEY}`: unknown class {}; the classes are {}",
                unknown.join(", "),
                names.join(", ")
            ),
        ));
    }
    names
        .iter()
        .map(|name| map.get(name).map_or(Ok(1.0), |value| number(value, name)))
        .collect()
}

fn number(value: &Value, class: &str) -> Result<f64> {
    value
        .as_f64()
        .filter(|w| w.is_finite() && *w > 0.0)
        .ok_or_else(|| {
            PluginError::config(
                KEY,
                format!("`{KEY}`: expected a number above 0 for the class {class}, got {value}"),
            )
        })
}
