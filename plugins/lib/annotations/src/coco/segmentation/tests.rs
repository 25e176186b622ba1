use super::*;

fn both(text: &str) -> Result<Option<Segmentation>, ShapeFault> {
    let kept = serde_json::from_str::<Kept>(text).unwrap().take();
    let checked = serde_json::from_str::<Checked>(text).unwrap().take();
    assert_eq!(checked.err(), kept.as_ref().err().copied(), "{text}");
    kept
}

#[test]
fn polygons_and_both_kinds_of_rle_are_stored() {
    assert_eq!(
        both("[[0, 0.5, 10, 0, 10, 10], [1, 1, 2, 2, 3, 1]]").unwrap(),
        Some(Segmentation::Polygons(vec![
            vec![0.0, 0.5, 10.0, 0.0, 10.0, 10.0],
            vec![1.0, 1.0, 2.0, 2.0, 3.0, 1.0]
        ]))
    );
    let list = both(r#"{"counts": [6, 1, 40, 4, 5, 4, 5, 4, 21], "size": [9, 10]}"#).unwrap();
    let text = both(r#"{"size": [9, 10], "counts": "61X13mN000`0"}"#).unwrap();
    assert_eq!(list, text);
    let Some(Segmentation::Rle(rle)) = text else {
        panic!("a mask is stored as a mask")
    };
    assert_eq!(rle.runs().collect::<Vec<_>>(), [6, 1, 40, 4, 5, 4, 5, 4, 21]);
    assert_eq!(both("[]").unwrap(), Some(Segmentation::Polygons(vec![])));
}

#[test]
fn invalid_shapes_are_distinguished() {
    for (text, fault) in [
        (
            "[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]",
            ShapeFault::OddPolygon(7),
        ),
        ("[[1, 2, 3, 4]]", ShapeFault::ShortPolygon(4)),
        ("[1, 2, 3.5, 4, 5, 6]", ShapeFault::FlatList),
        (r#"{"counts": [1, 2]}"#, ShapeFault::Incomplete),
        (r#"{"counts": [1, 2], "size": [-2, 2]}"#, ShapeFault::Incomplete),
        (
            r#"{"counts": [1, 2], "size": [2, 2]}"#,
            ShapeFault::RunSum {
                sum: 3,
                height: 2,
                width: 2,
            },
        ),
        (
            r#"{"counts": "61", "size": [2, 2]}"#,
            ShapeFault::RunSum {
                sum: 7,
                height: 2,
                width: 2,
            },
        ),
        (
            r#"{"counts": [5, -1], "size": [2, 2]}"#,
            ShapeFault::Broken(Broken::Negative),
        ),
        (
            r#"{"counts": "é", "size": [2, 2]}"#,
            ShapeFault::Broken(Broken::Text),
        ),
    ] {
        assert_eq!(both(text).unwrap_err(), fault, "{text}");
    }
}

#[test]
fn defects_that_need_the_image_are_found_in_stored_shapes() {
    let nan = Segmentation::Polygons(vec![vec![0.0, f64::NAN, 1.0, 1.0, 2.0, 2.0]]);
    assert_eq!(nan.fault((0, 0)), Some(ShapeFault::NotFinite));
    let rle = Segmentation::Rle(Rle {
        height: 9,
        width: 10,
        counts: "".into(),
    });
    assert_eq!(
        rle.fault((9, 10)),
        Some(ShapeFault::OtherSize { height: 9, width: 10 })
    );
    assert_eq!((rle.fault((10, 9)), rle.fault((0, 0))), (None, None));
}
