use super::*;
use crate::testing::{Folder, annotation, document};
use cvhost_plugin_api::data::RecordArgs;
use serde_json::{Value, json};

fn refusal(folder: &Folder, document: &Value) -> String {
    folder
        .open(document, json!({}))
        .err()
        .expect("the dataset is rejected")
        .to_string()
}

#[test]
fn a_record_has_boxes_labels_and_the_original_annotations() {
    let folder = Folder::with(&["a.jpg", "sub/b.jpg"]);
    let document = document(
        &[(17, "sub/b.jpg"), (3, "a.jpg")],
        vec![
            annotation(1, 3, 5, [1.5, 2.0, 10.0, 20.0]),
            annotation(2, 17, 9, [90.0, 0.0, 30.0, 10.25]),
        ],
    );
    let data = folder.open(&document, json!({})).unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(data.spec().names.as_slice(), ["five", "nine"]);
    let record = data.record(&RecordArgs::at(0)).unwrap();
    assert_eq!(record.name, "image 17 (sub/b.jpg)");
    assert!(record.images[0].path.ends_with("sub/b.jpg"));
    let fields = &record.fields;
    assert_eq!(
        fields.require("boxes").unwrap().to_rows::<4>().unwrap(),
        [[90.0, 0.0, 100.0, 10.25]]
    );
    assert_eq!(
        fields.require("class_labels").unwrap().values::<i64>().unwrap(),
        [1]
    );
    assert_eq!(fields.require("image_id").unwrap().values::<i64>().unwrap(), [17]);
    assert_eq!(
        fields.require("ground_truth").unwrap().to_rows::<7>().unwrap(),
        [[1.0, 90.0, 0.0, 30.0, 10.25, 307.5, 0.0]]
    );
    let meta = data.meta(0).unwrap();
    assert_eq!(
        (meta.width, meta.height, meta.classes.as_slice()),
        (100, 100, &[1][..])
    );
    assert!(data.record(&RecordArgs::at(2)).is_err());
}

#[test]
fn an_image_without_objects_is_kept() {
    let folder = Folder::with(&["a.jpg"]);
    let data = folder
        .open(&document(&[(1, "a.jpg")], vec![]), json!({}))
        .unwrap();
    assert_eq!(data.len(), 1);
    let record = data.record(&RecordArgs::at(0)).unwrap();
    assert_eq!(record.fields.require("boxes").unwrap().dims(), [0, 4]);
    assert!(data.problems()[0].message.contains("no annotated boxes"));
}

