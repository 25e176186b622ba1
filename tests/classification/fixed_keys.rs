//! Keys with a fixed meaning are valid in any configuration.

use cvhost_tests::cells::{CLASSES, CellSet};
use cvhost_tests::fixed_keys::{FixedKeys, check_and_run};
use cvhost_tests::fixture;

#[test]
fn a_file_with_every_fixed_key_passes_its_check_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let set = CellSet::write(folder.path());
    let annotations = folder.path().join("cells.csv");
    let rows = CellSet::rows(&set.val).into_iter();
    let rows: Vec<String> = rows.map(|(file, class)| format!("{file},{class}\n")).collect();
    std::fs::write(&annotations, format!("image,label\n{}", rows.concat())).unwrap();
    check_and_run(&FixedKeys {
        task: "classification",
        model: &fixture("golden/vit"),
        images: &set.val,
        annotations: &annotations,
        classes: &CLASSES,
        image_size: [64, 48],
        monitor_metric: "val_accuracy",
        mixes: true,
        predictions: "predictions.csv",
    });
}
