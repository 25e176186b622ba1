//! Keys with a fixed meaning are valid in any configuration.

use cvhost_tests::coco::{CATEGORIES, CocoSet};
use cvhost_tests::fixed_keys::{FixedKeys, check_and_run};
use cvhost_tests::fixture;

#[test]
fn a_file_with_every_fixed_key_passes_its_check_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let set = CocoSet::write(folder.path());
    check_and_run(&FixedKeys {
        task: "detection",
        model: &fixture("golden/detr"),
        images: &set.images,
        annotations: &set.annotations,
        classes: &CATEGORIES.map(|(_, name)| name),
        image_size: [64, 96],
        monitor_metric: "val_map",
        mixes: false,
        predictions: "predictions.json",
    });
}
