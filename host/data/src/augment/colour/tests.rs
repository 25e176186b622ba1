use super::*;
use proptest::prelude::*;

/// A reference implementation in f64 that applies the steps one by one to each pixel.
fn reference(steps: &[Step], pixels: &mut [[u8; 3]]) {
    for step in steps {
        let greys: f64 = pixels.iter().map(|p| f64::from(reference_grey(*p))).sum();
        let mean = (greys / pixels.len().max(1) as f64).round();
        for pixel in &mut *pixels {
            let grey = f64::from(reference_grey(*pixel));
            *pixel = match *step {
                Step::Tone { gain, offset } => pixel.map(|v| byte(f64::from(v) * gain + offset)),
                Step::Contrast(factor) => pixel.map(|v| byte(f64::from(v) * factor + (1.0 - factor) * mean)),
                Step::Saturation(factor) => {
                    pixel.map(|v| byte(f64::from(v) * factor + (1.0 - factor) * grey))
                }
                Step::Hsv {
                    hue,
                    saturation,
                    value,
                } => reference_hsv(*pixel, hue, saturation, value),
            };
        }
    }
}

fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn reference_grey([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

fn reference_hsv(rgb: [u8; 3], hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    let [r, g, b] = rgb.map(|v| f64::from(v) / 255.0);
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let range = max - min;
    let new_max = (max + value).clamp(0.0, 1.0);
    if range <= 0.0 {
        return [byte(new_max * 255.0); 3];
    }
    let sixth = if max == r {
        (g - b) / range
    } else if max == g {
        (b - r) / range + 2.0
    } else {
        (r - g) / range + 4.0
    };
    let sixth = (sixth + hue / 60.0).rem_euclid(6.0);
    let new_range = (range / max + saturation).clamp(0.0, 1.0) * new_max;
    [5.0, 3.0, 1.0].map(|k: f64| {
        let k = (k + sixth).rem_euclid(6.0);
        byte(255.0 * (new_max - new_range * k.min(4.0 - k).clamp(0.0, 1.0)))
    })
}

fn one(step: Step, rgb: [u8; 3]) -> [u8; 3] {
    let mut pixels = [rgb];
    apply(&[step], &mut pixels);
    pixels[0]
}

fn hsv(hue: f64, saturation: f64, value: f64) -> Step {
    Step::Hsv {
        hue,
        saturation,
        value,
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0.0..3.0, -100.0..100.0).prop_map(|(gain, offset)| Step::Tone { gain, offset }),
        (-180.0..180.0, -1.0..1.0, -1.0..1.0).prop_map(|(h, s, v)| hsv(h, s, v)),
        (0.0..3.0).prop_map(Step::Contrast),
        (0.0..3.0).prop_map(Step::Saturation),
    ]
}

proptest! {
    #[test]
    fn each_step_is_within_one_of_the_reference(
        step in any_step(),
        pixels in prop::collection::vec(prop::array::uniform3(any::<u8>()), 1..200),
    ) {
        let (mut fast, mut expected) = (pixels.clone(), pixels.clone());
        apply(&[step], &mut fast);
        reference(&[step], &mut expected);
        for ((fast, expected), before) in fast.iter().zip(&expected).zip(&pixels) {
            let off = fast.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
            prop_assert!(off <= Some(1), "{:?}: {:?} became {:?}, expected {:?}", step, before, fast, expected);
        }
    }

    #[test]
    fn several_steps_are_applied_in_order(
        steps in prop::collection::vec(any_step(), 0..5),
        pixels in prop::collection::vec(prop::array::uniform3(any::<u8>()), 9000..9100),
    ) {
        let (mut at_once, mut single) = (pixels.clone(), pixels);
        apply(&steps, &mut at_once);
        steps.iter().for_each(|step| apply(&[*step], &mut single));
        prop_assert!(at_once == single, "{:?}", steps);
    }
}

#[test]
fn hue_shifts_by_zero_and_by_a_full_turn_change_nothing() {
    for r in (0..=255).step_by(15) {
        for g in (0..=255).step_by(17) {
            for b in (0..=255).step_by(51) {
                let rgb = [r as u8, g as u8, b as u8];
                assert_eq!(one(hsv(0.0, 0.0, 0.0), rgb), rgb);
                let turned = one(hsv(360.0, 0.0, 0.0), rgb);
                assert!(
                    turned.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 1),
                    "{rgb:?} {turned:?}"
                );
            }
        }
    }
}

#[test]
fn a_hue_shift_by_a_third_of_a_turn_turns_red_into_green() {
    assert_eq!(one(hsv(120.0, 0.0, 0.0), [255, 0, 0]), [0, 255, 0]);
    assert_eq!(one(hsv(-120.0, 0.0, 0.0), [0, 255, 0]), [255, 0, 0]);
    assert_eq!(one(hsv(50.0, 0.5, 0.0), [100, 100, 100]), [100, 100, 100]);
    assert_eq!(one(hsv(0.0, -1.0, 0.0), [100, 50, 50]), [100, 100, 100]);
}

#[test]
fn contrast_zero_yields_the_mean_grey_and_saturation_zero_yields_greyscale() {
    let mut pixels = [[0; 3], [200; 3]];
    apply(&[Step::Contrast(0.0)], &mut pixels);
    assert_eq!(pixels, [[100; 3]; 2]);
    assert_eq!(one(Step::Saturation(0.0), [255, 0, 0]), [76; 3]);
}

#[test]
fn jitter_of_strength_zero_is_off_and_factors_are_in_range() {
    let mut random = Random::new(0, 0, 0);
    assert!(Step::random_jitter(&ColorJitter::default(), &mut random).is_empty());
    let jitter = ColorJitter {
        brightness: 0.5,
        contrast: 2.0,
        ..Default::default()
    };
    for _ in 0..200 {
        let steps = Step::random_jitter(&jitter, &mut random);
        assert_eq!(steps.len(), 2);
        for step in steps {
            match step {
                Step::Tone { gain, offset } => assert!((0.5..1.5).contains(&gain) && offset == 0.0),
                Step::Contrast(factor) => assert!((0.0..3.0).contains(&factor)),
                other => panic!("{other:?}"),
            }
        }
    }
}
