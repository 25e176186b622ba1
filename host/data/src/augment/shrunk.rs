//! Scales targets to an image that was decoded at a reduced size.

use super::filter::Filter;
use super::map::Map;
use super::matrix::Matrix;
use super::targets::transform;
use cvhost::error::Result;
use cvhost_plugin_api::data::Fields;

/// Scales the fields of an image from size `from` (width and height in pixels) to size `to`. All
/// instances are retained.
pub fn shrunk(fields: &Fields, from: [u32; 2], to: [u32; 2]) -> Result<Fields> {
    let scale = [0, 1].map(|side| f64::from(to[side]) / f64::from(from[side].max(1)));
    let map = Map::new(
        Matrix::scale_translate(scale, [0.0, 0.0]),
        from,
        to,
        [0, 0, to[0], to[1]],
    );
    let all = Filter {
        min_area: 0.0,
        min_visibility: 0.0,
    };
    transform(fields, &map, &all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};

    #[test]
    fn all_fields_are_scaled_and_all_instances_retained() {
        let mut map = vec![7i64; 8 * 4];
        map[0] = 3;
        let fields = Fields::new()
            .with(
                "boxes",
                Role::BOXES,
                Array::rows(&[[2.0, 2.0, 6.0, 4.0], [0.0, 0.0, 0.5, 0.5]]),
            )
            .with(
                "points",
                Role::KEYPOINTS,
                Array::new(&[2, 1, 3], &[4.0, 2.0, 2.0, 8.0, 4.0, 1.0]).unwrap(),
            )
            .with("map", Role::LABEL_MAP, Array::new(&[4, 8], &map).unwrap())
            .with("names", Role::COLUMN, Array::vector(&[5i64, 6]));
        let small = shrunk(&fields, [8, 4], [4, 2]).unwrap();
        assert_eq!(
            small.require("boxes").unwrap().to_rows::<4>().unwrap(),
            [[1.0, 1.0, 3.0, 2.0], [0.0, 0.0, 0.25, 0.25]]
        );
        assert_eq!(
            small.require("points").unwrap().to_f64().unwrap(),
            [2.0, 1.0, 2.0, 4.0, 2.0, 1.0]
        );
        assert_eq!(small.require("map").unwrap().dims(), [2, 4]);
        assert_eq!(small.require("names").unwrap(), fields.require("names").unwrap());
    }
}
