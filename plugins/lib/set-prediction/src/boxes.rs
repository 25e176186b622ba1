//! Boxes as tensors.

use tch::Tensor;

/// Below this an area counts as nothing; a pixel of a 10000×10000 picture has 1e-8. It keeps 0 / 0 out of values and gradients.
const SMALLEST_AREA: f64 = 1e-12;

/// `[…, 4]` cxcywh to `[…, 4]` xyxy, in the same units.
pub fn cxcywh_to_xyxy(boxes: &Tensor) -> Tensor {
    let center = boxes.narrow(-1, 0, 2);
    let half = boxes.narrow(-1, 2, 2) * 0.5;
    Tensor::cat(&[&center - &half, center + half], -1)
}

/// Generalised intersection over union of xyxy boxes (Rezatofighi et al. 2019), in −1..1: `a` and `b` are `[…, 4]` and
/// broadcast against each other, so `[N, 1, 4]` and `[1, M, 4]` give all pairs `[N, M]`, and two `[K, 4]` give `[K]`.
///
/// GIoU = |A ∩ B| / |A ∪ B| − (|H| − |A ∪ B|) / |H|, with H the smallest box around both.
pub fn generalized_iou(a: &Tensor, b: &Tensor) -> Tensor {
    let (a_min, a_max) = (a.narrow(-1, 0, 2), a.narrow(-1, 2, 2));
    let (b_min, b_max) = (b.narrow(-1, 0, 2), b.narrow(-1, 2, 2));
    let intersection = area(&(a_max.minimum(&b_max) - a_min.maximum(&b_min)).clamp_min(0.0));
    let union = area(&(&a_max - &a_min)) + area(&(&b_max - &b_min)) - &intersection;
    let hull = area(&(a_max.maximum(&b_max) - a_min.minimum(&b_min)));
    let iou = intersection / union.clamp_min(SMALLEST_AREA);
    iou - (&hull - union) / hull.clamp_min(SMALLEST_AREA)
}

/// `[…, 2]` width and height to `[…]` area.
fn area(size: &Tensor) -> Tensor {
    size.select(-1, 0) * size.select(-1, 1)
}
