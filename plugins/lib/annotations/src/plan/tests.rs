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

/// The plan of the split `val` for a folder and annotations below a root.
fn plan(root: &Path, images: &str, annotations: &str, format: Format) -> Result<(Plan, Option<String>)> {
    let annotations = if annotations.is_empty() {
        PathBuf::new()
    } else {
        root.join(annotations)
    };
    make(&request("val", &root.join(images), &annotations, format))
}

/// Files, the folder that is named, and the format and the source that are found.
type Layout<'a> = (&'a [(&'a str, &'a str)], &'a str, Format, &'a str);

#[test]
fn the_usual_layouts_are_told_apart() {
    const XML: &str = "<annotation/>";
    let layouts: [Layout; 13] = [
        // Roboflow's exports, a folder a split.
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
        // COCO's own, and the same with one folder more.
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
        // VOC's own.
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
        // Ultralytics', with a file of any name, and labels beside images.
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
fn annotations_that_are_named_tell_their_format() {
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
        ("odd.bin", Format::Auto, "is none of the files that are read"),
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
fn two_formats_in_one_folder_are_told_and_can_be_chosen() {
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
        warning.contains("taken as COCO, though YOLO and Pascal VOC"),
        "{warning}"
    );
    assert!(warning.contains("`data.format`"), "{warning}");
    let (taken, warning) = plan(root.path(), "", "", Format::Voc).unwrap();
    assert_eq!((taken.format(), warning), (Format::Voc, None));
}

#[test]
fn what_cannot_be_decided_is_an_error_that_names_the_choice() {
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
