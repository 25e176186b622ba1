//! Four tasks of other kinds than the workspace's plugins have, and a stage before one of them. Each is a folder: its form is
//! said in `mod.rs`, the task in `task.rs`, and a small network that learns it in `adapter.rs`.

mod depth;
mod keypoints;
mod panoptic;
mod shared;
mod spots;
mod text;

cvhost_plugin_api::export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    tasks: {
        "walk-panoptic" => panoptic::task::Panoptic,
        "walk-keypoints" => keypoints::task::Keypoints,
        "walk-spots" => spots::task::Spots,
        "walk-depth" => depth::task::Depth,
        "walk-text" => text::task::Text,
    },
    adapters: {
        "walk-panoptic" => panoptic::adapter::PixelClasses, serves [("walk-panoptic/1", "walk-panoptic")],
        "walk-keypoints" => keypoints::adapter::Heatmaps, serves [("walk-keypoints/1", "walk-keypoints")],
        "walk-spots" => spots::adapter::Colours, serves [("walk-spots/1", "walk-spots")],
        "walk-depth" => depth::adapter::LogDepth, serves [("walk-depth/1", "walk-depth")],
        "walk-text" => text::adapter::Ctc, serves [("walk-text/1", "walk-text")],
    },
    loggers: {},
}
