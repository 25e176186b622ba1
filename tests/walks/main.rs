//! Tasks of kinds that the workspace's plugins lack, from a plugin built outside the workspace: the
//! host runs them without knowing any of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod builds;
mod depth;
mod keypoints;
mod panoptic;
mod text;
