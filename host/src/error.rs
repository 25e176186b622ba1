//! The host's error type: what is wrong, where, what was expected, and what to do.

use std::fmt;
use std::path::Path;

/// Category of an error; determines the exit code only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An invalid command line or configuration.
    Usage,
    /// Unusable images, annotations or checkpoint.
    Input,
    /// A problem with libtorch, a plugin or the machine.
    Environment,
    /// A failure at run time.
    Failed,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

impl Kind {
    /// The exit code of the program: 0 success, 1 failed run, 2 usage, 3 input, 4 environment, 130
    /// interrupted.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Input => 3,
            Kind::Environment => 4,
            Kind::Interrupted => 130,
        }
    }
}

/// The location in a text file that an error points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Number of characters that the caret underlines; at least 1.
    pub width: usize,
    /// The text of the line, without the newline.
    pub text: String,
}

/// Maximum number of characters of a line that are shown.
const LINE_SHOWN: usize = 160;

impl Place {
    /// The printable excerpt of the line around the column, and the column within it.
    fn window(&self) -> (String, usize) {
        let start = if self.column > LINE_SHOWN * 3 / 4 {
            self.column - LINE_SHOWN / 2
        } else {
            0
        };
        let shown = self.text.chars().skip(start).take(LINE_SHOWN);
        let mut text: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.text.chars().nth(start + LINE_SHOWN).is_some() {
            text.push('…');
        }
        if start == 0 {
            (text, self.column)
        } else {
            (format!("…{text}"), self.column - start + 1)
        }
    }
}

/// An error as the user sees it. Built with [`Error::new`] and the `with_*` methods.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    /// What is wrong, in one sentence including the offending value.
    pub what: String,
    /// Where it happened: context added while the error propagated, outermost first.
    pub context: Vec<String>,
    pub place: Option<Box<Place>>,
    pub expected: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Several problems of the same kind, one line each.
    pub details: Vec<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error {
            kind,
            what: what.into(),
            context: Vec::new(),
            place: None,
            expected: None,
            help: None,
            details: Vec::new(),
        }
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what)
    }

    pub fn input(what: impl Into<String>) -> Self {
        Self::new(Kind::Input, what)
    }

    pub fn environment(what: impl Into<String>) -> Self {
        Self::new(Kind::Environment, what)
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what)
    }

    /// An I/O error with the path of the file.
    pub fn io(kind: Kind, doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(kind, format!("cannot {doing} {}: {error}", path.display()))
    }

    #[must_use]
    pub fn with_place(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    #[must_use]
    pub fn with_expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// Adds context while the error propagates: `in <context>: …`.
    #[must_use]
    pub fn within(mut self, context: impl Into<String>) -> Self {
        self.context.insert(0, context.into());
        self
    }
}

/// Maximum number of details printed; the rest is only counted.
const DETAILS_SHOWN: usize = 20;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in &self.context {
            write!(f, "{context}: ")?;
        }
        write!(f, "{}", self.what)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n{margin}--> {}:{}:{}", place.file, place.line, place.column)?;
            let (text, column) = place.window();
            let indent = " ".repeat(column.saturating_sub(1));
            let left = text.chars().count().saturating_sub(column.saturating_sub(1));
            write!(f, "\n{margin} |\n{number} | {text}")?;
            write!(
                f,
                "\n{margin} | {indent}{}",
                "^".repeat(place.width.min(left).max(1))
            )?;
        }
        for detail in self.details.iter().take(DETAILS_SHOWN) {
            write!(f, "\n  - {detail}")?;
        }
        if self.details.len() > DETAILS_SHOWN {
            write!(f, "\n  … and {} more", self.details.len() - DETAILS_SHOWN)?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\nexpected: {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, column: usize) -> Vec<String> {
        let place = Place {
            file: "f".into(),
            line: 12,
            column,
            width: 3,
            text: text.into(),
        };
        Error::usage("wrong")
            .with_place(place)
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_caret_is_below_its_column() {
        assert_eq!(
            shown("\tabc: 1", 2),
            ["wrong", "  --> f:12:2", "   |", "12 |  abc: 1", "   |  ^^^"]
        );
    }

    #[test]
    fn long_lines_are_shown_around_the_column_only() {
        let text = format!("{}XYZ{}", "-".repeat(5000), "-".repeat(5000));
        let lines = shown(&text, 5001);
        let at = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().skip(at).take(3).collect::<String>(), "XYZ");
        assert!(lines[3].chars().count() < 200);
    }
}