#[test]
fn all_faults_are_in_one_report_with_their_ids() {
    let folder = Folder::with(&["a.jpg"]);
    std::os::unix::fs::symlink("/etc/hostname", folder.path("out.jpg")).unwrap();
    std::os::unix::fs::symlink("a.jpg", folder.path("in.jpg")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path("etc")).unwrap();
    let report = refusal(
        &folder,
        &document(
            &[
                (1, "a.jpg"),
                (2, "../b.jpg"),
                (3, "/etc/hostname"),
                (4, "out.jpg"),
                (5, "etc/hostname"),
                (6, "gone.jpg"),
                (7, "in.jpg"),
                (7, "a.jpg"),
                (8, "."),
            ],
            vec![
                annotation(1, 1, 5, [1.0, 1.0, 2.0, 2.0]),
                annotation(1, 99, 5, [1.0, 1.0, 2.0, 2.0]),
                annotation(2, 1, 77, [1.0, 1.0, 2.0, 2.0]),
            ],
        ),
    );
    for part in [
        "image 2: file_name \"../b.jpg\" has `..` in it; rejected",
        "image 3: file_name \"/etc/hostname\" is an absolute path",
        "image 4: file_name \"out.jpg\" is a link that leaves the folder",
        "image 5: file_name \"etc/hostname\" goes through a link",
        "gone.jpg does not exist",
        "image id 7 occurs 2 times",
        "image 8: file_name \".\" is not a file name",
        "annotation id 1 occurs 2 times",
        "annotation 1: its image 99",
        "annotation 2 of image 1: its category 77",
        "data.val_data_path",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert!(report.starts_with("10 problems"), "{report}");
    assert!(!report.contains("in.jpg"), "{report}");
}

#[test]
fn invalid_boxes_follow_the_policy() {
    let folder = Folder::with(&["a.jpg"]);
    let mut annotations = vec![
        annotation(1, 1, 5, [10.0, 10.0, 5.0, 5.0]),
        annotation(2, 1, 5, [10.0, 10.0, 0.0, 5.0]),
        annotation(3, 1, 5, [95.0, 10.0, 10.0, 5.0]),
        annotation(4, 1, 5, [10.0, 10.0, -1.0, 5.0]),
        annotation(5, 1, 5, [10.0, 10.0, 5.0, 5.0]),
    ];
    annotations[4]["bbox"][0] = Value::Null;
    let document = document(&[(1, "a.jpg")], annotations);
    let boxes = |data: &DetectionDataSet| {
        data.record(&RecordArgs::at(0))
            .unwrap()
            .fields
            .require("boxes")
            .unwrap()
            .dims()[0]
    };
    let report_of = |data: &DetectionDataSet| {
        data.problems()
            .iter()
            .map(|p| p.message.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };

    let clip = folder.open(&document, json!({})).unwrap();
    assert_eq!(boxes(&clip), 2);
    let warnings = report_of(&clip);
    assert!(
        warnings.contains("1 box (no area): excluded from training: annotation 2 of image 1"),
        "{warnings}"
    );
    assert!(
        warnings.contains("clipped to the image: annotation 3 of image 1"),
        "{warnings}"
    );
    assert_eq!(clip.problems().len(), 4);
    // The evaluation keeps the boxes with finite numbers.
    assert_eq!(
        clip.record(&RecordArgs::at(0))
            .unwrap()
            .fields
            .require("ground_truth")
            .unwrap()
            .dims(),
        [4, 7]
    );

    let drop = folder
        .open(&document, json!({"data": {"box_policy": "drop"}}))
        .unwrap();
    assert_eq!(boxes(&drop), 1);

    let error = folder
        .open(&document, json!({"data": {"box_policy": "error"}}))
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with("4 problems"), "{error}");
    assert!(
        error.contains("annotation 5 of image 1") && error.contains("not a finite number"),
        "{error}"
    );
    assert!(
        error.contains("negative width or height") && error.contains("extends beyond"),
        "{error}"
    );
}

#[test]
fn an_empty_split_is_rejected() {
    let folder = Folder::with(&["a.jpg"]);
    assert!(refusal(&folder, &document(&[], vec![])).contains("the val split has no images"));
}

#[test]
fn errors_for_missing_files_list_searched_paths_and_the_key() {
    let folder = Folder::with(&["a.jpg"]);
    let mut args = folder.args(json!({}));
    args.annotations = String::new();
    let error = DetectionDataSet::open(&args).err().unwrap();
    assert_eq!(error.key, "data.val_annotation_file");
    assert!(error.to_string().contains("_annotations.coco.json"), "{error}");
    std::fs::write(
        folder.path("annotations.json"),
        document(&[(1, "a.jpg")], vec![]).to_string(),
    )
    .unwrap();
    assert!(DetectionDataSet::open(&args).is_ok());

    args.annotations = "/nowhere/a.json".to_owned();
    assert!(
        DetectionDataSet::open(&args)
            .err()
            .unwrap()
            .to_string()
            .contains("/nowhere/a.json")
    );

    let mut args = folder.args(json!({}));
    std::fs::write(&args.annotations, document(&[(1, "a.jpg")], vec![]).to_string()).unwrap();
    args.images = "/nowhere".to_owned();
    assert_eq!(
        DetectionDataSet::open(&args).err().unwrap().key,
        "data.val_data_path"
    );
    args.images = String::new();
    assert_eq!(
        DetectionDataSet::open(&args).err().unwrap().key,
        "data.val_data_path"
    );
}

#[test]
fn categories_need_unique_ids_and_names() {
    let folder = Folder::with(&["a.jpg"]);
    let mut document = document(&[(1, "a.jpg")], vec![]);
    document["categories"] = json!([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}, {"id": -2, "name": "x"}]);
    let report = refusal(&folder, &document);
    assert!(report.contains("category id 1 occurs 2 times"), "{report}");
    assert!(report.contains("2 categories are named `x`"), "{report}");
    assert!(report.contains("category id -2 (`x`) is negative"), "{report}");
    document["categories"] = json!([]);
    assert!(refusal(&folder, &document).contains("`categories` is empty"));
}
