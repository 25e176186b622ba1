use super::*;

fn parse(text: &str) -> Result<Document> {
    parse_wanted(text, Wanted::default())
}

fn parse_wanted(text: &str, wanted: Wanted) -> Result<Document> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    open(file.path(), wanted)
}

const BOX: &str = r#""image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]"#;

fn with_annotations(annotations: &str) -> String {
    format!(
        r#"{{"images": [{{"id": 2, "file_name": "a.jpg"}}], "annotations": [{annotations}],
            "categories": [{{"id": 1, "name": "a"}}]}}"#
    )
}

#[test]
fn numbers_in_all_their_spellings_are_read() {
    let set = parse(
        r#"{"info": {"deep": [[1]]}, "categories": [{"id": 1, "name": "a"}],
          "annotations": [
            {"id": 1.0, "image_id": 2, "category_id": 1, "bbox": [0.1, 2, NaN, 4], "segmentation": []},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": true, "area": 7.5}],
          "images": [{"id": 2, "file_name": "a.jpg", "width": 10.0, "height": null}]}"#,
    )
    .unwrap()
    .set;
    assert_eq!((set.images.size(0), set.images.name(0)), ((10, 0), "a.jpg"));
    assert!(set.annotations[0].bbox[2].is_nan() && set.annotations[0].bbox[0] == 0.1);
    assert!(set.annotations[1].crowd && set.annotations[1].area == 7.5);
    assert_eq!(set.naming, Naming::Annotations);
}

#[test]
fn a_wrong_type_names_the_entry_and_its_line() {
    let text = "{\"images\": [],\n\"annotations\": [{\"id\": 1, \"image_id\": 2, \"category_id\": 3, \"bbox\": [1, 2, 3, 4]},\n\
        {\"id\": 2, \"image_id\": \"two\"}], \"categories\": []}";
    let error = parse(text).unwrap_err();
    let wanted = "annotations[1]: invalid type: string \"two\"";
    assert!(error.message.contains(wanted), "{error}");
    assert!(error.message.contains("line 3"), "{error}");
    for (entry, part) in [
        (r#"{"id": 1, "bbox": [1, 2, 3]}"#, "[x, y, width, height]"),
        (
            r#"{"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}"#,
            "missing field `id`",
        ),
        (
            r#"{"id": 1, "image_id": 2, "category_id": 1}"#,
            "missing field `bbox`",
        ),
        (
            r#"{"image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}"#,
            "detector result",
        ),
    ] {
        let error = parse(&with_annotations(entry)).unwrap_err();
        let reported = error.message.contains("annotations[0]") && error.message.contains(part);
        assert!(reported && error.message.contains("line 1"), "{entry}: {error}");
    }
}

#[test]
fn a_different_document_is_rejected_with_the_expected_format() {
    for (text, part) in [
        ("[]", "expected a COCO JSON object"),
        (
            "[{\"image_id\": 1, \"score\": 0.5}]",
            "format of detector results",
        ),
        ("{}", "the list `images` is missing"),
        ("{\"images\": 3}", "expected the list `images`"),
        ("{\"images\": [], \"images\": []}", "occurs twice"),
        ("not json", "line 1"),
        ("", "EOF"),
        ("\u{feff}{}", "the list `images` is missing"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(error.help.contains("COCO JSON"));
    }
}

#[test]
fn nesting_a_million_deep_is_refused() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(1_000_000);
        for key in ["images", "info"] {
            assert!(parse(&format!("{{\"{key}\": {deep}")).is_err());
        }
        assert!(parse(&with_annotations(&format!("{{\"segmentation\": {deep}"))).is_err());
    }
}

