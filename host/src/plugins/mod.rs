//! Plugin files: discovery, metadata, and compatibility with this host. No plugin code is run;
//! everything is read from the file contents.

mod catalogue;
mod digest;
mod discover;
mod elf;
mod note;
mod relevant;
mod verify;

pub use catalogue::{Catalogue, Found};
pub use digest::digest;
pub use discover::{Folder, Origin, Search, folders};
pub use elf::Facts;
pub use note::read;
pub use relevant::{Relevant, relevant};
pub use verify::{Host, verify};

use std::fmt;

#[cfg(test)]
mod tests;

/// Why a file is not used as a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// One sentence, without the file name.
    pub reason: String,
    pub found: Option<String>,
    pub expected: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Rejection {
    pub fn new(reason: impl Into<String>) -> Self {
        Rejection {
            reason: reason.into(),
            found: None,
            expected: None,
            help: None,
        }
    }

    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `reason (found: …; expected: …); help`, on one line.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match (&self.found, &self.expected) {
            (Some(found), Some(expected)) => write!(f, " (found {found}; expected {expected})")?,
            (Some(found), None) => write!(f, " (found {found})")?,
            (None, Some(expected)) => write!(f, " (expected {expected})")?,
            (None, None) => {}
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
