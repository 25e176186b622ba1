//! The report of `cvhost data check`: findings grouped by kind, as text or as JSON lines.

use cvhost::cli::Split;
use cvhost::output;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The maximum number of problems per kind, and of details per problem, printed without `--all`.
const MAX_SHOWN: usize = 10;

/// The severity of a finding, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Training or evaluation is refused, or uses wrong data.
    Error,
    /// Probably unintended.
    Warning,
    /// For information.
    Info,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Severity::Error => "errors",
            Severity::Warning => "warnings",
            Severity::Info => "for your information",
        }
    }
}

/// The kind of a finding, in report order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Annotations,
    Records,
    UnreadableImages,
    ImageSizes,
    Targets,
    ClassesDiffer,
    Leakage,
    Duplicates,
    SmallBoxes,
    Imbalance,
    MissingClasses,
    RareClasses,
    FileNames,
    NoObjects,
    Repair,
    NotChecked,
}

impl Kind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Annotations => "annotations",
            Kind::Records => "records",
            Kind::UnreadableImages => "unreadable_pictures",
            Kind::ImageSizes => "picture_sizes",
            Kind::Targets => "targets",
            Kind::ClassesDiffer => "classes_differ",
            Kind::Leakage => "leakage",
            Kind::Duplicates => "duplicates",
            Kind::SmallBoxes => "small_boxes",
            Kind::Imbalance => "imbalance",
            Kind::MissingClasses => "missing_classes",
            Kind::RareClasses => "rare_classes",
            Kind::FileNames => "file_names",
            Kind::NoObjects => "no_objects",
            Kind::Repair => "repair",
            Kind::NotChecked => "not_checked",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Annotations => "annotations",
            Kind::Records => "records that can't be used",
            Kind::UnreadableImages => "images that can't be read",
            Kind::ImageSizes => "images whose size differs from the annotations",
            Kind::Targets => "targets that don't fit their image",
            Kind::ClassesDiffer => "splits with different classes",
            Kind::Leakage => "the same image in two splits",
            Kind::Duplicates => "the same image twice in a split",
            Kind::SmallBoxes => "boxes that are small for the model",
            Kind::Imbalance => "class imbalance",
            Kind::MissingClasses => "classes without an example",
            Kind::RareClasses => "classes with few examples",
            Kind::FileNames => "file extensions of another format",
            Kind::NoObjects => "images without objects",
            Kind::Repair => "repair",
            Kind::NotChecked => "not checked",
        }
    }
}

/// A problem or observation.
#[derive(Debug, Clone)]
pub struct Finding {
    pub severity: Severity,
    pub kind: Kind,
    /// `None` if it concerns several splits.
    pub split: Option<Split>,
    /// The name of the record; empty if it doesn't concern a single record.
    pub record: String,
    /// The file of the image, or empty.
    pub file: String,
    pub message: String,
    /// How to fix it, or empty.
    pub help: String,
    /// The individual items that the message summarises.
    pub details: Vec<String>,
}

impl Finding {
    pub fn new(severity: Severity, kind: Kind, split: Split, message: impl Into<String>) -> Self {
        Finding {
            severity,
            kind,
            split: Some(split),
            record: String::new(),
            file: String::new(),
            message: message.into(),
            help: String::new(),
            details: Vec::new(),
        }
    }

    pub fn error(kind: Kind, split: Split, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, kind, split, message)
    }

    pub fn warning(kind: Kind, split: Split, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, kind, split, message)
    }

    pub fn info(kind: Kind, split: Split, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, kind, split, message)
    }

    /// Marks the finding as concerning several splits.
    #[must_use]
    pub fn across(mut self) -> Self {
        self.split = None;
        self
    }

    #[must_use]
    pub fn of(mut self, record: &str, file: &str) -> Self {
        (self.record, self.file) = (record.to_owned(), file.to_owned());
        self
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// Split, record and message on one line. A multi-line message continues below.
    fn line(&self) -> String {
        let split = self.split.map_or("", Split::name);
        let parts = [split, &self.record, &self.message];
        parts
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join(": ")
    }

    fn event(&self) {
        let fields = json!({
            "severity": self.severity.name(),
            "kind": self.kind.name(),
            "split": self.split.map(Split::name),
            "record": text_or_null(&self.record),
            "file": text_or_null(&self.file),
            "message": self.message,
            "help": text_or_null(&self.help),
            "details": self.details,
        });
        output::event("data_problem", fields);
    }
}

