//! The promises of the whole, each through built plugins and programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod golden;
