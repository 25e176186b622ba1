//! Polygons as rows of (instance, ring, x, y).

use super::map::Map;
use super::matrix::HORIZON;

/// Transforms the rings of polygons by `map`; returns the whole rings and their visible parts in
/// the map's window. Rings with fewer than three visible points are dropped. The rows of each ring
/// are contiguous, and remain so.
pub fn moved(rows: &[[f64; 4]], map: &Map) -> (Vec<[f64; 4]>, Vec<[f64; 4]>) {
    let mut whole = Vec::with_capacity(rows.len());
    let mut visible = Vec::with_capacity(rows.len());
    for ring in rings(rows) {
        let Some(&[instance, number, ..]) = ring.first() else {
            continue;
        };
        let named = |[x, y]: [f64; 2]| [instance, number, x, y];
        let points = moved_ring(ring.iter().map(|&[_, _, x, y]| [x, y]).collect(), map);
        if map.clips {
            let clipped = clip(&points, map);
            if clipped.len() >= 3 {
                visible.extend(clipped.into_iter().map(named));
            }
        }
        whole.extend(points.into_iter().map(named));
    }
    if !map.clips {
        visible.clone_from(&whole);
    }
    (whole, visible)
}

/// Transforms a closed ring by `map`, after clipping it at the horizon.
pub fn moved_ring(points: Vec<[f64; 2]>, map: &Map) -> Vec<[f64; 2]> {
    let moved: Option<Vec<[f64; 2]>> = points.iter().map(|p| map.forward.point(*p)).collect();
    moved.unwrap_or_else(|| {
        let depth = |p: [f64; 2]| map.forward.weighted(p)[2] - 2.0 * HORIZON;
        let before = clip_side(&points, depth);
        before.into_iter().filter_map(|p| map.forward.point(p)).collect()
    })
}

/// Clips a closed ring to the map's window with the Sutherland-Hodgman algorithm.
pub fn clip(points: &[[f64; 2]], map: &Map) -> Vec<[f64; 2]> {
    let [left, top, right, bottom] = map.window.map(f64::from);
    if points.iter().all(|p| map.shows(*p)) {
        return points.to_vec();
    }
    let points = clip_side(points, |[x, _]| x - left);
    let points = clip_side(&points, |[x, _]| right - x);
    let points = clip_side(&points, |[_, y]| y - top);
    let mut points = clip_side(&points, |[_, y]| bottom - y);
    // Rounding may leave intersection points slightly outside of the window.
    for [x, y] in &mut points {
        (*x, *y) = (x.clamp(left, right), y.clamp(top, bottom));
    }
    points
}

/// Clips a closed ring to the half-plane where `depth`, which is linear in x and y, isn't negative.
fn clip_side(points: &[[f64; 2]], depth: impl Fn([f64; 2]) -> f64) -> Vec<[f64; 2]> {
    let mut clipped = Vec::with_capacity(points.len() + 2);
    let Some(mut previous) = points.last() else {
        return clipped;
    };
    for point in points {
        let (before, here) = (depth(*previous), depth(*point));
        if (before < 0.0) != (here < 0.0) {
            let fraction = before / (before - here);
            clipped.push([
                previous[0] + (point[0] - previous[0]) * fraction,
                previous[1] + (point[1] - previous[1]) * fraction,
            ]);
        }
        if here >= 0.0 {
            clipped.push(*point);
        }
        previous = point;
    }
    clipped
}

/// Splits rows into rings.
pub fn rings(rows: &[[f64; 4]]) -> impl Iterator<Item = &[[f64; 4]]> {
    rows.chunk_by(|a, b| a[0] == b[0] && a[1] == b[1])
}

/// The area of a closed ring (shoelace formula).
pub fn area(points: &[[f64; 2]]) -> f64 {
    let next = points.iter().cycle().skip(1);
    let twice: f64 = points
        .iter()
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum();
    twice.abs() / 2.0
}

/// The area of each of `count` instances: the sum of its rings' areas.
pub fn areas(rows: &[[f64; 4]], count: usize) -> Vec<f64> {
    let mut areas = vec![0.0; count];
    for ring in rings(rows) {
        let points: Vec<[f64; 2]> = ring.iter().map(|&[_, _, x, y]| [x, y]).collect();
        if let Some(sum) = ring.first().and_then(|row| areas.get_mut(row[0] as usize)) {
            *sum += area(&points);
        }
    }
    areas
}

/// The bounding box (xyxy) of points; `None` if there are none.
pub fn bounds_of(points: impl IntoIterator<Item = [f64; 2]>) -> Option<[f64; 4]> {
    let mut bounds: Option<[f64; 4]> = None;
    for [x, y] in points {
        let [x1, y1, x2, y2] = bounds.unwrap_or([x, y, x, y]);
        bounds = Some([x1.min(x), y1.min(y), x2.max(x), y2.max(y)]);
    }
    bounds
}