#[test]
fn invalid_shapes_are_reported_by_annotation_and_keep_their_boxes() {
    let text = with_annotations(&format!(
        r#"{{"id": 5, {BOX}, "segmentation": [[1, 2, 3]]}}, {{"id": 6, {BOX}, "segmentation": [[1, 2, 3, 4, 5, 6]]}},
           {{"id": 7, {BOX}, "segmentation": {{"size": [2, 2], "counts": [1, 1]}}}}"#
    ));
    for shapes in [ShapesWanted::Checked, ShapesWanted::Kept] {
        let document = parse_wanted(
            &text,
            Wanted {
                shapes,
                keypoints: false,
            },
        )
        .unwrap();
        let expected = [
            (0, ShapeFault::OddPolygon(3)),
            (
                2,
                ShapeFault::RunSum {
                    sum: 2,
                    height: 2,
                    width: 2,
                },
            ),
        ];
        assert_eq!(document.shape_faults, expected);
        assert_eq!(document.set.annotations.len(), 3);
    }
    let skipped = parse_wanted(
        &text,
        Wanted {
            shapes: ShapesWanted::No,
            keypoints: false,
        },
    )
    .unwrap();
    assert!(skipped.shape_faults.is_empty() && skipped.shapes.is_none());
}

#[test]
fn shapes_and_keypoints_are_stored_on_request() {
    let text = with_annotations(&format!(
        r#"{{"id": 5, {BOX}, "segmentation": [[1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 1, 1]], "keypoints": [1, 2.5, 2, 0, 0, 0]}},
           {{"id": 6, {BOX}}},
           {{"id": 7, {BOX}, "segmentation": {{"size": [2, 2], "counts": "13"}}, "keypoints": [NaN, 1, 1]}}"#
    ));
    let document = parse_wanted(
        &text,
        Wanted {
            shapes: ShapesWanted::Kept,
            keypoints: true,
        },
    )
    .unwrap();
    let shapes = document.shapes.unwrap();
    let rings: [&[f64]; 2] = [&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]];
    assert_eq!(shapes.get(0), Some(ShapeRef::Polygons(rings.to_vec())));
    assert_eq!(shapes.get(1), Some(ShapeRef::Polygons(vec![])));
    assert_eq!(
        shapes.get(2),
        Some(ShapeRef::Rle {
            height: 2,
            width: 2,
            counts: "13"
        })
    );
    assert_eq!(shapes.get(3), None);
    let keypoints = document.keypoints.unwrap();
    assert_eq!(keypoints.get(0), [1.0, 2.5, 2.0, 0.0, 0.0, 0.0]);
    assert!(keypoints.get(1).is_empty() && keypoints.get(3).is_empty());
    assert!(keypoints.get(2)[0].is_nan());
}

const PANOPTIC: &str = r#"{
    "images": [{"id": 2, "file_name": "a.jpg", "width": 10, "height": 10}],
    "annotations": [{"image_id": 2, "file_name": "a.png", "segments_info": [
        {"id": 3937500, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 1},
        {"id": 7, "category_id": 200, "bbox": [0, 0, 10, 10], "area": 50, "iscrowd": 0}]}],
    "categories": [{"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "sky", "isthing": 0}]}"#;

#[test]
fn a_panoptic_file_yields_its_segments_and_png_files() {
    let mut document = parse(PANOPTIC).unwrap();
    assert_eq!(document.panoptic.as_deref(), Some(&[(2, "a.png".into())][..]));
    assert_eq!(document.set.naming, Naming::Segments);
    let first = document.set.annotations[0];
    assert_eq!(
        (first.id, first.image_id, first.bbox, first.area),
        (3_937_500, 2, [1.0, 2.0, 3.0, 4.0], 9.0)
    );
    assert!(first.crowd);
    assert_eq!(document.leave_things(), (1, 1));
    assert_eq!(
        (document.set.annotations.len(), document.set.categories.len()),
        (1, 1)
    );
    let mixed = PANOPTIC.replace(
        r#""annotations": ["#,
        r#""annotations": [{"id": 1, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}, "#,
    );
    assert!(
        parse(&mixed)
            .unwrap_err()
            .message
            .contains("annotations[1]: `segments_info`")
    );
}

#[test]
fn categories_keep_their_keypoints() {
    let set = parse(
        r#"{"images": [], "annotations": [], "categories": [
            {"id": 1, "name": "mouse", "supercategory": "animal", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]},
            {"id": 2, "name": "cat", "keypoints": 3, "skeleton": [[1]]}]}"#,
    )
    .unwrap()
    .set;
    assert_eq!(set.categories[0].keypoints, ["nose", "tail"]);
    assert_eq!(set.categories[0].skeleton, [[1, 2]]);
    assert!(set.categories[1].keypoints.is_empty() && set.categories[1].skeleton.is_empty());
}
