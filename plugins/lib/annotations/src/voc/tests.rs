use super::*;
use crate::testing::folder;

fn xml(file_name: &str, objects: &[(&str, [f64; 4], u8)]) -> String {
    let objects: String = objects
        .iter()
        .map(|(name, [x1, y1, x2, y2], difficult)| {
            format!(
                "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>\
                 <xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            )
        })
        .collect();
    format!(
        "<annotation><filename>{file_name}</filename><size><width>20</width><height>10</height></size>{objects}</annotation>"
    )
}

fn report_of(faults: Faults) -> String {
    faults
        .into_result("x", "")
        .err()
        .map_or(String::new(), |e| e.to_string())
}

#[test]
fn classes_are_numbered_by_name_and_difficult_objects_are_ignored() {
    let root = folder(&[
        ("a.jpg", ""),
        ("b.jpg", ""),
        (
            "a.xml",
            &xml(
                "a.jpg",
                &[
                    ("zebra", [1.0, 2.0, 4.0, 8.5], 0),
                    ("cat", [0.0, 0.0, 1.0, 1.0], 1),
                ],
            ),
        ),
        ("b.xml", &xml("b.jpg", &[])),
    ]);
    let plan = Plan {
        root: root.path().into(),
        images: "",
        files: root.path().into(),
        list: None,
    };
    let (mut faults, mut warnings) = (Faults::default(), Vec::new());
    let set = read(&plan, &mut faults, &mut warnings).unwrap();
    assert_eq!(report_of(faults), "");
    assert!(warnings.is_empty());
    assert_eq!(set.images.names().collect::<Vec<_>>(), ["a.jpg", "b.jpg"]);
    assert_eq!(set.images.size(1), (20, 10));
    let classes: Vec<_> = set.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
    assert_eq!(classes, [(1, "cat"), (2, "zebra")]);
    let first = set.annotations[0];
    assert_eq!((first.id, first.image_id, first.category_id), (1, 1, 2));
    assert_eq!((first.bbox, first.crowd), ([1.0, 2.0, 3.0, 6.5], false));
    assert!(set.annotations[1].crowd);
}

#[test]
fn an_image_is_found_by_the_name_in_its_file_or_by_the_files_name() {
    let root = folder(&[
        ("JPEGImages/renamed.png", ""),
        ("JPEGImages/sub/c.JPG", ""),
        ("JPEGImages/other.jpg", ""),
        ("Annotations/renamed.xml", &xml("/home/me/old.jpg", &[])),
        ("Annotations/sub/c.xml", &xml("", &[])),
        ("Annotations/z.xml", &xml("other.jpg", &[])),
        ("Annotations/gone.xml", &xml("gone.jpg", &[])),
    ]);
    let plan = Plan {
        root: root.path().into(),
        images: "JPEGImages",
        files: root.path().join("Annotations"),
        list: None,
    };
    let set = read(&plan, &mut Faults::default(), &mut Vec::new()).unwrap();
    let names: Vec<&str> = set.images.names().collect();
    let expected = [
        "JPEGImages/gone.jpg",
        "JPEGImages/renamed.png",
        "JPEGImages/sub/c.JPG",
        "JPEGImages/other.jpg",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_list_determines_the_images_and_their_order() {
    let root = folder(&[
        ("a.jpg", ""),
        ("b.jpg", ""),
        ("a.xml", &xml("a.jpg", &[])),
        ("b.xml", &xml("b.jpg", &[])),
        ("list.txt", "b\n\na.jpg  1\nc -1\n"),
        ("bad.txt", "a\n../../etc/x\n"),
    ]);
    let mut plan = Plan {
        root: root.path().into(),
        images: "",
        files: root.path().into(),
        list: Some(root.path().join("list.txt")),
    };
    let set = read(&plan, &mut Faults::default(), &mut Vec::new()).unwrap();
    assert_eq!(set.images.names().collect::<Vec<_>>(), ["b.jpg", "a.jpg"]);
    plan.list = Some(root.path().join("bad.txt"));
    let error = read(&plan, &mut Faults::default(), &mut Vec::new()).unwrap_err();
    assert!(
        error.message.contains("line 2: \"../../etc/x\" leads out"),
        "{error}"
    );
}

#[test]
fn all_errors_are_reported_with_files_and_objects() {
    let root = folder(&[
        ("a.jpg", ""),
        ("more.jpg", ""),
        ("a.xml", &xml("a.jpg", &[])),
        ("b.xml", &xml("a.jpg", &[("", [0.0, 0.0, 1.0, 1.0], 0)])),
        ("c.xml", "<annotation><object>"),
        (
            "d.xml",
            "<annotation><filename>a.jpg</filename><object><name>x</name></object></annotation>",
        ),
    ]);
    let plan = Plan {
        root: root.path().into(),
        images: "",
        files: root.path().into(),
        list: None,
    };
    let (mut faults, mut warnings) = (Faults::default(), Vec::new());
    read(&plan, &mut faults, &mut warnings).unwrap();
    let report = report_of(faults);
    for part in [
        "c.xml the file ends within an element",
        "object 1 of a.jpg has no `name`",
        "object 1 of a.jpg has no `bndbox`",
        "3 files describe the image a.jpg",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert!(warnings.is_empty(), "{warnings:?}");
    std::fs::remove_file(root.path().join("b.xml")).unwrap();
    std::fs::remove_file(root.path().join("d.xml")).unwrap();
    read(&plan, &mut Faults::default(), &mut warnings).unwrap();
    assert!(
        warnings[0].contains("1 of 2 images have no XML file"),
        "{warnings:?}"
    );
}
