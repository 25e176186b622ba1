//! Scalars of the YAML 1.2 core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>): the
//! meaning of plain scalars.
//!
//! Unlike in YAML 1.1, `1e-4` is a number, and `yes`, `no`, `on`, `off` are strings.

use serde_json::Value;

/// End of the message for a number that JSON can't represent.
pub const NOT_FINITE: &str = "is not a finite number";

/// The value of an unquoted scalar. Infinity and NaN are errors, as JSON can't represent them.
pub fn plain(text: &str) -> Result<Value, String> {
    if let Some(value) = word(text) {
        return Ok(value);
    }
    if is_infinite_or_nan(text) {
        return Err(format!("`{text}` {NOT_FINITE}"));
    }
    Ok(number(text)?.unwrap_or_else(|| Value::String(text.to_owned())))
}

/// The value of a scalar with an explicit core tag, such as `!!float 1`; `suffix` is what follows
/// `!!`.
pub fn tagged(suffix: &str, text: &str) -> Result<Value, String> {
    let wrong = || Err(format!("`{text}` is not a valid value for the tag `!!{suffix}`"));
    match suffix {
        "str" => Ok(Value::String(text.to_owned())),
        "null" | "bool" => match word(text) {
            Some(value) if value.is_null() == (suffix == "null") => Ok(value),
            _ => wrong(),
        },
        "int" => match number(text)? {
            Some(value) if !value.is_f64() => Ok(value),
            _ => wrong(),
        },
        "float" => match number(text)?.and_then(|v| v.as_f64()) {
            Some(value) => Ok(Value::from(value)),
            None => wrong(),
        },
        _ => Err(format!("the tag `!!{suffix}` is not supported")),
    }
}

fn word(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        _ => None,
    }
}

fn is_infinite_or_nan(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Parses an integer or a float; `None` if the text is not a number.
fn number(text: &str) -> Result<Option<Value>, String> {
    if let Some(digits) = text.strip_prefix("0o") {
        return Ok(radix(digits, 8));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return Ok(radix(digits, 16));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let integer = text.strip_prefix('+').unwrap_or(text);
        if let Ok(value) = integer.parse::<i64>() {
            return Ok(Some(Value::from(value)));
        }
        if let Ok(value) = integer.parse::<u64>() {
            return Ok(Some(Value::from(value)));
        }
        return Err(format!("the integer `{text}` needs more than 64 bits"));
    }
    if !is_float(unsigned) {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(Value::from(value))),
        _ => Err(format!("the number `{text}` is too large")),
    }
}

fn radix(digits: &str, base: u32) -> Option<Value> {
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, base).ok().map(Value::from)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0,
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    mantissa_ok && exponent_ok
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("1e-4", json!(1e-4)),
            ("5E+2", json!(500.0)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("012", json!(12)),
            ("0o17", json!(15)),
            ("0xff", json!(255)),
            ("18446744073709551615", json!(u64::MAX)),
            ("", json!(null)),
            ("~", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("off", json!("off")),
            ("1_000", json!("1_000")),
            ("e5", json!("e5")),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("0x+f", json!("0x+f")),
            ("12:30", json!("12:30")),
            ("facebook/detr-resnet-50", json!("facebook/detr-resnet-50")),
        ] {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_or_too_long_are_refused() {
        for text in [".inf", "-.INF", ".nan", "1e999", "99999999999999999999"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_force_a_type() {
        assert_eq!(tagged("str", "1"), Ok(json!("1")));
        assert_eq!(tagged("float", "1"), Ok(json!(1.0)));
        assert!(tagged("int", "x").is_err());
        assert!(tagged("binary", "x").is_err());
    }
}
