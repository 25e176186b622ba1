//! `model.class_weights`: how much each class counts in the loss.

use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};

const KEY: &str = "model.class_weights";

/// A weight a class, and what stands against training with it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassWeights {
    weights: Option<Vec<f64>>,
    /// Balanced weights that can't be told. Only training minds: a split that is evaluated may lack a class.
    refusal: Option<PluginError>,
}

impl ClassWeights {
    /// From `model.class_weights` of the whole resolved configuration: `balanced`, a list of a number a class, or a map from
    /// class names to numbers, where classes that it leaves out weigh 1. Left out, all classes weigh the same.
    ///
    /// `names` are the classes in label order, `counts` how often each occurs in the split, where that is known.
    ///
    /// # Errors
    /// Numbers that aren't above 0, a list of another length, names that aren't classes.
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
                        "`{KEY}`: expected `balanced`, a list of numbers or a map from class names to numbers, got {other}"
                    ),
                ));
            }
        };
        Ok(ClassWeights {
            weights,
            refusal: None,
        })
    }

    /// A weight a class, in label order; `None` where all weigh the same.
    pub fn get(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Why there is no training with these weights.
    pub fn allow_training(&self) -> Result<()> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

/// King and Zeng 2001, as scikit-learn's `balanced`: n / (C · count). Classes that the split lacks get no weight, as none
/// can be told; no image asks for it.
fn balanced(names: &[String], counts: Option<&[u64]>) -> ClassWeights {
    let refuse = |message: String, help: &str| Some(PluginError::config(KEY, message).with_help(help));
    let Some(counts) = counts else {
        return ClassWeights {
            weights: None,
            refusal: refuse(
                format!("`{KEY}: balanced` needs to know how often each class occurs; the task doesn't say"),
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
                "`{KEY}: balanced`: no image has the class {}, so its weight can't be told",
                empty.join(", ")
            ),
            "give the weights as numbers; or name the classes that there are in `model.class_names`, for a head of their own",
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
                "`{KEY}`: there is no class {}; the classes are {}",
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
