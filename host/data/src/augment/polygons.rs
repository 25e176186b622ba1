//! Polygons as rows of (instance, ring, x, y).

/// Clips every ring to the rectangle from (0, 0) to (`width`, `height`) by Sutherland and Hodgman's algorithm. Rings of which
/// less than a triangle is left vanish. Rows of one ring stand together and stay so.
pub fn clip(rows: &[[f64; 4]], width: f64, height: f64) -> Vec<[f64; 4]> {
    let mut clipped = Vec::with_capacity(rows.len());
    for ring in rings(rows) {
        let Some(&[instance, number, ..]) = ring.first() else {
            continue;
        };
        let mut points: Vec<[f64; 2]> = ring.iter().map(|&[_, _, x, y]| [x, y]).collect();
        // Each side: which coordinate, its bound, and on which side of it the picture lies.
        for (axis, bound, sign) in [(0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)] {
            points = clip_side(&points, axis, bound, sign);
        }
        if points.len() >= 3 {
            clipped.extend(points.into_iter().map(|[x, y]| [instance, number, x, y]));
        }
    }
    clipped
}

/// The part of a closed ring where `sign * (coordinate - bound)` isn't negative.
fn clip_side(points: &[[f64; 2]], axis: usize, bound: f64, sign: f64) -> Vec<[f64; 2]> {
    let depth = |p: &[f64; 2]| sign * (p.get(axis).copied().unwrap_or(0.0) - bound);
    let mut kept = Vec::with_capacity(points.len() + 2);
    let Some(mut previous) = points.last() else {
        return kept;
    };
    for point in points {
        let (before, here) = (depth(previous), depth(point));
        if (before < 0.0) != (here < 0.0) {
            let part = before / (before - here);
            kept.push([
                previous[0] + (point[0] - previous[0]) * part,
                previous[1] + (point[1] - previous[1]) * part,
            ]);
        }
        if here >= 0.0 {
            kept.push(*point);
        }
        previous = point;
    }
    kept
}

/// The rows of each ring.
fn rings(rows: &[[f64; 4]]) -> impl Iterator<Item = &[[f64; 4]]> {
    rows.chunk_by(|a, b| a[0] == b[0] && a[1] == b[1])
}

/// The area of each of `count` instances: the sum of its rings' areas (shoelace formula).
pub fn areas(rows: &[[f64; 4]], count: usize) -> Vec<f64> {
    let mut areas = vec![0.0; count];
    for ring in rings(rows) {
        let next = ring.iter().cycle().skip(1);
        let twice: f64 = ring
            .iter()
            .zip(next)
            .map(|(a, b)| a[2] * b[3] - b[2] * a[3])
            .sum();
        if let Some(area) = ring.first().and_then(|row| areas.get_mut(row[0] as usize)) {
            *area += twice.abs() / 2.0;
        }
    }
    areas
}

/// The bounding box xyxy of each of `count` instances; `None` without points.
pub fn bounds(rows: &[[f64; 4]], count: usize) -> Vec<Option<[f64; 4]>> {
    let mut bounds: Vec<Option<[f64; 4]>> = vec![None; count];
    for &[instance, _, x, y] in rows {
        if let Some(slot) = bounds.get_mut(instance as usize) {
            let [x1, y1, x2, y2] = slot.unwrap_or([x, y, x, y]);
            *slot = Some([x1.min(x), y1.min(y), x2.max(x), y2.max(y)]);
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_over_the_corner_is_cut_to_the_part_inside() {
        let square = [
            [0., 0., -5., -5.],
            [0., 0., 5., -5.],
            [0., 0., 5., 5.],
            [0., 0., -5., 5.],
        ];
        assert_eq!(areas(&square, 1), [100.0]);
        let clipped = clip(&square, 20.0, 20.0);
        assert_eq!(areas(&clipped, 1), [25.0]);
        assert_eq!(bounds(&clipped, 2), [Some([0., 0., 5., 5.]), None]);
    }

    #[test]
    fn a_ring_outside_vanishes_and_one_inside_stays_as_it_is() {
        let outside = [[0., 0., 30., 1.], [0., 0., 40., 1.], [0., 0., 40., 9.]];
        let inside = [[1., 0., 3., 1.], [1., 0., 4., 1.], [1., 0., 4., 9.]];
        assert_eq!(clip(&[outside, inside].concat(), 20.0, 20.0), inside);
    }
}
