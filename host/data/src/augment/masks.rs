//! Geometric transformation of masks. Only the area around each instance is processed.

use super::filter::Remainder;
use super::map::Map;
use super::{polygons, warp};

/// Transforms masks; returns the flattened masks `[N, H', W']`, the bounding box (xyxy) of each,
/// and the remainder of each. `values` are `[N, H, W]`, 0 or 1, of the map's source size.
pub fn moved(values: &[u8], count: usize, map: &Map) -> (Vec<u8>, Vec<Option<[f64; 4]>>, Vec<Remainder>) {
    let size = |sides: [u32; 2]| sides[0] as usize * sides[1] as usize;
    let (from_width, width) = (map.from[0] as usize, map.to[0] as usize);
    let mut result = vec![0u8; count * size(map.to)];
    let mut all_bounds = Vec::with_capacity(count);
    let mut remainders = Vec::with_capacity(count);
    let planes = values.chunks_exact(size(map.from).max(1));
    for (plane, target) in planes.zip(result.chunks_exact_mut(size(map.to).max(1))) {
        let Some(before) = bounds(plane, from_width) else {
            all_bounds.push(None);
            remainders.push(Remainder::ALL);
            continue;
        };
        let part = reach(before, map);
        warp::plane_onto(target, plane, map, part);
        let after = bounds_in(target, width, part);
        remainders.push(remainder_of(plane, before, target, after, map));
        all_bounds.push(after.map(|b| b.map(f64::from)));
    }
    (result, all_bounds, remainders)
}

/// The area of the new image's window that an area of the old image may map to.
fn reach([x1, y1, x2, y2]: [u32; 4], map: &Map) -> [u32; 4] {
    let corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]].map(|c| c.map(f64::from));
    if corners.iter().any(|c| map.forward.point(*c).is_none()) {
        return map.window;
    }
    let [left, top, right, bottom] = map.window;
    let around = polygons::bounds_of(polygons::moved_ring(corners.to_vec(), map)).unwrap_or_default();
    // The pixels whose centres may come from there, plus one for rounding.
    let low = |v: f64, from: u32, to: u32| ((v - 1.0).floor().max(0.0) as u32).clamp(from, to);
    let high = |v: f64, from: u32, to: u32| ((v + 1.0).ceil().max(0.0) as u32).clamp(from, to);
    [
        low(around[0], left, right),
        low(around[1], top, bottom),
        high(around[2], left, right),
        high(around[3], top, bottom),
    ]
}

fn remainder_of(
    plane: &[u8],
    before: [u32; 4],
    target: &[u8],
    after: Option<[u32; 4]>,
    map: &Map,
) -> Remainder {
    let count = |plane: &[u8], width: u32, b: [u32; 4]| {
        let rows = part_rows(plane, width as usize, b);
        rows.map(|(_, row)| row.iter().filter(|v| **v != 0).count())
            .sum::<usize>() as f64
    };
    let area = count(plane, map.from[0], before);
    let Some(after) = after else {
        return Remainder {
            before: area,
            ..Remainder::NOTHING
        };
    };
    let [x1, y1, x2, y2] = before.map(f64::from);
    let shown = |p: [f64; 2]| map.forward.point(p).is_some_and(|p| map.shows(p));
    let fraction = if !map.clips || [[x1, y1], [x2, y1], [x1, y2], [x2, y2]].into_iter().all(shown) {
        1.0
    } else {
        let mut inside = 0usize;
        for (y, row) in part_rows(plane, map.from[0] as usize, before) {
            let centres = (before[0]..).zip(row).filter(|(_, v)| **v != 0);
            inside += centres
                .filter(|(x, _)| shown([f64::from(*x) + 0.5, y as f64 + 0.5]))
                .count();
        }
        inside as f64 / area
    };
    Remainder {
        before: area,
        after: count(target, map.to[0], after),
        fraction,
    }
}

/// The rows of a rectangle of a plane, with their indices.
fn part_rows(
    plane: &[u8],
    width: usize,
    [left, top, right, bottom]: [u32; 4],
) -> impl Iterator<Item = (usize, &[u8])> {
    (top as usize..bottom as usize).filter_map(move |y| {
        let row = plane.get(y * width + left as usize..y * width + right as usize)?;
        Some((y, row))
    })
}

/// The bounding box (xyxy) of a mask's pixels; `None` for an empty mask.
pub fn bounds(plane: &[u8], width: usize) -> Option<[u32; 4]> {
    let height = plane.len() / width.max(1);
    bounds_in(plane, width, [0, 0, width as u32, height as u32])
}

fn bounds_in(plane: &[u8], width: usize, part: [u32; 4]) -> Option<[u32; 4]> {
    let mut bounds: Option<[usize; 4]> = None;
    for (y, row) in part_rows(plane, width, part) {
        // Most rows are empty, which a vectorized OR detects quickly.
        if row.iter().fold(0, |a, b| a | b) == 0 {
            continue;
        }
        if let (Some(first), Some(last)) = (
            row.iter().position(|&v| v != 0),
            row.iter().rposition(|&v| v != 0),
        ) {
            let [x1, y1, x2, _] = bounds.unwrap_or([first, y, last + 1, y]);
            bounds = Some([x1.min(first), y1, x2.max(last + 1), y + 1]);
        }
    }
    bounds.map(|[x1, y1, x2, y2]| [x1 as u32 + part[0], y1 as u32, x2 as u32 + part[0], y2 as u32])
}