/// The bounding box (xyxy) of each of `count` instances; `None` for those without points.
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

/// Rasterizes an instance by the even-odd rule: sets the pixels of a row-major plane of width
/// `width` whose centres are inside an odd number of its rings.
pub fn draw(rows: &[[f64; 4]], instance: usize, plane: &mut [u8], width: usize) {
    let mut rings: Vec<Vec<[f64; 2]>> = Vec::new();
    for ring in self::rings(rows).filter(|r| r.first().is_some_and(|row| row[0] == instance as f64)) {
        rings.push(ring.iter().map(|&[_, _, x, y]| [x, y]).collect());
    }
    let Some([_, top, _, bottom]) = bounds_of(rings.iter().flatten().copied()) else {
        return;
    };
    for (y, row) in plane.chunks_exact_mut(width.max(1)).enumerate() {
        let level = y as f64 + 0.5;
        if level < top || level > bottom {
            continue;
        }
        let mut crossings: Vec<f64> = Vec::new();
        for ring in &rings {
            for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                if (a[1] <= level) != (b[1] <= level) {
                    crossings.push(a[0] + (b[0] - a[0]) * (level - a[1]) / (b[1] - a[1]));
                }
            }
        }
        crossings.sort_unstable_by(f64::total_cmp);
        for &[from, to] in crossings.as_chunks::<2>().0 {
            let end = |at: f64| (at - 0.5).ceil().clamp(0.0, width as f64) as usize;
            row.get_mut(end(from)..end(to)).unwrap_or_default().fill(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::matrix::Matrix;

    fn still() -> Map {
        Map::new(Matrix::IDENTITY, [40, 40], [20, 20], [0, 0, 20, 20])
    }

    #[test]
    fn a_square_over_the_corner_is_clipped() {
        let square = [
            [0., 0., -5., -5.],
            [0., 0., 5., -5.],
            [0., 0., 5., 5.],
            [0., 0., -5., 5.],
        ];
        assert_eq!(areas(&square, 1), [100.0]);
        let (whole, visible) = moved(&square, &still());
        assert_eq!(whole, square);
        assert_eq!(areas(&visible, 1), [25.0]);
        assert_eq!(bounds(&visible, 2), [Some([0., 0., 5., 5.]), None]);
    }

    #[test]
    fn a_ring_outside_is_dropped_and_one_inside_is_unchanged() {
        let outside = [[0., 0., 30., 1.], [0., 0., 40., 1.], [0., 0., 40., 9.]];
        let inside = [[1., 0., 3., 1.], [1., 0., 4., 1.], [1., 0., 4., 9.]];
        assert_eq!(moved(&[outside, inside].concat(), &still()).1, inside);
    }

    #[test]
    fn a_ring_across_the_horizon_is_clipped_there_and_fills_the_window() {
        // Everything right of x = 100 is behind the horizon.
        let tilted =
            Matrix::to_quad([50.0, 40.0], [[0., 0.], [100., -40.], [100., 80.], [0., 40.]]).inverse();
        let map = Map::new(tilted.inverse(), [300, 40], [50, 40], [0, 0, 50, 40]);
        assert!(map.forward.point([200.0, 20.0]).is_none(), "{:?}", map.forward);
        let ring = [
            [0., 0., 1., 1.],
            [0., 0., 200., 1.],
            [0., 0., 200., 39.],
            [0., 0., 1., 39.],
        ];
        let (whole, visible) = moved(&ring, &map);
        assert!(whole.iter().flatten().all(|v| v.is_finite()));
        let [x1, _, x2, _] = bounds(&visible, 1)[0].unwrap();
        assert!(x1 < 5.0 && x2 == 50.0, "{visible:?}");
    }

    #[test]
    fn pixels_with_centres_inside_are_drawn_except_in_holes() {
        let ring = |number: f64, [x1, y1, x2, y2]: [f64; 4]| {
            [[x1, y1], [x2, y1], [x2, y2], [x1, y2]].map(|[x, y]| [0.0, number, x, y])
        };
        let rows = [ring(0.0, [1.0, 1.0, 6.4, 5.0]), ring(1.0, [3.0, 2.0, 5.0, 4.0])].concat();
        let mut plane = vec![0u8; 8 * 6];
        draw(&rows, 0, &mut plane, 8);
        let lines: Vec<String> = plane
            .chunks(8)
            .map(|row| row.iter().map(|v| if *v == 1 { '#' } else { '.' }).collect())
            .collect();
        assert_eq!(
            lines,
            [
                "........", ".#####..", ".##..#..", ".##..#..", ".#####..", "........"
            ]
        );
        let mut other = vec![0u8; 8 * 6];
        draw(&rows, 1, &mut other, 8);
        assert!(other.iter().all(|v| *v == 0));
    }
}
