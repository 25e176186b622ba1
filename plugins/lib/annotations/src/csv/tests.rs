use super::*;

fn parse(text: &str) -> (Result<BoxSet, String>, Vec<String>) {
    let mut faults = Faults::default();
    let set = read(text.as_bytes(), b',', &mut faults);
    let faults = faults.into_result("a.csv", "").err().map_or(Vec::new(), |e| {
        e.details.iter().map(ToString::to_string).collect()
    });
    (set, faults)
}

#[test]
fn both_kinds_of_boxes_are_read_in_file_order() {
    let (set, faults) = parse(
        "\u{feff}filename,width,height,class,xmin,ymin,xmax,ymax\r\n\r\n\"b, \"\"1\"\".jpg\",640,480,WBC,1,2,4,6.5\r\n\
         ./a.jpg,10,20,RBC,0,0,1,1\nb,640,480,,,,,\n\"b, \"\"1\"\".jpg\",640,480,RBC,5,5,6,7",
    );
    let set = set.unwrap();
    assert_eq!(faults, [] as [&str; 0]);
    assert_eq!(
        set.images.names().collect::<Vec<_>>(),
        ["b, \"1\".jpg", "a.jpg", "b"]
    );
    assert_eq!((set.images.ids(), set.images.size(1)), (&[1, 2, 3][..], (10, 20)));
    let names: Vec<&str> = set.categories.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["WBC", "RBC"]);
    let rows: Vec<_> = set
        .annotations
        .iter()
        .map(|a| (a.id, a.image_id, a.category_id, a.bbox))
        .collect();
    assert_eq!(
        rows,
        [
            (3, 1, 0, [1.0, 2.0, 3.0, 4.5]),
            (4, 2, 1, [0.0, 0.0, 1.0, 1.0]),
            (6, 1, 1, [5.0, 5.0, 1.0, 2.0])
        ]
    );
    let (set, _) = parse("image,x,y,width,height,label\na.jpg,1,2,3,4,cat\n");
    let set = set.unwrap();
    assert_eq!(
        (set.annotations[0].bbox, set.images.size(0)),
        ([1.0, 2.0, 3.0, 4.0], (0, 0))
    );
    let (set, _) = parse("path,label,bbox_x,bbox_y,bbox_w,bbox_h,width,height\na.jpg,cat,1,2,3,4,50,60\n");
    assert_eq!(set.unwrap().images.size(0), (50, 60));
}

#[test]
fn invalid_rows_are_reported_by_line_and_the_others_are_read() {
    let (set, faults) = parse(
        "image,class,x1,y1,x2,y2,width,height\na.jpg,cat,1,2,3,4,5,6\na.jpg,cat,1,2\n,cat,1,2,3,4,5,6\n\
         a.jpg,,1,2,3,4,5,6\na.jpg,cat,,,,,5,6\na.jpg,cat,one,2,3,4,5,6\na.jpg,cat,1,2,3,4,50,6\n",
    );
    assert_eq!(set.unwrap().annotations.len(), 1);
    for (line, part) in [
        "line 3: 4 cells, but the header has 8",
        "line 4: the file name is empty",
        "line 5: a box without a class",
        "line 6: a class without a box",
        "line 7: `one` is not a number",
        "line 8: a.jpg is 50 x 6 here, but 5 x 6 in an earlier row",
    ]
    .iter()
    .enumerate()
    {
        assert!(faults[line].starts_with(part), "{faults:?}");
    }
}

#[test]
fn an_incomplete_header_is_rejected_with_the_missing_part() {
    for (header, part) in [
        ("", "is empty"),
        ("a.jpg,1,2,3,4,cat", "no column with the file names of the images"),
        ("image,xmin,ymin,xmax,ymax", "no column with the classes"),
        ("image,class,xmin,ymin,xmax", "columns of the box are incomplete"),
        ("image,class,class", "two columns are named `class`"),
    ] {
        let error = parse(header).0.unwrap_err();
        assert!(error.contains(part), "{header}: {error}");
    }
    let open = format!("image,class,x,y,w,h\n\"{}", "a\n".repeat(1 << 20));
    assert!(parse(&open).0.unwrap_err().contains("a quote may be unclosed"));
    assert!(
        read(&b"\xff\xfei\0"[..], b',', &mut Faults::default())
            .unwrap_err()
            .contains("UTF-16")
    );
}
