use crate::interpolate;
use tch::{Device, Kind, Tensor};

fn waves(shape: &[i64], frequency: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Double, Device::Cpu)) * frequency)
        .sin()
        .to_kind(Kind::Float)
        .reshape(shape)
}

/// Result of torch's `interpolate(mode="bicubic", align_corners=False)` for the same 2×3 positions
/// and 3×5 patches.
#[rustfmt::skip]
const RECORDED: [f64; 30] = [
    1.1340831518, 0.5149707794, 0.4222187698, -0.2437701374, -0.5167079568, -1.0226686001, -0.7708013654, -0.4461442530,
    -0.7775409222, 0.1906981468, 0.9700578451, 0.8345869780, 0.5970001221, 0.1243251115, -0.0152009726, -0.7175329924,
    -0.6072553396, -0.6083885431, -0.9595687389, -0.3394699097, 0.8060327768, 1.1542031765, 0.7717815042, 0.4924202561,
    0.4863057733, -0.4123976529, -0.4437095225, -0.7706329823, -1.1415967941, -0.8696377277,
];

#[test]
fn interpolated_positions_match_torchs_bicubic_and_other_tokens_are_unchanged() {
    let stored = waves(&[1, 7, 2], 0.9);
    let last = Tensor::full([1, 3, 2], 9.0, (Kind::Float, Device::Cpu));
    let wanted = interpolate(&Tensor::cat(&[&stored, &last], 1), 1, (2, 3), (3, 5));
    assert_eq!(wanted.size(), [1, 1 + 15 + 3, 2]);
    assert_eq!(wanted.narrow(1, 0, 1), stored.narrow(1, 0, 1));
    assert_eq!(wanted.narrow(1, 16, 3), last);
    let patches = wanted.narrow(1, 1, 15).reshape([-1]).to_kind(Kind::Double);
    let off = (patches - Tensor::from_slice(&RECORDED))
        .abs()
        .max()
        .double_value(&[]);
    assert!(off < 1e-6, "{off}");
}

#[test]
fn positions_for_the_stored_size_are_unchanged() {
    let stored = waves(&[2, 7, 4], 0.3);
    assert_eq!(interpolate(&stored, 1, (2, 3), (2, 3)), stored);
    // The same number of patches in another arrangement is another size.
    let turned = interpolate(&stored, 1, (2, 3), (3, 2));
    assert_eq!(turned.size(), stored.size());
    assert_ne!(turned, stored);
}
