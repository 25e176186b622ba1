//! Properties of a field that affect transformations: its fill value and its mirror indices.

use super::map::{Change, Map};
use super::tests::transform;
use cvhost_plugin_api::data::{Array, Field, Fields, Role};

const MIRROR: Change = Change::MirrorX;

fn two_hands(mirror: &[u64]) -> Fields {
    // The nose, left hand and right hand of one person in an image of 10 x 4.
    let points = [5.0f32, 1.0, 2.0, 2.0, 3.0, 2.0, 7.0, 3.0, 1.0];
    let array = Array::new(&[1, 3, 3], &points).unwrap();
    Fields::new().and(Field::new("hands", Role::KEYPOINTS, array).mirrored_by(mirror))
}

fn points(fields: &Fields) -> Vec<f64> {
    fields.require("hands").unwrap().to_f64().unwrap()
}

#[test]
fn mirroring_swaps_left_and_right_keypoints() {
    let map = Map::of(&[MIRROR], [10, 4]);
    let swapped = transform(&two_hands(&[0, 2, 1]), &map).unwrap();
    assert_eq!(points(&swapped), [5.0, 1.0, 2.0, 3.0, 3.0, 1.0, 8.0, 3.0, 2.0]);
    assert_eq!(
        swapped.items[0].mirror.as_slice(),
        [0, 2, 1],
        "needed again by the next transformation"
    );
    let plain = transform(&two_hands(&[]), &map).unwrap();
    assert_eq!(points(&plain), [5.0, 1.0, 2.0, 8.0, 3.0, 2.0, 3.0, 3.0, 1.0]);
    let upside_down = transform(&two_hands(&[0, 2, 1]), &Map::of(&[Change::MirrorY], [10, 4])).unwrap();
    assert_eq!(
        points(&upside_down),
        [5.0, 3.0, 2.0, 7.0, 1.0, 1.0, 2.0, 1.0, 2.0]
    );
}

#[test]
fn a_rotation_does_not_swap_keypoints() {
    let rotated = transform(
        &two_hands(&[0, 2, 1]),
        &Map::of(&[Change::Rotate { radians: 0.0 }], [10, 4]),
    )
    .unwrap();
    assert_eq!(points(&rotated), points(&two_hands(&[])));
}

#[test]
fn mirror_indices_must_be_a_permutation() {
    for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 3]] {
        let error = transform(&two_hands(wrong), &Map::of(&[MIRROR], [10, 4]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not a permutation of its 3 keypoints"),
            "{wrong:?}: {error}"
        );
    }
}

#[test]
fn areas_outside_of_the_image_get_the_fields_fill_value() {
    let plane = |value: i64| Array::new(&[2, 2], &[value; 4]).unwrap();
    let fields = Fields::new()
        .with("classes", Role::LABEL_MAP, plane(7))
        .and(Field::new("segments", Role::LABEL_MAP, plane(7)).filled_with(-1.0))
        .with("depth", Role::DENSE_MAP, plane(7));
    // Half size, in the top left corner.
    let map = Map::of(&[Change::zoom(2, 2, 0.5, [0.0, 0.0])], [2, 2]);
    let moved = transform(&fields, &map).unwrap();
    let values = |name: &str| moved.require(name).unwrap().values::<i64>().unwrap().to_vec();
    assert_eq!(values("classes"), [7, 255, 255, 255]);
    assert_eq!(values("segments"), [7, -1, -1, -1]);
    assert_eq!(values("depth"), [7, 0, 0, 0]);
}
