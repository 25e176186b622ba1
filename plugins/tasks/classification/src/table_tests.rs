use super::*;

/// A file in a temporary folder.
struct File {
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

fn file(name: &str, content: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    File {
        path,
        _folder: folder,
    }
}

fn read_csv(content: impl AsRef<[u8]>, multi_label: Option<bool>) -> Found {
    let file = file("a.csv", content);
    read(&file.path, multi_label, "val").unwrap()
}

fn refusal(content: impl AsRef<[u8]>) -> String {
    let file = file("a.csv", content);
    read(&file.path, None, "val").unwrap_err().to_string()
}

/// All faults of a file as one text.
fn faults(found: Found) -> String {
    let result = found.faults.into_result("a.csv", "");
    result.map_or_else(|e| e.to_string(), |()| String::new())
}

/// Image names with the names of their classes.
fn rows(found: &Found) -> Vec<(String, Vec<&str>)> {
    let row = |i| {
        let labels = found.records.labels(i).iter();
        let labels = labels.map(|&l| found.classes[l as usize].as_str()).collect();
        (found.records.name(i).to_owned(), labels)
    };
    (0..found.records.len()).map(row).collect()
}

#[test]
fn quotes_a_byte_order_mark_and_crlf_are_read_with_correct_lines() {
    let text =
        "\u{feff}Filename , Label\r\n\"a, b.png\",\" cat \"\r\n\r\n./sub/c.png,\"big\r\ndog\"\r\nd.png,cat";
    let found = read_csv(text, None);
    assert!(found.faults.is_empty());
    assert!(!found.multi_label);
    let expected = [
        ("a, b.png".to_owned(), vec!["cat"]),
        ("sub/c.png".to_owned(), vec!["big\r\ndog"]),
        ("d.png".to_owned(), vec!["cat"]),
    ];
    assert_eq!(rows(&found), expected);
    assert_eq!(found.lines, [2, 4, 6]);
    let unix = read_csv("\n\nimage,label\n\n\na.png,x\n\nb.png,y\n", None);
    assert_eq!(unix.lines, [6, 8]);
}

#[test]
fn tabs_are_the_delimiter_of_tsv_files() {
    let file = file("a.TSV", "path\tcategory\na,1.png\tcat\n");
    let found = read(&file.path, None, "val").unwrap();
    assert_eq!(rows(&found), [("a,1.png".to_owned(), vec!["cat"])]);
    assert_eq!(delimiter(Path::new("x.json")), None);
}

#[test]
fn several_labels_in_a_cell_mean_multi_label_and_images_may_have_none() {
    let text = "image,labels\na,x|y\nb,y; x ;x\nc,\nd,z\n";
    let found = read_csv(text, None);
    assert!(found.multi_label && found.faults.is_empty());
    let labels: Vec<Vec<&str>> = rows(&found).into_iter().map(|(_, l)| l).collect();
    assert_eq!(labels, [vec!["x", "y"], vec!["x", "y"], vec![], vec!["z"]]);
    // With single-label images, the whole cell is the class name.
    let single = read_csv(text, Some(false));
    assert_eq!(rows(&single)[0].1, ["x|y"]);
    assert!(faults(single).contains("line 4: c has no label"));
}

#[test]
fn an_empty_label_is_a_fault_unless_images_may_have_none() {
    let text = "image,label\na,x\nb,\n";
    assert!(faults(read_csv(text, None)).contains("line 3: b has no label"));
    let found = read_csv(text, Some(true));
    assert!(found.multi_label && found.faults.is_empty());
    assert!(found.records.labels(1).is_empty());
}

#[test]
fn one_column_per_class_is_multi_label_by_default() {
    let text = "filename, cat, dog,cow\na,1,0,0\nb,0,1.0,false\nc,0,0,True\n";
    let found = read_csv(text, None);
    assert!(found.multi_label && found.faults.is_empty());
    assert_eq!(found.classes, ["cat", "dog", "cow"]);
    assert_eq!(rows(&found)[2].1, ["cow"]);
    let single = read_csv(text, Some(false));
    assert!(!single.multi_label && single.faults.is_empty());
    let wrong = read_csv("filename,cat,dog\na,1,1\nb,0,0\nc,0,2\nd,,1\n", Some(false));
    let report = faults(wrong);
    for part in [
        "line 2: 2 classes are marked, but `data.multi_label` is false",
        "line 3: b has no label",
        "line 4: column `dog` has `2`, which is neither 0 nor 1",
        "line 5: column `cat` has ``",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn all_invalid_rows_are_reported_with_their_lines() {
    let mut text = b"image,label,width\na,x,1\nb,y\nc,x,1,2\n,x,1\na,y,1\n".to_vec();
    text.extend_from_slice(b"\xff,x,1\n");
    let found = read_csv(&text, None);
    assert!(found.warnings[0].message.contains("not used: `width`"));
    let report = faults(found);
    for part in [
        "5 problems",
        "line 3: 2 cells, but the header has 3",
        "line 4: 4 cells",
        "line 5: the file name is empty",
        "line 6: a already occurs in line 2",
        "line 7: not UTF-8",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn an_error_for_an_invalid_header_lists_the_expected_columns() {
    for (text, what) in [
        ("", "is empty"),
        (
            "a.png,cat\nb.png,dog\n",
            "no column with the file names of the images",
        ),
        ("image\na.png\n", "there is no column for the labels"),
        (
            "image,label,class\na,b,c\n",
            "several columns could have the label: `label`, `class`",
        ),
        ("image,a,a\nx,0,1\n", "two columns are named `a`"),
        ("image,a,\nx,0,1\n", "column 3 has no name"),
    ] {
        let report = refusal(text);
        assert!(report.contains(what), "no {what:?} in:\n{report}");
        assert!(
            report.contains("a.csv") && report.contains("file_name"),
            "{report}"
        );
    }
    assert!(refusal("image,label\n").contains("no rows below the header"));
    assert!(refusal(b"\xff\xfei\0").contains("UTF-16"));
    let error = read(Path::new("/nowhere/a.csv"), None, "test").unwrap_err();
    assert_eq!(error.key, "data.test_annotation_file");
}

#[test]
fn the_first_known_file_name_column_is_used() {
    let found = read_csv("path,filename,label\np,f,x\n", None);
    assert_eq!(rows(&found)[0].0, "f");
    assert!(
        found.warnings[0]
            .message
            .contains("file names are in column `filename`")
    );
}
