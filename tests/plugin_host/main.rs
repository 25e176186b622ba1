//! Plugins as built files: found, checked, loaded, trained with, and broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod faults;
mod newer_host;
mod rejected;
mod third_party;
mod without;
