//! Hub ids without the network.

use crate::bench::{Bench, refused};
use std::path::Path;

#[test]
fn an_unknown_hub_id_offline_is_a_clear_error() {
    let bench = Bench::new("detr");
    let run = bench.predict(Path::new("nobody/nothing"), &[&bench.set.images]);
    assert_ne!(run.code, 0);
    refused(&run, run.code, &["nobody/nothing", "HF_HUB_OFFLINE"]);
}
