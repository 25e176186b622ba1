//! Collects all problems of a split into one report.

use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::data::Problem;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Maximum number of lines reported per kind; the rest are counted.
const MAX_LINES: usize = 200;
/// Maximum number of ids in a warning.
const MAX_IDS: usize = 20;

/// Faults that make a split unusable.
#[derive(Debug, Default)]
pub struct Faults {
    kinds: BTreeMap<&'static str, (usize, Vec<String>)>,
    count: usize,
}

impl Faults {
    /// Adds a fault. `kind` is the plural noun for what is counted when there are too many to list.
    pub fn push(&mut self, kind: &'static str, line: impl FnOnce() -> String) {
        self.count += 1;
        let (count, lines) = self.kinds.entry(kind).or_default();
        *count += 1;
        if lines.len() < MAX_LINES {
            lines.push(line());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The report as an error, if there are any faults. `what` names the annotation file, `help`
    /// says what to do.
    pub fn into_result(self, what: &str, help: &str) -> Result<(), PluginError> {
        if self.count == 0 {
            return Ok(());
        }
        let mut details = Vec::new();
        for (kind, (count, lines)) in self.kinds {
            let more = count - lines.len();
            details.extend(lines);
            if more > 0 {
                details.push(format!("… and {more} more {kind}"));
            }
        }
        let problems = if self.count == 1 {
            "1 problem".to_owned()
        } else {
            format!("{} problems", self.count)
        };
        Err(PluginError::data(format!("{problems} in {what}"))
            .with_details(details)
            .with_help(help))
    }
}

/// Problems that are reported and worked around, counted by kind.
#[derive(Debug)]
pub struct Tally<K> {
    kinds: BTreeMap<K, (usize, Vec<String>)>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally {
            kinds: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Display> Tally<K> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, kind: K, id: impl FnOnce() -> String) {
        let (count, ids) = self.kinds.entry(kind).or_insert_with(|| (0, Vec::new()));
        *count += 1;
        if ids.len() < MAX_IDS {
            ids.push(id());
        }
    }

    /// One warning per kind: the count, how they are handled (`dealt`), and the ids.
    pub fn warnings<'a>(
        &'a self,
        noun: &'a str,
        dealt: impl Fn(&K) -> &'static str + 'a,
    ) -> impl Iterator<Item = Problem> + 'a {
        self.kinds.iter().map(move |(kind, (count, ids))| {
            let plural = if *count == 1 { "" } else { "es" };
            let rest = if ids.len() < *count {
                format!(" and {} more", count - ids.len())
            } else {
                String::new()
            };
            Problem::warning(format!(
                "{count} {noun}{plural} ({kind}): {}: {}{rest}",
                dealt(kind),
                ids.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_faults_of_one_kind_are_counted_and_do_not_hide_others() {
        let mut faults = Faults::default();
        for i in 0..1000 {
            faults.push("missing images", || format!("image {i}"));
        }
        faults.push("duplicate ids", || "image id 3 twice".to_owned());
        let error = faults.into_result("a.json", "fix it").unwrap_err();
        assert_eq!(error.message, "1001 problems in a.json");
        assert_eq!(error.details.len(), 1 + 200 + 1);
        assert_eq!(error.details[0], "image id 3 twice");
        assert_eq!(error.details[201], "… and 800 more missing images");
        assert!(Faults::default().into_result("a", "").is_ok());
    }
}
