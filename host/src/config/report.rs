//! Turns problems with their locations into the error shown to the user.

use super::Origin;
use super::check::Problem;
use super::node::Mark;
use crate::error::{Error, Place};

/// The texts that locations refer to.
#[derive(Debug, Clone)]
pub struct Sources {
    pub file: String,
    pub text: String,
    pub overrides: Vec<String>,
}

impl Sources {
    pub fn place(&self, mark: Mark) -> Option<Place> {
        let (file, line, column, width, text) = match mark {
            Mark::Default => return None,
            Mark::File { line, column, width } => (
                self.file.clone(),
                line,
                column,
                width,
                self.text.lines().nth(line.saturating_sub(1)).unwrap_or(""),
            ),
            Mark::Override { index, column, width } => {
                let text = self.overrides.get(index).map_or("", String::as_str);
                (
                    "command line".to_owned(),
                    index + 1,
                    column,
                    width,
                    text.lines().next().unwrap_or(""),
                )
            }
        };
        let left = text.chars().count().saturating_sub(column.saturating_sub(1));
        Some(Place {
            file,
            line,
            column,
            width: width.min(left).max(1),
            text: text.to_owned(),
        })
    }

    pub fn origin(&self, mark: Mark) -> Origin {
        match mark {
            Mark::Default => Origin::Default,
            Mark::File { line, .. } => Origin::File {
                file: self.file.clone(),
                line,
            },
            Mark::Override { index, .. } => {
                Origin::Override(self.overrides.get(index).cloned().unwrap_or_default())
            }
        }
    }

    /// `file:line: message`.
    pub fn warning(&self, mark: Mark, message: &str) -> String {
        match self.place(mark) {
            Some(place) => format!("{}:{}: {message}", place.file, place.line),
            None => format!("{}: {message}", self.file),
        }
    }

    /// One error for all problems; several are listed in order of their lines.
    pub fn error(&self, mut problems: Vec<Problem>) -> Error {
        problems.sort_by_key(|p| match p.mark {
            Mark::File { line, column, .. } => (0, line, column),
            Mark::Override { index, column, .. } => (1, index, column),
            Mark::Default => (2, 0, 0),
        });
        if problems.len() == 1
            && let Some(problem) = problems.pop()
        {
            return self.single(problem);
        }
        let count = problems.len();
        let details = problems.into_iter().map(|p| {
            let text = self.single(p).to_string();
            text.replace('\n', "\n    ")
        });
        Error::usage(format!("{} has {count} problems", self.file)).with_details(details.collect())
    }

    fn single(&self, problem: Problem) -> Error {
        let mut error = Error::usage(problem.message);
        match self.place(problem.mark) {
            Some(place) => error = error.with_place(place),
            None => error = error.within(self.file.clone()),
        }
        error.expected = problem.expected;
        error.help = problem.help;
        error
    }
}
