use super::*;
use crate::testing::folder;

fn request<'a>(split: &'a str, images: &'a Path, annotations: &'a Path, format: Format) -> Request<'a> {
    Request {
        split,
        images,
        annotations,
        format,
        class_names: &[],
        wanted: Default::default(),
    }
}

/// The plan of the split `val` for an image folder and annotations, both relative to a root.
fn plan(root: &Path, images: &str, annotations: &str, format: Format) -> Result<(Plan, Option<String>)> {
    let annotations = if annotations.is_empty() {
        PathBuf::new()
    } else {
        root.join(annotations)
    };
    make(&request("val", &root.join(images), &annotations, format))
}

/// Files, the configured folder, and the expected format and source.
type Layout<'a> = (&'a [(&'a str, &'a str)], &'a str, Format, &'a str);

#[test]
fn the_usual_layouts_are_detected() {
    const XML: &str = "<annotation/>";
    let layouts: [Layout; 13] = [
        // Roboflow's exports, one folder per split.
        (
            &[("valid/_annotations.coco.json", "{}"), ("README.txt", "x")],
            "valid",
            Format::Coco,
            "valid/_annotations.coco.json",
        ),
        (
            &[("valid/_annotations.coco.json", "{}"), ("README.txt", "x")],
            "",
            Format::Coco,
            "valid/_annotations.coco.json",
        ),
        (
            &[("valid/a.jpg", ""), ("valid/a.xml", XML)],
            "valid",
            Format::Voc,
            "valid",
        ),
        (
            &[
                ("data.yaml", "names: [a]"),
                ("valid/images/a.jpg", ""),
                ("valid/labels/a.txt", ""),
            ],
            "",
            Format::Yolo,
            "data.yaml",
        ),
        (
            &[
                ("data.yaml", "names: [a]"),
                ("valid/images/a.jpg", ""),
                ("valid/labels/a.txt", ""),
            ],
            "valid/images",
            Format::Yolo,
            "data.yaml",
        ),
        (
            &[("valid/a.jpg", ""), ("valid/_annotations.csv", "x")],
            "valid",
            Format::Csv,
            "valid/_annotations.csv",
        ),
        // COCO's original layout, and the same with an additional folder.
        (
            &[
                ("annotations/instances_val2017.json", "{}"),
                ("val2017/a.jpg", ""),
            ],
            "val2017",
            Format::Coco,
            "annotations/instances_val2017.json",
        ),
        (
            &[("annotations/instances_val.json", "{}"), ("images/val/a.jpg", "")],
            "images/val",
            Format::Coco,
            "annotations/instances_val.json",
        ),
        (
            &[("instances_val2014.json", "{}"), ("a.jpg", "")],
            "",
            Format::Coco,
            "instances_val2014.json",
        ),
        // VOC's original layout.
        (
            &[
                ("VOC/Annotations/a.xml", XML),
                ("VOC/JPEGImages/a.jpg", ""),
                ("VOC/ImageSets/Main/val.txt", "a"),
            ],
            "VOC",
            Format::Voc,
            "VOC/ImageSets/Main/val.txt",
        ),
        (
            &[
                ("VOC/Annotations/a.xml", XML),
                ("VOC/JPEGImages/a.jpg", ""),
                ("VOC/ImageSets/Main/val.txt", "a"),
            ],
            "VOC/JPEGImages",
            Format::Voc,
            "VOC/ImageSets/Main/val.txt",
        ),
        // Ultralytics' layout with a YAML file of any name, and labels next to the images.
        (
            &[
                ("coco8.yaml", "names: {0: a}\nval: images/val"),
                ("images/val/a.jpg", ""),
            ],
            "",
            Format::Yolo,
            "coco8.yaml",
        ),
        (&[("a.jpg", ""), ("a.txt", "0 0 0 1 1")], "", Format::Yolo, ""),
    ];
    for (files, images, format, source) in layouts {
        let root = folder(files);
        let (plan, warning) = plan(root.path(), images, "", Format::Auto).unwrap();
        assert_eq!(plan.format(), format, "{files:?}");
        assert_eq!(plan.source(), root.path().join(source), "{files:?}");
        assert_eq!(warning, None, "{files:?}");
    }
}

