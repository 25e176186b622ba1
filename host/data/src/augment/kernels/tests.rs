use super::super::pixels;
use super::*;
use proptest::prelude::*;

fn noise(count: usize, seed: u64) -> Vec<[u8; 3]> {
    let mut random = crate::random::Random::new(seed, 0, 0);
    (0..count)
        .map(|_| [0; 3].map(|_| random.below(256) as u8))
        .collect()
}

proptest! {
    #[test]
    fn reversing_is_identical_on_every_cpu(count in 0usize..70, seed in 0u64..1000) {
        let source = noise(count, seed);
        let mut target = vec![[0; 3]; count];
        reversed(&source, &mut target);
        prop_assert!(target.iter().eq(source.iter().rev()));
    }

    #[test]
    fn warping_is_identical_on_every_cpu(
        width in 1usize..40, height in 1usize..20, count in 0usize..60, seed in 0u64..1000,
        replicate_border: bool, start in prop::array::uniform2(-30.0f32..50.0), step in prop::array::uniform2(-2.0f32..2.0),
        tilt in prop_oneof![Just(0.0f32), -0.05f32..0.05],
    ) {
        let source = noise(width * height, seed);
        let row = Row { start: [start[0], start[1], 1.0], step: [step[0], step[1], tilt], replicate_border };
        let (mut dispatched, mut generic) = (vec![[0; 3]; count], vec![[0; 3]; count]);
        warp_row(&source, [width, height], &row, [1, 2, 3], &mut dispatched);
        pixels::warp_row(&source, [width, height], &row, [1, 2, 3], &mut generic, 0);
        prop_assert_eq!(dispatched, generic);
    }

    #[test]
    fn mixing_is_identical_on_every_cpu(count in 0usize..100, seed in 0u64..1000, sigma in 0.1f64..2.0) {
        let gaussian = Gaussian::new(sigma);
        let rows: Vec<Vec<[u8; 3]>> = (0..2 * gaussian.radius() + 1).map(|k| noise(count, seed + k as u64)).collect();
        let taps: Vec<&[u8]> = rows.iter().map(|r| r.as_flattened()).collect();
        let (mut dispatched, mut generic) = (vec![0; 3 * count], vec![0; 3 * count]);
        mix(&taps, &gaussian, &mut dispatched);
        pixels::mix(&taps, &gaussian, &mut generic, 0);
        prop_assert_eq!(dispatched, generic);
    }

    #[test]
    fn colour_kernels_are_identical_on_every_cpu(
        count in 0usize..300, seed in 0u64..1000, gain in -2.0f32..4.0, offset in -100.0f32..100.0,
        hue in -1.0f32..1.0, saturation in -1.0f32..1.0, value in -1.0f32..1.0, part in 0u16..=256,
    ) {
        let source = noise(count, seed);
        let other = noise(count, seed + 1);
        let shift = Hsv { turn: hue, saturation, value };
        type Colour<'a> = Box<dyn Fn(&mut [[u8; 3]]) + 'a>;
        let pairs: [(Colour<'_>, Colour<'_>); 4] = [
            (
                Box::new(|p| tone(p.as_flattened_mut(), gain, offset)),
                Box::new(|p| pixels::tone(p.as_flattened_mut(), gain, offset)),
            ),
            (Box::new(|p| saturate(p, gain)), Box::new(|p| pixels::saturate(p, gain))),
            (Box::new(|p| shift_hsv(p, shift)), Box::new(|p| pixels::shift_hsv(p, shift))),
            (
                Box::new(|p| blend(p.as_flattened_mut(), other.as_flattened(), part)),
                Box::new(|p| pixels::blend(p.as_flattened_mut(), other.as_flattened(), part)),
            ),
        ];
        for (dispatched, generic) in pairs {
            let (mut a, mut b) = (source.clone(), source.clone());
            dispatched(&mut a);
            generic(&mut b);
            prop_assert_eq!(a, b);
        }
        prop_assert_eq!(grey_sum(&source), pixels::grey_sum(&source));
    }
}
