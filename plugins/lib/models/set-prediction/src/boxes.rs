//! Box arithmetic: on tensors, and on single pairs of boxes.

use tch::Tensor;

/// Lower bound of areas used as denominators, so that values and gradients never contain 0 / 0. One
/// pixel of a 10000×10000 image has an area of 1e-8.
const SMALLEST_AREA: f32 = 1e-12;

/// `[…, 4]` cxcywh to `[…, 4]` xyxy, in the same units.
pub fn cxcywh_to_xyxy(boxes: &Tensor) -> Tensor {
    let center = boxes.narrow(-1, 0, 2);
    let half = boxes.narrow(-1, 2, 2) * 0.5;
    Tensor::cat(&[&center - &half, center + half], -1)
}

/// The corners and the area of a box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Corners {
    pub x: [f32; 2],
    pub y: [f32; 2],
    pub area: f32,
}

impl Corners {
    pub fn of([cx, cy, w, h]: [f32; 4]) -> Self {
        let (x, y) = ([cx - w * 0.5, cx + w * 0.5], [cy - h * 0.5, cy + h * 0.5]);
        Corners {
            x,
            y,
            area: (x[1] - x[0]) * (y[1] - y[0]),
        }
    }
}

/// Generalised intersection over union (Rezatofighi et al. 2019), in −1..1:
/// GIoU = I / U − (H − U) / H, with the areas I of the intersection, U of the union, and H of the
/// smallest enclosing box.
pub(crate) fn generalized_iou(a: &Corners, b: &Corners) -> f32 {
    let overlap = |a: [f32; 2], b: [f32; 2]| (a[1].min(b[1]) - a[0].max(b[0])).max(0.0);
    let extent = |a: [f32; 2], b: [f32; 2]| a[1].max(b[1]) - a[0].min(b[0]);
    let intersection = overlap(a.x, b.x) * overlap(a.y, b.y);
    let union = a.area + b.area - intersection;
    let hull = extent(a.x, b.x) * extent(a.y, b.y);
    intersection / union.max(SMALLEST_AREA) - (hull - union) / hull.max(SMALLEST_AREA)
}

/// The generalised intersection over union of two cxcywh boxes, and its gradient with respect to
/// `a`: dGIoU = dI / U − I / U² · dU + dU / H − U / H² · dH, with dU = dA − dI.
///
/// As in torch, coincident edges get half of the gradient each, and a denominator clamped to the
/// smallest area has no gradient.
pub(crate) fn generalized_iou_gradient(a: [f32; 4], b: [f32; 4]) -> (f32, [f32; 4]) {
    let (x, y) = (Axis::of(a[0], a[2], b[0], b[2]), Axis::of(a[1], a[3], b[1], b[3]));
    let intersection = x.overlap * y.overlap;
    let union = x.length * y.length + x.other_length * y.other_length - intersection;
    let hull = x.extent * y.extent;
    let (floored_union, floored_hull) = (union.max(SMALLEST_AREA), hull.max(SMALLEST_AREA));
    let value = intersection / floored_union - (hull - union) / floored_hull;

    let by_union_floor = if union >= SMALLEST_AREA {
        -intersection / (floored_union * floored_union)
    } else {
        0.0
    };
    let by_hull_floor = if hull >= SMALLEST_AREA {
        (hull - union) / (floored_hull * floored_hull)
    } else {
        0.0
    };
    let by_union = by_union_floor + 1.0 / floored_hull;
    let by_hull = by_hull_floor - 1.0 / floored_hull;
    let by_intersection = 1.0 / floored_union - by_union;

    // The derivative of an area by an edge is the length along the other axis.
    let edge = |along: &Axis, across: &Axis, side: usize| {
        by_intersection * along.d_overlap[side] * across.overlap
            + by_union * along.d_length[side] * across.length
            + by_hull * along.d_extent[side] * across.extent
    };
    let [x0, x1] = [edge(&x, &y, 0), edge(&x, &y, 1)];
    let [y0, y1] = [edge(&y, &x, 0), edge(&y, &x, 1)];
    // Edges are center ∓ size / 2.
    (value, [x0 + x1, y0 + y1, (x1 - x0) * 0.5, (y1 - y0) * 0.5])
}

/// Two intervals on one axis, with derivatives by the lower and the upper edge of the first.
struct Axis {
    length: f32,
    d_length: [f32; 2],
    other_length: f32,
    overlap: f32,
    d_overlap: [f32; 2],
    /// The length of the smallest interval that contains both.
    extent: f32,
    d_extent: [f32; 2],
}

impl Axis {
    fn of(center: f32, size: f32, other_center: f32, other_size: f32) -> Self {
        let [low, high] = [center - size * 0.5, center + size * 0.5];
        let [other_low, other_high] = [other_center - other_size * 0.5, other_center + other_size * 0.5];
        let overlap = high.min(other_high) - low.max(other_low);
        let touches = if overlap >= 0.0 { 1.0 } else { 0.0 };
        Axis {
            length: high - low,
            d_length: [-1.0, 1.0],
            other_length: other_high - other_low,
            overlap: overlap.max(0.0),
            d_overlap: [
                -touches * is_greater(low, other_low),
                touches * is_greater(other_high, high),
            ],
            extent: high.max(other_high) - low.min(other_low),
            d_extent: [-is_greater(other_low, low), is_greater(high, other_high)],
        }
    }
}

/// The derivative of max(a, b) with respect to a.
fn is_greater(a: f32, b: f32) -> f32 {
    if a > b {
        1.0
    } else if a == b {
        0.5
    } else {
        0.0
    }
}
