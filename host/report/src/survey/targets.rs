//! Statistics of a record's targets, based only on their roles.

use cvhost_plugin_api::data::{Fields, Role};

/// How far targets may extend beyond the image, in pixels, before they are reported: annotation
/// tools round.
const ROUNDING: f64 = 1.0;

/// The number of objects in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objects {
    Count(u64),
    /// The targets are not a list of objects, but for example a map or a text.
    Uncounted,
}

/// Counts the objects of a record: the rows of its per-instance fields or, without any, the classes
/// in its distribution.
pub fn objects(fields: &Fields) -> Objects {
    let mut rows = fields.items.iter().filter(|f| f.role.per_instance());
    if let Some(field) = rows.next() {
        return Objects::Count(field.array.dims().first().copied().unwrap_or(0));
    }
    let distribution = fields.items.iter().find(|f| f.role == Role::DISTRIBUTION);
    match distribution.and_then(|f| f.array.to_f64().ok()) {
        Some(fractions) => Objects::Count(fractions.iter().filter(|s| **s > 0.0).count() as u64),
        None => Objects::Uncounted,
    }
}

/// All boxes, as xyxy in pixels of the image.
pub fn boxes(fields: &Fields) -> Vec<[f64; 4]> {
    let boxes = fields.items.iter().filter(|f| f.role == Role::BOXES);
    boxes
        .flat_map(|f| f.array.to_rows::<4>().unwrap_or_default())
        .collect()
}

/// A target that doesn't fit its image, by severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Can't be used as a target.
    Wrong(String),
    /// Extends beyond the image.
    Outside(String),
}

/// Finds targets that don't fit an image of `width` × `height` pixels: boxes, polygons and
/// keypoints that are not finite, have no area or lie outside, and masks and maps with a different
/// size.
pub fn misfits(fields: &Fields, width: u32, height: u32) -> Vec<Misfit> {
    let mut all = Vec::new();
    let size = (f64::from(width), f64::from(height));
    for field in &fields.items {
        let array = &field.array;
        match field.role {
            Role::BOXES => {
                let rows = array.to_rows::<4>().unwrap_or_default();
                all.extend(
                    rows.iter()
                        .enumerate()
                        .filter_map(|(i, row)| box_misfit(i, *row, size)),
                );
            }
            Role::POLYGONS => all.extend(points_misfit(
                "polygon points",
                array
                    .to_rows::<4>()
                    .unwrap_or_default()
                    .iter()
                    .map(|[_, _, x, y]| [*x, *y]),
                size,
            )),
            Role::KEYPOINTS => {
                let values = array.to_f64().unwrap_or_default();
                let seen = values.chunks_exact(3).filter_map(|p| match *p {
                    [x, y, visible] if visible > 0.0 => Some([x, y]),
                    _ => None,
                });
                all.extend(points_misfit("keypoints", seen, size));
            }
            Role::MASKS | Role::LABEL_MAP | Role::DENSE_MAP => {
                let side = |back: usize| array.dims().iter().rev().nth(back).copied().unwrap_or(0);
                let found = (side(0), side(1));
                if found != (u64::from(width), u64::from(height)) && array.count() > 0 {
                    all.push(Misfit::Wrong(format!(
                        "`{}` ({:?}) has {}x{} pixels, but the image has {width}x{height}",
                        field.name, field.role, found.0, found.1
                    )));
                }
            }
            _ => {}
        }
    }
    all
}

fn box_misfit(index: usize, [x1, y1, x2, y2]: [f64; 4], (width, height): (f64, f64)) -> Option<Misfit> {
    let numbers = [x1, y1, x2, y2];
    let named = |what: &str| format!("box {index} [{x1:.1}, {y1:.1}, {x2:.1}, {y2:.1}] (xyxy) {what}");
    if !numbers.iter().all(|v| v.is_finite()) {
        Some(Misfit::Wrong(named("is not finite")))
    } else if x2 <= x1 || y2 <= y1 {
        Some(Misfit::Wrong(named("has no area")))
    } else if x1 >= width || y1 >= height || x2 <= 0.0 || y2 <= 0.0 {
        Some(Misfit::Wrong(named(&format!(
            "lies outside the image of {width}x{height}"
        ))))
    } else if x1 < -ROUNDING || y1 < -ROUNDING || x2 > width + ROUNDING || y2 > height + ROUNDING {
        Some(Misfit::Outside(named(&format!(
            "extends beyond the image of {width}x{height}"
        ))))
    } else {
        None
    }
}

