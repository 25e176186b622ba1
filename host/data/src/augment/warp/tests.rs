use super::*;
use crate::augment::map::Change;
use crate::random::Random;
use crate::testing::pattern;
use proptest::prelude::*;

/// A smooth image, so that small position errors cause small colour errors.
fn smooth(width: u32, height: u32) -> Image {
    let mut image = Image::filled(width, height, [0; 3]);
    for y in 0..height {
        for x in 0..width {
            let (x_part, y_part) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let wave = |v: f64| (127.5 + 120.0 * v.sin()) as u8;
            image.set_pixel(
                x,
                y,
                [
                    wave(5.0 * x_part),
                    wave(4.0 * y_part),
                    wave(3.0 * (x_part + y_part)),
                ],
            );
        }
    }
    image
}

/// A reference implementation in f64: every pixel of the window is interpolated from the four
/// pixels around its centre's preimage.
fn reference(source: &Image, map: &Map) -> Vec<Option<[f64; 3]>> {
    let at = |x: f64, y: f64| {
        let inside = x >= 0.0 && y >= 0.0;
        let pixel = if inside {
            source.pixel(x as u32, y as u32)
        } else {
            None
        };
        pixel.unwrap_or(FILL).map(f64::from)
    };
    let back = map.forward.inverse();
    let mut pixels = Vec::new();
    for y in 0..map.to[1] {
        for x in 0..map.to[0] {
            pixels.push(
                back.point([f64::from(x) + 0.5, f64::from(y) + 0.5])
                    .map(|[x, y]| {
                        let (x, y) = (x - 0.5, y - 0.5);
                        let (left, top) = (x.floor(), y.floor());
                        let (right, bottom) = (x - left, y - top);
                        let [a, b] = [at(left, top), at(left + 1.0, top)];
                        let [c, d] = [at(left, top + 1.0), at(left + 1.0, top + 1.0)];
                        std::array::from_fn(|k| {
                            (a[k] * (1.0 - right) + b[k] * right) * (1.0 - bottom)
                                + (c[k] * (1.0 - right) + d[k] * right) * bottom
                        })
                    }),
            );
        }
    }
    pixels
}

/// The largest difference, and the number of values that differ by more than one.
fn differences(new: &Image, expected: &[Option<[f64; 3]>]) -> (f64, usize) {
    let pixels = new.pixels.as_chunks::<3>().0;
    let off = pixels.iter().zip(expected).flat_map(|(new, expected)| {
        let expected = expected.unwrap_or(FILL.map(f64::from));
        [0, 1, 2].map(|k| (f64::from(new[k]) - expected[k]).abs())
    });
    off.fold((0.0, 0), |(max, count), v| {
        (v.max(max), count + usize::from(v > 1.0))
    })
}