fn text_or_null(text: &str) -> Option<&str> {
    Some(text).filter(|t| !t.is_empty())
}

/// Findings of one kind.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    lines: Vec<String>,
    /// Without duplicates.
    helps: Vec<String>,
    /// Whether something was omitted from `lines`.
    truncated: bool,
}

/// Collects findings. With JSON, each is printed at once, so that a report of any length needs no
/// memory.
#[derive(Debug)]
pub struct Report {
    json: bool,
    /// The maximum number of lines per kind.
    most: usize,
    groups: BTreeMap<(Severity, Kind), Group>,
}

impl Report {
    pub fn new(json: bool, all: bool) -> Self {
        Report {
            json,
            most: if all { usize::MAX } else { MAX_SHOWN },
            groups: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, finding: Finding) {
        let group = self.groups.entry((finding.severity, finding.kind)).or_default();
        group.count += 1;
        if self.json {
            finding.event();
            return;
        }
        let known = finding.help.is_empty() || group.helps.contains(&finding.help);
        if !known && group.helps.len() < MAX_SHOWN {
            group.helps.push(finding.help.clone());
        }
        if group.lines.len() < self.most {
            let mut text = finding.line();
            for detail in finding.details.iter().take(self.most) {
                let _ = write!(text, "\n  {detail}");
            }
            if finding.details.len() > self.most {
                group.truncated = true;
                let _ = write!(text, "\n  … and {} more", finding.details.len() - self.most);
            }
            group.lines.push(text);
        } else {
            group.truncated = true;
        }
    }

    /// The number of findings with this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let groups = self.groups.iter().filter(|((s, _), _)| *s == severity);
        groups.map(|(_, group)| group.count).sum()
    }

    /// Formats the report as text, without a trailing empty line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut truncated = false;
        for severity in Severity::ALL {
            let groups: Vec<_> = self.groups.iter().filter(|((s, _), _)| *s == severity).collect();
            if groups.is_empty() {
                continue;
            }
            let _ = write!(text, "\n{}\n", severity.title());
            for ((_, kind), group) in groups {
                let _ = writeln!(text, "  {} ({})", kind.title(), group.count);
                for line in group.lines.iter().flat_map(|l| l.lines()) {
                    let _ = writeln!(text, "    {line}");
                }
                truncated |= group.truncated;
                if group.count > group.lines.len() {
                    let _ = writeln!(text, "    … and {} more", group.count - group.lines.len());
                }
                for help in &group.helps {
                    let _ = writeln!(text, "    help: {help}");
                }
            }
        }
        if truncated {
            text += "\n--all lists every one\n";
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_long_lists_are_truncated() {
        let mut report = Report::new(false, false);
        for i in 0..25 {
            report.add(
                Finding::info(Kind::FileNames, Split::Val, "is a PNG").of(&format!("image {i}"), "a.jpg"),
            );
        }
        let details = (0..12).map(|i| format!("image {i}")).collect();
        report.add(Finding::warning(Kind::SmallBoxes, Split::Train, "12 boxes").with_details(details));
        report.add(Finding::error(Kind::Annotations, Split::Train, "wrong").with_help("fix it"));
        assert_eq!(Severity::ALL.map(|severity| report.count(severity)), [1, 1, 25]);
        let text = report.text();
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("no `{part}` in\n{text}"))
        };
        assert!(at("errors") < at("warnings") && at("warnings") < at("for your information"));
        assert!(
            text.contains("  annotations (1)\n    train: wrong\n    help: fix it\n"),
            "{text}"
        );
        assert!(text.contains("      image 9\n      … and 2 more\n"), "{text}");
        assert!(
            text.contains("    val: image 9: is a PNG\n    … and 15 more\n"),
            "{text}"
        );
        assert!(text.ends_with("--all lists every one"), "{text}");
        let mut all = Report::new(false, true);
        (0..25).for_each(|_| all.add(Finding::info(Kind::FileNames, Split::Val, "is a PNG")));
        assert_eq!(all.text().matches("is a PNG").count(), 25);
    }
}
