use super::*;
use crate::testing::folder;

fn plan(root: &Path) -> Plan {
    Plan {
        root: root.to_owned(),
        ..Plan::default()
    }
}

fn names(set: &BoxSet) -> Vec<&str> {
    set.images.names().collect()
}

fn classes(set: &BoxSet) -> Vec<(i64, &str)> {
    set.categories.iter().map(|c| (c.id, c.name.as_str())).collect()
}

fn report_of(faults: Faults) -> String {
    faults
        .into_result("x", "")
        .err()
        .map_or(String::new(), |e| e.to_string())
}

const YAML: &str = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n";

#[test]
fn an_export_is_read_from_its_root_and_from_the_splits_folder() {
    let root = folder(&[
        ("data.yaml", YAML),
        ("train/images/a.jpg", ""),
        ("train/images/b.jpg", ""),
        ("train/labels/a.txt", "1 0.5 0.5 0.5 0.25\n0 0.1 0.1 0.2 0.2"),
        ("valid/images/c.jpg", ""),
        ("valid/labels/c.txt", ""),
    ]);
    let yaml = Some(root.path().join("data.yaml"));
    for (folder, first) in [
        ("", "train/images/a.jpg"),
        ("train", "images/a.jpg"),
        ("train/images", "a.jpg"),
    ] {
        let plan = Plan {
            yaml: yaml.clone(),
            ..plan(&root.path().join(folder))
        };
        let (mut faults, mut warnings) = (Faults::default(), Vec::new());
        let set = read(&plan, "train", &[], &mut faults, &mut warnings).unwrap();
        assert_eq!(report_of(faults), "", "{folder}");
        assert_eq!((names(&set)[0], set.images.len()), (first, 2), "{folder}");
        assert_eq!(classes(&set), [(0, "cat"), (1, "dog")]);
        let second = set.annotations[1];
        assert_eq!((second.id, second.image_id, second.category_id), (2, 1, 0));
        assert_eq!(set.annotations[0].bbox, [0.25, 0.375, 0.5, 0.25]);
        assert!(
            set.relative && warnings[0].contains("1 of 2 images have no label file"),
            "{warnings:?}"
        );
    }
    let whole = Plan {
        yaml,
        ..plan(root.path())
    };
    let set = read(&whole, "val", &[], &mut Faults::default(), &mut Vec::new()).unwrap();
    assert_eq!(names(&set), ["valid/images/c.jpg"]);
    let error = read(&whole, "test", &[], &mut Faults::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.key, "data.test_data_path");
    assert!(
        error.message.contains("lists no images of the test split"),
        "{error}"
    );
}

#[test]
fn folders_outside_the_dataset_are_not_used() {
    let root = folder(&[
        (
            "set/data.yaml",
            "path: /somewhere/else\ntrain: ../outside\nnames: [a]\n",
        ),
        ("outside/a.jpg", ""),
        ("outside/a.txt", ""),
    ]);
    let plan = Plan {
        yaml: Some(root.path().join("set/data.yaml")),
        ..plan(&root.path().join("set"))
    };
    let error = read(&plan, "train", &[], &mut Faults::default(), &mut Vec::new()).unwrap_err();
    assert!(
        error.to_string().contains("`train: ../outside` was not found in"),
        "{error}"
    );
}

