//! Plugins as built files: discovery, checks, loading, training and faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod faults;
mod newer_host;
mod rejected;
mod third_party;
mod without;
