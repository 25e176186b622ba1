//! Connected components of a plane.

/// A connected component of a plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// The value of all its pixels.
    pub value: i64,
    /// Indices into the plane, row-major.
    pub pixels: Vec<usize>,
}

/// The connected components of equal value (4-connectivity) in a row-major plane, ordered by their
/// first pixels.
pub fn components(plane: &[i64], width: usize) -> Vec<Component> {
    let mut seen = vec![false; plane.len()];
    let mut found = Vec::new();
    for start in 0..plane.len() {
        let mut open = vec![start];
        let mut pixels = Vec::new();
        let value = plane.get(start).copied().unwrap_or_default();
        while let Some(at) = open.pop() {
            match seen.get_mut(at) {
                Some(seen) if !*seen && plane.get(at) == Some(&value) => *seen = true,
                _ => continue,
            }
            pixels.push(at);
            let x = at % width.max(1);
            open.extend([at.checked_sub(width), Some(at + width)].into_iter().flatten());
            open.extend((x > 0).then(|| at - 1));
            open.extend((x + 1 < width).then_some(at + 1));
        }
        if !pixels.is_empty() {
            found.push(Component { value, pixels });
        }
    }
    found
}

/// The bounding box (xyxy) of pixels of a plane; `None` if there are none.
pub fn bounds(pixels: impl IntoIterator<Item = usize>, width: usize) -> Option<[f64; 4]> {
    let points = pixels
        .into_iter()
        .map(|at| [(at % width.max(1)) as f64, (at / width.max(1)) as f64]);
    points
        .map(|[x, y]| [x, y, x + 1.0, y + 1.0])
        .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])
}
