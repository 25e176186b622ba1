//! Validated access to one value of `preprocessor_config.json` or of the user's configuration.

use crate::size::MAX_SIDE;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};

pub(crate) const FILE: &str = "preprocessor_config.json";

/// A value together with the key that errors refer to.
pub(crate) struct Entry<'a> {
    pub(crate) value: &'a Value,
    name: &'a str,
    /// Whether the value comes from the user's configuration rather than from the checkpoint.
    from_user: bool,
}

impl<'a> Entry<'a> {
    pub(crate) fn in_file(map: &'a Map<String, Value>, name: &'a str) -> Option<Self> {
        map.get(name).filter(|v| !v.is_null()).map(|value| Entry {
            value,
            name,
            from_user: false,
        })
    }

    pub(crate) fn of_user(config: &'a Value, path: &'a str) -> Option<Self> {
        let value = path.split('.').try_fold(config, |value, key| value.get(key))?;
        (!value.is_null()).then_some(Entry {
            value,
            name: path,
            from_user: true,
        })
    }

    /// A nested value, reported under this entry's name.
    fn at(&self, value: &'a Value) -> Entry<'a> {
        Entry { value, ..*self }
    }

    pub(crate) fn wrong(&self, expected: &str) -> PluginError {
        let shown = match self.value {
            Value::Array(_) | Value::Object(_) => {
                let mut text = self.value.to_string();
                if let Some((end, _)) = text.char_indices().nth(80) {
                    text.truncate(end);
                    text.push('…');
                }
                text
            }
            scalar => scalar.to_string(),
        };
        let message = format!("`{}` is {shown}; expected {expected}", self.name);
        if self.from_user {
            PluginError::config(self.name, message)
        } else {
            PluginError::checkpoint(format!("{FILE}: {message}"))
                .with_help("correct the file, or override it with `data.image_size` or `data.normalize_*`")
        }
    }

    /// Height and width in pixels.
    pub(crate) fn pair(&self, sides: &'a [Value]) -> Result<[u32; 2]> {
        match sides {
            [height, width] => Ok([self.at(height).side()?, self.at(width).side()?]),
            _ => Err(self.wrong("two numbers, [height, width]")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub(crate) fn side(&self) -> Result<u32> {
        let side = self.value.as_u64().and_then(|v| u32::try_from(v).ok());
        side.filter(|s| (1..=MAX_SIDE).contains(s))
            .ok_or_else(|| self.wrong(&format!("a whole number of pixels from 1 to {MAX_SIDE}")))
    }

    /// A divisor that sides are rounded to; 0 and 1 both mean none.
    pub(crate) fn divisor(&self) -> Result<u32> {
        let divisor = self.value.as_u64().and_then(|v| u32::try_from(v).ok());
        let divisor = divisor.filter(|d| *d <= MAX_SIDE);
        divisor
            .map(|d| d.max(1))
            .ok_or_else(|| self.wrong(&format!("a whole number from 0 to {MAX_SIDE}")))
    }

    pub(crate) fn whole(&self) -> Result<i64> {
        self.value.as_i64().ok_or_else(|| self.wrong("a whole number"))
    }

    pub(crate) fn positive(&self) -> Result<f64> {
        self.value
            .as_f64()
            .filter(|v| *v > 0.0)
            .ok_or_else(|| self.wrong("a number above 0"))
    }

    /// A number in (0, 1].
    pub(crate) fn fraction(&self) -> Result<f64> {
        self.value
            .as_f64()
            .filter(|v| *v > 0.0 && *v <= 1.0)
            .ok_or_else(|| self.wrong("a number above 0 and at most 1"))
    }

    /// One number per channel in RGB order, or one number for all channels.
    pub(crate) fn channels(&self) -> Result<[f64; 3]> {
        let numbers: Option<Vec<f64>> = match self.value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            scalar => scalar.as_f64().map(|v| vec![v; 3]),
        };
        numbers
            .and_then(|n| <[f64; 3]>::try_from(n).ok())
            .ok_or_else(|| self.wrong("three numbers, for red, green and blue"))
    }

    pub(crate) fn deviations(&self) -> Result<[f64; 3]> {
        let values = self.channels()?;
        if values.iter().all(|v| *v > 0.0) {
            Ok(values)
        } else {
            Err(self.wrong("numbers above 0"))
        }
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
