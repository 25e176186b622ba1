//! Compares the fastest kernels of this machine with the plain ones.

use super::*;
use crate::Resample;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Many black and white pixels, where filters overshoot.
            match state >> 29 {
                0 => 0,
                1 => 255,
                _ => (state >> 16) as u8,
            }
        })
        .collect()
}

#[test]
fn transposition_matches_the_plain_kernel_and_is_reversible() {
    for (length, stride, lanes) in [
        (1, 1, 8),
        (15, 20, 8),
        (16, 16, 8),
        (33, 40, 8),
        (96, 96, 8),
        (50, 64, 3),
        (16, 16, 1),
    ] {
        let rows = noise((lanes - 1) * stride + length);
        let (mut best, mut plain) = (vec![[9; ROWS]; length], vec![[9; ROWS]; length]);
        to_columns(&rows, stride, &mut best);
        plain::to_columns(&rows, stride, &mut plain);
        assert_eq!(best, plain, "{length} {stride} {lanes}");

        let mut back = vec![5; rows.len()];
        to_rows(&best, lanes, stride, &mut back);
        let mut expected = vec![5; rows.len()];
        plain::to_rows(&best, lanes, stride, &mut expected);
        assert_eq!(back, expected, "{length} {stride} {lanes}");
        for lane in 0..lanes {
            let row = lane * stride..lane * stride + length;
            assert_eq!(back[row.clone()], rows[row]);
        }
    }
}

#[test]
fn both_resize_passes_match_the_plain_kernels() {
    for code in 0..6 {
        let filter = Resample::from_code(code).unwrap();
        for (from, to) in [(50, 73), (73, 20), (9, 9), (40, 1), (1, 33)] {
            let taps = Taps::new(filter, from, to, to / 4..to);
            let first = taps.reach().start;
            let columns: Vec<[u8; ROWS]> = noise(3 * from * ROWS).as_chunks().0[3 * first..].to_vec();
            let mut best = vec![[0; ROWS]; 3 * (to - to / 4)];
            let mut plain = best.clone();
            along_x(&columns, first, &taps, &mut best);
            plain::along_x(&columns, first, &taps, &mut plain);
            assert_eq!(best, plain, "{filter:?} {from} {to}");

            for length in [1, 31, 32, 100] {
                let rows = noise(from * 101);
                let (mut best, mut plain) = (vec![0; length], vec![0; length]);
                for (start, weights) in taps.iter() {
                    along_y(&rows[start * 101..], 101, weights, &mut best);
                    plain::along_y(&rows[start * 101..], 101, weights, &mut plain);
                    assert_eq!(best, plain, "{filter:?} {from} {to} {length}");
                }
            }
        }
    }
}

#[test]
fn values_equal_the_table_exactly() {
    let imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for values in [
        Values::new(Some(1.0 / 255.0), Some(imagenet)),
        Values::new(None, None),
    ] {
        for pixels in [1, 7, 8, 9, 16, 300] {
            let rgb = noise(3 * pixels);
            for channel in 0..3 {
                let (mut best, mut plain) = (vec![-1.0; pixels], vec![-2.0; pixels]);
                to_values(&rgb, channel, &values, &mut best);
                plain::to_values(&rgb, channel, &values, &mut plain);
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&best), bits(&plain));
            }
        }
    }
}

#[test]
fn a_short_row_leaves_the_rest_unchanged() {
    let mut out = [4.0; 20];
    to_values(&noise(36), 1, &Values::new(None, None), &mut out);
    assert!(out[12..].iter().all(|&v| v == 4.0) && out[..12] != [4.0; 12]);
}
