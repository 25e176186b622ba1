use crate::boxes::{Corners, generalized_iou, generalized_iou_gradient};
use crate::cxcywh_to_xyxy;
use crate::tests::numbers;
use tch::Tensor;

#[test]
fn tensors_convert_to_corners() {
    let xyxy: Vec<f32> = numbers(&cxcywh_to_xyxy(&Tensor::from_slice(&[0.5f32, 0.5, 0.2, 0.4])));
    assert!(
        xyxy.iter()
            .zip([0.4, 0.3, 0.6, 0.7])
            .all(|(a, b)| (a - b).abs() < 1e-6)
    );
}

/// Recorded from transformers' `generalized_box_iou`: overlapping, disjoint, nested, identical and
/// touching boxes.
#[test]
fn generalized_iou_and_its_gradient_match_the_reference() {
    type Case = ([f32; 4], [f32; 4], f32, [f32; 4]);
    let recorded: [Case; 6] = [
        (
            [0.5, 0.5, 0.4, 0.4],
            [0.6, 0.55, 0.3, 0.5],
            0.4095237,
            [3.108088, 1.256463, 0.350718, 0.8887755],
        ),
        (
            [0.2, 0.2, 0.1, 0.3],
            [0.7, 0.8, 0.2, 0.1],
            -0.9038461,
            [0.147929, 0.1201923, 0.5029587, 0.1322115],
        ),
        (
            [0.5, 0.5, 0.8, 0.6],
            [0.45, 0.55, 0.2, 0.1],
            0.04166668,
            [0.0, 0.0, -0.05208337, -0.06944454],
        ),
        ([0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 0.25, 0.5], 1.0, [0.0; 4]),
        (
            [0.5, 0.5, 0.5, 0.25],
            [0.5, 0.75, 0.25, 0.25],
            -0.25,
            [0.0, 1.833333, -0.5, 1.416667],
        ),
        (
            [0.3, 0.6, 0.2, 0.2],
            [0.3, 0.1, 0.4, 0.1],
            -0.6923077,
            [0.0, -0.4733728, 0.769231, 0.5325443],
        ),
    ];
    for (a, b, value, gradient) in recorded {
        let (ours, d_ours) = generalized_iou_gradient(a, b);
        assert!((ours - value).abs() < 1e-6, "{a:?} and {b:?}: {ours}");
        assert!((generalized_iou(&Corners::of(a), &Corners::of(b)) - ours).abs() < 1e-6);
        let off = d_ours
            .iter()
            .zip(gradient)
            .map(|(ours, theirs)| (ours - theirs).abs());
        assert!(off.fold(0.0, f32::max) < 1e-5, "{a:?} and {b:?}: {d_ours:?}");
    }
}

#[test]
fn boxes_without_area_have_finite_values_and_gradients() {
    for (a, b) in [
        ([1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
        ([0.2, 0.2, 0.0, 0.0], [0.7, 0.7, 0.0, 0.0]),
    ] {
        let (value, gradient) = generalized_iou_gradient(a, b);
        assert!(
            value.is_finite() && gradient.iter().all(|g| g.is_finite()),
            "{value} {gradient:?}"
        );
    }
}