fn points_misfit(
    what: &str,
    points: impl Iterator<Item = [f64; 2]>,
    (width, height): (f64, f64),
) -> Vec<Misfit> {
    let (mut wrong, mut outside) = (0, 0);
    for [x, y] in points {
        let inside = |v: f64, side: f64| (-ROUNDING..=side + ROUNDING).contains(&v);
        if !x.is_finite() || !y.is_finite() {
            wrong += 1;
        } else if !inside(x, width) || !inside(y, height) {
            outside += 1;
        }
    }
    let mut all = Vec::new();
    if wrong > 0 {
        all.push(Misfit::Wrong(format!("{wrong} {what} are not finite")));
    }
    if outside > 0 {
        all.push(Misfit::Outside(format!(
            "{outside} {what} lie outside the image of {width}x{height}"
        )));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::Array;

    #[test]
    fn objects_are_counted_by_rows_or_by_classes_in_the_distribution() {
        let boxes = Fields::new()
            .with("maps", Role::LABEL_MAP, Array::rows(&[[1u8]]))
            .with(
                "boxes",
                Role::BOXES,
                Array::rows(&[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]]),
            );
        assert_eq!(objects(&boxes), Objects::Count(2));
        let classes =
            |fractions: &[f32]| Fields::new().with("c", Role::DISTRIBUTION, Array::vector(fractions));
        assert_eq!(objects(&classes(&[0.0, 1.0, 1.0])), Objects::Count(2));
        assert_eq!(objects(&classes(&[0.0, 0.0])), Objects::Count(0));
        let map = Fields::new().with("maps", Role::DENSE_MAP, Array::rows(&[[1f32]]));
        assert_eq!(objects(&map), Objects::Uncounted);
    }

    #[test]
    fn every_role_with_geometry_is_compared_with_the_image() {
        let wrong = |fields: Fields| -> Vec<bool> {
            let found = misfits(&fields, 40, 30);
            found.iter().map(|m| matches!(m, Misfit::Wrong(_))).collect()
        };
        let boxes = |rows: &[[f64; 4]]| Fields::new().with("b", Role::BOXES, Array::rows(rows));
        assert!(wrong(boxes(&[[0.0, 0.0, 40.0, 30.5]])).is_empty());
        assert_eq!(
            wrong(boxes(&[
                [f64::NAN, 0.0, 1.0, 1.0],
                [5.0, 5.0, 5.0, 9.0],
                [41.0, 0.0, 50.0, 9.0],
                [30.0, 0.0, 50.0, 9.0],
            ])),
            [true, true, true, false]
        );
        let polygon = |x: f64| Fields::new().with("p", Role::POLYGONS, Array::rows(&[[0.0, 0.0, x, 3.0]]));
        assert_eq!(wrong(polygon(f64::INFINITY)), [true]);
        assert_eq!(wrong(polygon(60.0)), [false]);
        let point = |x: f64, visible: f64| {
            let array = Array::new(&[1, 1, 3], &[x, 3.0, visible]).unwrap();
            Fields::new().with("k", Role::KEYPOINTS, array)
        };
        assert_eq!(wrong(point(60.0, 2.0)), [false]);
        assert!(wrong(point(60.0, 0.0)).is_empty());
        let mask = |height, width| {
            let array = Array::new(&[1, height, width], &vec![0u8; (height * width) as usize]).unwrap();
            Fields::new().with("m", Role::MASKS, array)
        };
        assert!(wrong(mask(30, 40)).is_empty());
        assert_eq!(wrong(mask(40, 30)), [true]);
    }
}