#[test]
fn the_format_of_configured_annotations_is_detected() {
    let root = folder(&[
        ("a.json", ""),
        ("no_ending", " {\"images\": []}"),
        ("boxes.tsv", ""),
        ("set/data.yaml", "names: [a]"),
        ("set/list.txt", "images/a.jpg"),
        ("set/labels/a.txt", ""),
        ("voc/Annotations/a.xml", "<annotation/>"),
        ("voc/ImageSets/Main/mine.txt", "a"),
        ("voc/JPEGImages/a.jpg", ""),
        ("odd.bin", "x"),
        ("empty/a.bin", ""),
    ]);
    for (images, annotations, format) in [
        ("", "a.json", Format::Coco),
        ("", "no_ending", Format::Coco),
        ("", "boxes.tsv", Format::Csv),
        ("set", "set/data.yaml", Format::Yolo),
        ("set", "set/list.txt", Format::Yolo),
        ("set", "set/labels", Format::Yolo),
        ("voc", "voc/Annotations", Format::Voc),
        ("voc/JPEGImages", "voc/ImageSets/Main/mine.txt", Format::Voc),
        ("voc/JPEGImages", "voc/Annotations/a.xml", Format::Voc),
    ] {
        let (plan, _) = plan(root.path(), images, annotations, Format::Auto).unwrap();
        assert_eq!(plan.format(), format, "{annotations}");
    }
    for (annotations, format, part) in [
        ("odd.bin", Format::Auto, "is not a supported annotation file"),
        ("empty", Format::Auto, "has neither XML files nor label files"),
        ("set", Format::Coco, "is a folder"),
        ("a.json", Format::Yolo, "is neither data.yaml"),
        ("a.json", Format::Voc, "is neither a folder of XML files"),
        ("gone.json", Format::Auto, "were not found"),
    ] {
        let error = plan(root.path(), "", annotations, format).unwrap_err();
        assert_eq!(error.key, "data.val_annotation_file");
        assert!(error.message.contains(part), "{annotations}: {error}");
    }
}

#[test]
fn two_formats_in_one_folder_cause_a_warning_and_can_be_chosen() {
    let root = folder(&[
        ("annotations.json", "{}"),
        ("a.jpg", ""),
        ("a.xml", ""),
        ("a.txt", ""),
    ]);
    let (taken, warning) = plan(root.path(), "", "", Format::Auto).unwrap();
    assert_eq!(taken.format(), Format::Coco);
    let warning = warning.unwrap();
    assert!(
        warning.contains("read as COCO, although YOLO and Pascal VOC"),
        "{warning}"
    );
    assert!(warning.contains("`data.format`"), "{warning}");
    let (taken, warning) = plan(root.path(), "", "", Format::Voc).unwrap();
    assert_eq!((taken.format(), warning), (Format::Voc, None));
}

#[test]
fn an_ambiguous_split_is_an_error_that_names_the_candidates() {
    let root = folder(&[("instances_a.json", "{}"), ("instances_b.json", "{}")]);
    let error = plan(root.path(), "", "", Format::Auto).unwrap_err();
    assert!(error.to_string().contains("instances_b.json"), "{error}");
    let root = folder(&[("Annotations/a.xml", ""), ("ImageSets/Main/train.txt", "a")]);
    let error = plan(root.path(), "", "", Format::Auto).unwrap_err();
    assert!(error.message.contains("ImageSets/Main/val.txt"), "{error}");
    std::fs::write(root.path().join("annotations.json"), "{}").unwrap();
    let (taken, _) = plan(root.path(), "", "", Format::Auto).unwrap();
    assert_eq!(taken.format(), Format::Coco);
    let root = folder(&[("a.jpg", "")]);
    let error = plan(root.path(), "", "", Format::Auto).unwrap_err();
    assert_eq!(error.key, "data.val_annotation_file");
    assert!(error.to_string().contains("_annotations.coco.json"), "{error}");
}