fn corners(moves: [f64; 8]) -> [[f64; 2]; 4] {
    let [a, b, c, d, e, f, g, h] = moves;
    [[a, b], [1.0 - c, d], [1.0 - e, 1.0 - f], [g, 1.0 - h]]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rotation_and_perspective_match_the_reference(
        width in 3u32..90, height in 3u32..60, degrees in -180.0f64..180.0, moves in prop::array::uniform8(0.0f64..0.1),
        mirror: bool,
    ) {
        let source = smooth(width, height);
        let mut changes =
            vec![Change::Rotate { radians: degrees.to_radians() }, Change::Perspective { corners: corners(moves) }];
        if mirror {
            changes.push(Change::MirrorX);
        }
        let map = Map::of(&changes, [width, height]);
        let new = image(&source, &map).unwrap();
        // At the border, the colour jumps to the fill; positions have 15 fractional bits.
        let (max, off) = differences(&new, &reference(&source, &map));
        prop_assert!(max <= 2.0 && off * 100 <= new.pixels.len(), "{} {} of {}", max, off, new.pixels.len());
    }

    #[test]
    fn quarter_turns_move_whole_pixels(side in 2u32..40, quarters in 1u32..4) {
        let source = pattern(side, side);
        let map = Map::of(&[Change::Rotate { radians: f64::from(quarters) * std::f64::consts::FRAC_PI_2 }], [side, side]);
        let new = image(&source, &map).unwrap();
        for y in 0..side {
            for x in 0..side {
                // Counter-clockwise: the right side becomes the top.
                let last = side - 1;
                let from = match quarters {
                    1 => (last - y, x),
                    2 => (last - x, last - y),
                    _ => (y, last - x),
                };
                prop_assert_eq!(new.pixel(x, y), source.pixel(from.0, from.1));
            }
        }
        let rest = Map::of(&[Change::Rotate { radians: -f64::from(quarters) * std::f64::consts::FRAC_PI_2 }], [side, side]);
        prop_assert_eq!(image(&new, &rest).unwrap(), source);
    }

    #[test]
    fn crops_and_mirroring_move_whole_pixels(
        width in 4u32..60, height in 4u32..40, parts in prop::array::uniform4(0.0f64..0.5), x: bool, y: bool,
    ) {
        let source = pattern(width, height);
        let crop = |side: u32, low: f64, high: f64| {
            let start = (f64::from(side) * low) as u32;
            (start, side - start - (f64::from(side) * high) as u32)
        };
        let ((left, new_width), (top, new_height)) = (crop(width, parts[0], parts[1]), crop(height, parts[2], parts[3]));
        let mut changes = vec![Change::Crop { left, top, width: new_width, height: new_height }];
        changes.extend(x.then_some(Change::MirrorX));
        changes.extend(y.then_some(Change::MirrorY));
        let map = Map::of(&changes, [width, height]);
        let mut new = source.clone();
        if !mirrored_in_place(&mut new, &map) {
            new = image(&source, &map).unwrap();
        }
        prop_assert_eq!((new.width, new.height), (new_width, new_height));
        for row in 0..new_height {
            for column in 0..new_width {
                let from_x = left + if x { new_width - 1 - column } else { column };
                let from_y = top + if y { new_height - 1 - row } else { row };
                prop_assert_eq!(new.pixel(column, row), source.pixel(from_x, from_y));
            }
        }
        // The inverse map restores whatever wasn't cropped.
        if (new_width, new_height) == (width, height) {
            prop_assert!(mirrored_in_place(&mut new, &map));
            prop_assert_eq!(new, source);
        }
    }

    #[test]
    fn enlarged_images_match_the_reference_inside(
        width in 4u32..60, height in 4u32..40, factor in 1.0f64..3.0, places in prop::array::uniform2(0.0f64..1.0), x: bool,
    ) {
        let source = smooth(width, height);
        let mut changes = vec![Change::zoom(width, height, factor, places)];
        changes.extend(x.then_some(Change::MirrorX));
        let map = Map::of(&changes, [width, height]);
        let new = image(&source, &map).unwrap();
        // Border pixels are replicated, whereas the reference blends with the fill.
        let expected = reference(&source, &map);
        for y in 1..height.saturating_sub(1) {
            for x in 1..width.saturating_sub(1) {
                let [from_x, from_y] = map.back.point([f64::from(x) + 0.5, f64::from(y) + 0.5]).unwrap();
                let at_border = from_x < 0.5 || from_y < 0.5
                    || from_x > f64::from(width) - 0.5 || from_y > f64::from(height) - 0.5;
                let expected = expected[(y * width + x) as usize].unwrap();
                let off = new.pixel(x, y).unwrap().into_iter().zip(expected).map(|(a, b)| (f64::from(a) - b).abs());
                prop_assert!(at_border || off.fold(0.0, f64::max) <= 1.01);
            }
        }
    }

    #[test]
    fn planes_sample_the_pixel_under_each_centre(
        width in 2u32..40, height in 2u32..30, degrees in -180.0f64..180.0, moves in prop::array::uniform8(0.0f64..0.1),
    ) {
        let source: Vec<i64> = (0..i64::from(width * height)).collect();
        let changes =
            [Change::Rotate { radians: degrees.to_radians() }, Change::Perspective { corners: corners(moves) }];
        let map = Map::of(&changes, [width, height]);
        let new = plane(&source, &map, -1);
        for (number, value) in new.iter().enumerate() {
            let (x, y) = (number as u32 % width, number as u32 / width);
            let [x, y] = map.back.point([f64::from(x) + 0.5, f64::from(y) + 0.5]).unwrap();
            let inside = x >= 0.0 && y >= 0.0 && x < f64::from(width) && y < f64::from(height);
            let expected = if inside { i64::from(y as u32 * width + x as u32) } else { -1 };
            let edge = (x - x.round()).abs() < 1e-6 || (y - y.round()).abs() < 1e-6;
            prop_assert!(edge || *value == expected);
        }
    }
}

#[test]
fn strong_shrinking_averages_all_pixels() {
    // Lines of one pixel become grey, whereas interpolating four neighbours would yield black or
    // white.
    let mut lines = Image::filled(120, 120, [0; 3]);
    (0..120).for_each(|y| (0..120).step_by(2).for_each(|x| lines.set_pixel(x, y, [255; 3])));
    for changes in [
        vec![Change::zoom(120, 120, 0.4, [0.5, 0.5])],
        vec![
            Change::zoom(120, 120, 0.4, [0.5, 0.5]),
            Change::Rotate { radians: 0.3 },
        ],
    ] {
        let small = image(&lines, &Map::of(&changes, [120, 120])).unwrap();
        let mut seen = 0;
        for y in 50..70 {
            for x in 50..70 {
                let [v, ..] = small.pixel(x, y).unwrap();
                assert!((90..=165).contains(&v), "{changes:?}: {v} at {x}, {y}");
                seen += 1;
            }
        }
        assert_eq!(seen, 400);
    }
}

#[test]
fn shrunk_contents_are_surrounded_by_the_fill() {
    let white = Image::filled(40, 20, [255; 3]);
    let map = Map::of(
        &[Change::zoom(40, 20, 0.5, [0.0, 1.0]), Change::MirrorX],
        [40, 20],
    );
    let small = image(&white, &map).unwrap();
    for y in 0..20 {
        for x in 0..40 {
            let inside = x >= 20 && y >= 10;
            let expected = if inside { [255; 3] } else { FILL };
            assert_eq!(small.pixel(x, y), Some(expected), "{x}, {y}");
        }
    }
}

#[test]
fn covering_a_window_leaves_the_rest_of_the_canvas_unchanged() {
    let mut random = Random::new(5, 0, 0);
    for _ in 0..50 {
        let from = [8 + random.below(50) as u32, 8 + random.below(50) as u32];
        let (x, y) = (1 + random.below(28) as u32, 1 + random.below(18) as u32);
        let window = [x, y, 30, 20];
        let map = Map::cover(
            from,
            [30, 20],
            window,
            [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)],
        );
        let mut canvas = Image::filled(30, 20, [9; 3]);
        image_onto(&mut canvas, &Image::filled(from[0], from[1], [200; 3]), &map).unwrap();
        for row in 0..20 {
            for column in 0..30 {
                let expected = if column >= x && row >= y { [200; 3] } else { [9; 3] };
                assert_eq!(
                    canvas.pixel(column, row),
                    Some(expected),
                    "{window:?} from {from:?}: {column}, {row}"
                );
            }
        }
    }
}
