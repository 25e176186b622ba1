//! Tasks of other kinds than the workspace's plugins have, from a plugin that is built outside of it: the host carries them
//! without knowing any.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod builds;
mod depth;
mod keypoints;
mod panoptic;
mod text;
