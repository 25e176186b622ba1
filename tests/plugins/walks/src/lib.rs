//! Four tasks of kinds that the workspace's plugins lack, and an earlier stage for one of them.
//! Each has a folder: `mod.rs` documents its form, `task.rs` has the task, and `adapter.rs` a small
//! network that learns it.

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
        "walk-panoptic" => |_| Ok(panoptic::task::Panoptic),
        "walk-keypoints" => |_| Ok(keypoints::task::Keypoints),
        "walk-spots" => |_| Ok(spots::task::Spots),
        "walk-depth" => |_| Ok(depth::task::Depth),
        "walk-text" => |_| Ok(text::task::Text),
    },
    adapters: {
        "walk-panoptic" => |_| Ok(panoptic::adapter::PixelClasses), serves [("walk-panoptic/1", "walk-panoptic")],
        "walk-keypoints" => |_| Ok(keypoints::adapter::Heatmaps), serves [("walk-keypoints/1", "walk-keypoints")],
        "walk-spots" => |_| Ok(spots::adapter::Colours), serves [("walk-spots/1", "walk-spots")],
        "walk-depth" => |_| Ok(depth::adapter::LogDepth), serves [("walk-depth/1", "walk-depth")],
        "walk-text" => |_| Ok(text::adapter::Ctc), serves [("walk-text/1", "walk-text")],
    },
}
