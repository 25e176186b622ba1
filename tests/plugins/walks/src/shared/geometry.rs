//! Boxes, and interpolation between pixels.

use cvhost_plugin_api::data::Image;

fn area([x1, y1, x2, y2]: [f64; 4]) -> f64 {
    (x2 - x1).max(0.0) * (y2 - y1).max(0.0)
}

/// Intersection over union of two xyxy boxes; 0 if both are empty.
pub fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let either = area(a) + area(b) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

/// The colour at a point, interpolated bilinearly; (0, 0) is the corner of the first pixel. Outside
/// the image it is the nearest pixel's colour.
pub fn colour_at(image: &Image, [x, y]: [f64; 2]) -> [f32; 3] {
    let clamp = |at: f64, side: u32| (at - 0.5).clamp(0.0, f64::from(side.max(1) - 1));
    let (x, y) = (clamp(x, image.width), clamp(y, image.height));
    let (left, top) = (x.floor() as u32, y.floor() as u32);
    let (right, bottom) = (
        (left + 1).min(image.width.max(1) - 1),
        (top + 1).min(image.height.max(1) - 1),
    );
    let (part_x, part_y) = ((x - f64::from(left)) as f32, (y - f64::from(top)) as f32);
    let corners = [(left, top), (right, top), (left, bottom), (right, bottom)]
        .map(|(x, y)| image.pixel(x, y).unwrap_or_default().map(f32::from));
    std::array::from_fn(|c| {
        let [a, b, d, e] = corners.map(|corner| corner.get(c).copied().unwrap_or(0.0));
        let (upper, lower) = (a + (b - a) * part_x, d + (e - d) * part_x);
        upper + (lower - upper) * part_y
    })
}
