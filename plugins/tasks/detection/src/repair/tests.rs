use super::*;
use crate::dataset::DetectionDataSet;
use cvhost_plugin_api::sdk::DataSet;
use serde_json::{Value, json};
use std::fs;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn args(root: &Path, annotations: &str) -> OpenArgs {
    OpenArgs {
        split: "val".to_owned(),
        images: root.display().to_string(),
        annotations: root.join(annotations).display().to_string(),
        config: json!({}),
        checkpoint_classes: Vec::new(),
        ..OpenArgs::default()
    }
}

/// Writes the repaired file and opens it strictly, without any problems.
fn written(root: &Path, repair: &Repair) -> (Value, DetectionDataSet) {
    fs::write(repair.files[0].path.as_str(), repair.files[0].bytes.as_slice()).unwrap();
    let mut strict = args(root, "");
    strict.annotations = repair.files[0].path.to_string();
    strict.config = json!({"data": {"box_policy": "error"}});
    let data = DetectionDataSet::open(&strict)
        .map_err(|e| e.to_string())
        .unwrap();
    assert!(data.problems().is_empty(), "{:?}", data.problems());
    (serde_json::from_slice(&repair.files[0].bytes).unwrap(), data)
}

fn assert_changes(repair: &Repair, lines: &[&str]) {
    let changes: Vec<&str> = repair.changes.iter().map(|c| c.as_str()).collect();
    for line in lines {
        assert!(
            changes.iter().any(|c| c.contains(line)),
            "no {line:?} in {changes:#?}"
        );
    }
    assert_eq!(changes.len(), lines.len(), "{changes:#?}");
}

fn annotation(id: i64, image: i64, category: i64, bbox: Value, segmentation: Value) -> Value {
    json!({"id": id, "image_id": image, "category_id": category, "bbox": bbox, "area": 1000, "iscrowd": 0,
        "segmentation": segmentation, "attributes": {"seen": id}})
}

#[test]
fn a_repaired_coco_file_differs_only_in_its_errors() {
    let root = folder(&[("a.jpg", ""), ("b.jpg", ""), ("c.jpg", ""), ("d.jpg", "")]);
    let image = |id: i64, file: &str| json!({"id": id, "file_name": file, "width": 100, "height": 50, "coco_url": "u"});
    let ring = json!([1, 1, 9, 1, 9, 9]);
    let good = annotation(1, 1, 1, json!([1, 2, 3, 4]), json!([ring]));
    let document = json!({
        "info": {"note": [1, {"deep": null}]},
        "images": [image(1, "a.jpg"), image(1, "a.jpg"), image(2, "b.jpg"), image(2, "c.jpg"), image(3, "gone.jpg"),
            image(4, "../a.jpg"), image(-5, "d.jpg"), {"id": 6}],
        "annotations": [good, good,
            annotation(1, 1, 1, json!([5, 5, 5, 5]), json!([])),
            annotation(2, 2, 1, json!([1, 1, 1, 1]), json!([])),
            annotation(3, 99, 1, json!([1, 1, 1, 1]), json!([])),
            annotation(4, 1, 77, json!([1, 1, 1, 1]), json!([])),
            annotation(5, -5, 3, json!([90, 40, 20, 20]), json!([])),
            annotation(6, 1, 1, json!([1, 1, 0, 1]), json!([])),
            annotation(7, 1, 1, json!([null, 1, 1, 1]), json!([])),
            annotation(8, 1, 1, json!([1, 1, 1, 1]), json!([[1, 2, 3], ring])),
            annotation(9, 1, 1, json!([1, 1, 1, 1]), json!({"size": [50, 100], "counts": [1]})),
            {"id": 10, "image_id": 1, "category_id": 1}],
        "categories": [{"id": 1, "name": "x", "color": 7}, {"id": 3, "name": "x"}, {"id": 1, "name": "x"}],
    });
    fs::write(root.path().join("mine.json"), document.to_string()).unwrap();
    let repair = repair(&args(root.path(), "mine.json")).unwrap();
    assert_eq!(
        repair.files[0].path,
        root.path().join("mine.repaired.json").display().to_string()
    );
    assert_changes(
        &repair,
        &[
            "category 3 `x`: merged into category 1",
            "category 1 `x`: dropped: it is a duplicate",
            "image 2: dropped with its annotations: its id is used for several files: b.jpg, c.jpg",
            "image 1 (a.jpg): dropped: it is a duplicate",
            "image 3 (gone.jpg): dropped with its annotations: it does not exist",
            "image 4 (../a.jpg): dropped with its annotations: it has `..` in it; rejected",
            "image -5 (d.jpg): its id is now 7",
            "images[7]: dropped: it has no `id` or no `file_name`",
            "annotation 1: dropped: it is a duplicate",
            "annotation 1: its id is now 11: another annotation has the same id",
            "annotation 2: dropped: its image 2 is not in `images`, or was dropped",
            "annotation 3: dropped: its image 99",
            "annotation 4: dropped: its category 77",
            "annotation 5: its box [90.0, 40.0, 20.0, 20.0] is now [90.0, 40.0, 10.0, 10.0]",
            "annotation 6: dropped: its box [1.0, 1.0, 0.0, 1.0]: no area",
            "annotation 7: dropped: its box [NaN",
            "annotation 8: 1 of 2 polygons dropped: polygon with 3 numbers",
            "annotation 9: its `segmentation` is now empty: RLE whose counts sum to 1",
            "annotation 10: dropped: it has no `bbox`",
        ],
    );
    let (new, data) = written(root.path(), &repair);
    assert_eq!(new["info"], document["info"]);
    assert_eq!(new["annotations"][0], good);
    assert_eq!(new["images"][0], document["images"][0]);
    assert_eq!(new["categories"], json!([{"id": 1, "name": "x", "color": 7}]));
    assert_eq!(new["annotations"][2]["image_id"], 7);
    assert_eq!(
        (
            &new["annotations"][2]["area"],
            &new["annotations"][2]["category_id"]
        ),
        (&json!(100.0), &json!(1))
    );
    assert_eq!(new["annotations"][3]["segmentation"], json!([ring]));
    assert_eq!((data.len(), data.meta(0).unwrap().classes.len()), (2, 4));
    let keys: Vec<&String> = new.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["info", "images", "annotations", "categories"]);
}

