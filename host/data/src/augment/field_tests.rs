//! What a field itself says of a change: its fill, and its order in a mirror image.

use super::map::{Change, Map};
use super::tests::transform;
use cvhost_plugin_api::data::{Array, Field, Fields, Role};

const MIRROR: Change = Change::MirrorX;

fn two_hands(mirror: &[u64]) -> Fields {
    // A nose, a left and a right hand of one person in an image of 10 x 4.
    let points = [5.0f32, 1.0, 2.0, 2.0, 3.0, 2.0, 7.0, 3.0, 1.0];
    let array = Array::new(&[1, 3, 3], &points).unwrap();
    Fields::new().and(Field::new("hands", Role::KEYPOINTS, array).mirrored_by(mirror))
}

fn points(fields: &Fields) -> Vec<f64> {
    fields.require("hands").unwrap().to_f64().unwrap()
}

#[test]
fn left_and_right_change_their_names_in_a_mirror_image() {
    let map = Map::of(&[MIRROR], [10, 4]);
    let swapped = transform(&two_hands(&[0, 2, 1]), &map).unwrap();
    assert_eq!(points(&swapped), [5.0, 1.0, 2.0, 3.0, 3.0, 1.0, 8.0, 3.0, 2.0]);
    assert_eq!(
        swapped.items[0].mirror.as_slice(),
        [0, 2, 1],
        "the next change needs it again"
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
fn a_turn_is_no_mirror_image() {
    let turned = transform(
        &two_hands(&[0, 2, 1]),
        &Map::of(&[Change::Rotate { radians: 0.0 }], [10, 4]),
    )
    .unwrap();
    assert_eq!(points(&turned), points(&two_hands(&[])));
}

#[test]
fn mirror_indices_that_are_no_order_are_refused() {
    for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 3]] {
        let error = transform(&two_hands(wrong), &Map::of(&[MIRROR], [10, 4]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no order of its 3 keypoints"),
            "{wrong:?}: {error}"
        );
    }
}

#[test]
fn what_comes_from_outside_is_what_the_field_says() {
    let plane = |value: i64| Array::new(&[2, 2], &[value; 4]).unwrap();
    let fields = Fields::new()
        .with("classes", Role::LABEL_MAP, plane(7))
        .and(Field::new("segments", Role::LABEL_MAP, plane(7)).filled_with(-1.0))
        .with("depth", Role::DENSE_MAP, plane(7));
    // Half as large, in the top left corner.
    let map = Map::of(&[Change::zoom(2, 2, 0.5, [0.0, 0.0])], [2, 2]);
    let moved = transform(&fields, &map).unwrap();
    let values = |name: &str| moved.require(name).unwrap().values::<i64>().unwrap().to_vec();
    assert_eq!(values("classes"), [7, 255, 255, 255]);
    assert_eq!(values("segments"), [7, -1, -1, -1]);
    assert_eq!(values("depth"), [7, 0, 0, 0]);
}
