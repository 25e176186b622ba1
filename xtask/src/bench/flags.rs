//! Command line options of a bench: `--name value`, or `--name` alone for switches.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::str::FromStr;

/// The parsed options.
#[derive(Debug, Default)]
pub struct Flags {
    values: Vec<(String, String)>,
    switches: Vec<String>,
}

impl Flags {
    /// # Errors
    /// If an option is in neither list, or its value is missing.
    pub fn parse(args: &[&str], with_value: &[&str], switches: &[&str]) -> Result<Self> {
        let mut flags = Flags::default();
        let mut args = args.iter();
        while let Some(&name) = args.next() {
            if switches.contains(&name) {
                flags.switches.push(name.to_owned());
                continue;
            }
            if !with_value.contains(&name) {
                bail!(
                    "unknown option {name}; expected one of {}",
                    [with_value, switches].concat().join(" ")
                );
            }
            let value = args.next().with_context(|| format!("{name} needs a value"))?;
            flags.values.push((name.to_owned(), (*value).to_owned()));
        }
        Ok(flags)
    }

    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|s| s == switch)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn path(&self, name: &str, default: impl Into<PathBuf>) -> PathBuf {
        self.text(name).map_or_else(|| default.into(), PathBuf::from)
    }

    /// # Errors
    /// If the value isn't a number of this type.
    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) => Ok(number),
            Err(_) => bail!("{name} needs a number, got {text}"),
        }
    }

    /// The values of a comma-separated list.
    ///
    /// # Errors
    /// If one of them doesn't parse.
    pub fn list<T: FromStr>(&self, name: &str, default: &str) -> Result<Vec<T>> {
        let parts = self.text(name).unwrap_or(default).split(',');
        parts
            .map(|part| match part.trim().parse() {
                Ok(value) => Ok(value),
                Err(_) => bail!("{name}: `{part}` is not a valid value"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_errors_name_them() {
        let parse = |args: &[&str]| Flags::parse(args, &["--rounds", "--batches"], &["--gpu"]);
        let flags = parse(&["--rounds", "5", "--gpu", "--batches", "2,4"]).unwrap();
        assert_eq!(flags.number("--rounds", 3).unwrap(), 5);
        assert_eq!(flags.number("--steps", 7).unwrap(), 7);
        assert_eq!(flags.list::<u32>("--batches", "1").unwrap(), [2, 4]);
        assert!(flags.has("--gpu"));
        let message = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert_eq!(message(&["--rounds"]), "--rounds needs a value");
        assert!(message(&["--x", "1"]).starts_with("unknown option --x; expected one of --rounds"));
        let many = parse(&["--rounds", "many"]).unwrap();
        assert_eq!(
            many.number("--rounds", 3).unwrap_err().to_string(),
            "--rounds needs a number, got many"
        );
    }
}