#[test]
fn a_valid_file_has_no_changes() {
    let root = folder(&[("a.jpg", "")]);
    let document = json!({"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3.25, 4]}]});
    fs::write(root.path().join("a.json"), document.to_string()).unwrap();
    let repair = repair(&args(root.path(), "a.json")).unwrap();
    assert!(repair.changes.is_empty());
    assert_eq!(
        serde_json::from_slice::<Value>(&repair.files[0].bytes).unwrap(),
        document
    );
}

#[test]
fn faults_that_only_a_human_can_fix_are_errors() {
    let root = folder(&[("a.jpg", "")]);
    let refusal = |document: Value| {
        fs::write(root.path().join("a.json"), document.to_string()).unwrap();
        repair(&args(root.path(), "a.json")).unwrap_err().to_string()
    };
    let two = json!({"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]});
    assert!(refusal(two).contains("category id 1 is used for both `x` and `y`"));
    assert!(
        refusal(json!({"images": [], "annotations": [], "categories": []})).contains("`categories` is empty")
    );
    assert!(refusal(json!({"images": []})).contains("`annotations` is missing"));
    let panoptic =
        json!({"images": [], "annotations": [{"image_id": 1, "segments_info": []}], "categories": []});
    assert!(refusal(panoptic).contains("panoptic"));
}

#[test]
fn another_format_becomes_a_coco_file() {
    let root = folder(&[
        ("a.jpg", ""),
        (
            "boxes.csv",
            "image,class,x,y,w,h,width,height\na.jpg,cat,1,1,2,2,9,9\na.jpg,cat,8,1,2,2,9,9\na.jpg,cat,1,1,0,2,9,9\n\
          gone.jpg,cat,1,1,1,1,9,9\na.jpg,cat,1\n",
        ),
    ]);
    let repair = repair(&args(root.path(), "boxes.csv")).unwrap();
    assert_eq!(
        repair.files[0].path,
        root.path().join("boxes.repaired.coco.json").display().to_string()
    );
    assert_changes(
        &repair,
        &[
            "skipped: line 6: 3 cells",
            "gone.jpg: skipped: it does not exist",
            "line 3 (a.jpg): clipped to the image",
            "line 4 (a.jpg): skipped: no area",
        ],
    );
    let (new, data) = written(root.path(), &repair);
    assert_eq!(new["annotations"][1]["bbox"], json!([8.0, 1.0, 1.0, 2.0]));
    assert_eq!(data.spec().names.as_slice(), ["cat"]);
}

#[test]
fn label_files_become_boxes_in_pixels() {
    // The header of a 100 x 50 PNG.
    let png = "\u{89}PNG\r\n\u{1a}\n";
    let root = folder(&[
        ("a.txt", "0 0.5 0.5 0.5 0.5\n4 0.5 0.5 0.5 0.5"),
        ("classes.txt", "cat"),
        ("b.jpg", png),
        ("b.txt", ""),
    ]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x64\0\0\0\x32\x08\x02\0\0\0\0\0\0\0".to_vec();
    bytes.extend(b"\0\0\0\0IEND\0\0\0\0");
    fs::write(root.path().join("a.jpg"), bytes).unwrap();
    let mut args = args(root.path(), "");
    args.annotations = String::new();
    let repair = repair(&args).unwrap();
    assert_eq!(
        repair.files[0].path,
        root.path()
            .join("annotations_val.repaired.coco.json")
            .display()
            .to_string()
    );
    assert_changes(
        &repair,
        &[
            "line 2 of a.jpg: skipped: class 4 has no name",
            "b.jpg: skipped: cannot read the size",
        ],
    );
    let (new, _) = written(root.path(), &repair);
    assert_eq!(new["annotations"][0]["bbox"], json!([25.0, 12.5, 50.0, 25.0]));
}
