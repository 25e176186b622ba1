//! Accuracy of keypoints: PCK (Yang and Ramanan 2013, "Articulated Human Detection with Flexible
//! Mixtures of Parts", section 6.1: a keypoint is correct within α of the person box's longer side)
//! and the object keypoint similarity of COCO's evaluation.

/// PCK's α.
pub const ALPHA: f64 = 0.1;

/// What a person contributes: for each keypoint whether it counts and whether it is correct, then
/// the similarity. `side` is the box's longer side and `area` its area, in pixels.
///
/// OKS = mean over the labelled keypoints of exp(-d² / (2 · area · k²)) with k = 2 · sigma.
pub fn compare(prediction: &[[f64; 3]], target: &[[f64; 3]], bounds: [f64; 4], sigmas: &[f64]) -> Vec<f64> {
    let [x1, y1, x2, y2] = bounds;
    let (side, area) = ((x2 - x1).max(y2 - y1), ((x2 - x1) * (y2 - y1)).max(f64::EPSILON));
    let mut row = Vec::new();
    let (mut similarity, mut labelled) = (0.0, 0.0);
    for ((p, t), sigma) in prediction.iter().zip(target).zip(sigmas) {
        let distance = (p[0] - t[0]).hypot(p[1] - t[1]);
        let counts = t[2] > 0.0;
        row.extend([counts, counts && distance <= ALPHA * side].map(|b| f64::from(u8::from(b))));
        if counts {
            labelled += 1.0;
            similarity += (-distance * distance / (2.0 * area * (2.0 * sigma).powi(2))).exp();
        }
    }
    row.extend([
        f64::from(u8::from(labelled > 0.0)),
        if labelled > 0.0 {
            similarity / labelled
        } else {
            0.0
        },
    ]);
    row
}