#[test]
fn lists_label_folders_and_labels_next_to_images_are_found() {
    let root = folder(&[
        ("images/train/a.jpg", ""),
        ("labels/train/a.txt", "0 0.5 0.5 1 1"),
        ("flat/b.png", ""),
        ("flat/b.txt", "0 0.5 0.5 1 1"),
        ("flat/classes.txt", "cat\ndog\n"),
        ("inside/c.png", ""),
        ("inside/labels/c.txt", "0 0.5 0.5 1 1"),
        ("apart/c.txt", "1 0.5 0.5 1 1"),
        ("lists/train.txt", "./images/train/a.jpg\nflat/b.png\n"),
    ]);
    let absolute = root.path().join("flat/b.png").display().to_string();
    std::fs::write(root.path().join("absolute.txt"), absolute).unwrap();
    let opened = |plan: &Plan| {
        let set = read(
            plan,
            "train",
            &["cat".to_owned()],
            &mut Faults::default(),
            &mut Vec::new(),
        )
        .unwrap();
        let found: Vec<String> = set.images.names().map(str::to_owned).collect();
        (found, set.annotations.len(), set.categories.len())
    };
    let flat = opened(&plan(&root.path().join("flat")));
    assert_eq!(flat, (vec!["b.png".to_owned()], 1, 2));
    assert_eq!(opened(&plan(&root.path().join("images/train"))).1, 1);
    assert_eq!(opened(&plan(&root.path().join("inside"))).1, 1);
    let apart = Plan {
        labels: Some(root.path().join("apart")),
        ..plan(&root.path().join("inside"))
    };
    assert_eq!(opened(&apart), (vec!["c.png".to_owned()], 1, 1));
    let labels = Plan {
        labels: Some(root.path().join("labels")),
        ..plan(root.path())
    };
    assert_eq!(opened(&labels).1, 1);
    let list = Plan {
        list: Some(root.path().join("lists/train.txt")),
        ..plan(root.path())
    };
    assert_eq!(opened(&list).0, ["images/train/a.jpg", "flat/b.png"]);
    assert_eq!(opened(&list).1, 2);
    let list = Plan {
        list: Some(root.path().join("absolute.txt")),
        ..plan(root.path())
    };
    assert_eq!(opened(&list).0, ["flat/b.png"]);
}

#[test]
fn all_errors_are_reported_with_lines() {
    let root = folder(&[
        ("data.yaml", "names: [a]\nnc: 3\n"),
        ("images/a.jpg", ""),
        ("labels/a.txt", "0 0.5 0.5 1 1\nx\n0 320 240 10 10"),
        ("labels/old.txt", ""),
    ]);
    let plan = Plan {
        yaml: Some(root.path().join("data.yaml")),
        ..plan(&root.path().join("images"))
    };
    let (mut faults, mut warnings) = (Faults::default(), Vec::new());
    let set = read(&plan, "train", &[], &mut faults, &mut warnings).unwrap();
    assert_eq!(set.annotations.len(), 1);
    let report = report_of(faults);
    for part in [
        "`nc` is 3, but there are 1 `names`",
        "line 2 of the labels of a.jpg: `x` is not a class number",
        "line 3 of the labels of a.jpg: 320 is not a fraction",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert!(
        warnings[0].contains("1 label files have no image") && warnings[0].contains("old.txt"),
        "{warnings:?}"
    );
}

#[test]
fn a_split_without_label_files_reports_the_searched_paths() {
    let root = folder(&[("images/a.jpg", "")]);
    let error = read(
        &plan(&root.path().join("images")),
        "val",
        &[],
        &mut Faults::default(),
        &mut Vec::new(),
    );
    let error = error.unwrap_err();
    assert!(
        error
            .message
            .contains("no image of the val split has a label file"),
        "{error}"
    );
    assert!(error.to_string().contains("labels/a.txt"), "{error}");
}

#[test]
fn unnamed_classes_get_configured_names_or_numbers() {
    let root = folder(&[("images/a.jpg", ""), ("labels/a.txt", "2 0.5 0.5 1 1")]);
    let plan = plan(&root.path().join("images"));
    let mut warnings = Vec::new();
    let set = read(&plan, "train", &[], &mut Faults::default(), &mut warnings).unwrap();
    assert_eq!(classes(&set), [(0, "0"), (1, "1"), (2, "2")]);
    assert!(warnings[0].contains("no class names found"), "{warnings:?}");
    let given = ["x", "y", "z"].map(str::to_owned);
    let set = read(&plan, "train", &given, &mut Faults::default(), &mut Vec::new()).unwrap();
    assert_eq!(classes(&set), [(0, "x"), (1, "y"), (2, "z")]);
}
