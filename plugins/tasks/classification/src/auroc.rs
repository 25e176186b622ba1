//! The area under the receiver operating characteristic (ROC) curve, and the curve itself.

/// False positive rates and true positive rates.
pub type Points = (Vec<f64>, Vec<f64>);

/// The area under the ROC curve for scores, each with whether it is a positive: the fraction of
/// pairs of a positive and a negative in which the positive has the higher score, with ties counted
/// half (Mann-Whitney U). NaN without positives or without negatives.
pub fn area(scored: &mut [(f32, bool)]) -> f64 {
    let (mut above_twice, mut negatives) = (0u128, 0u128);
    let mut positives = 0u128;
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    for equal in scored.chunk_by(|a, b| a.0 == b.0) {
        let own = equal.iter().filter(|(_, positive)| *positive).count() as u128;
        let others = equal.len() as u128 - own;
        above_twice += own * (2 * negatives + others);
        positives += own;
        negatives += others;
    }
    let pairs_twice = 2 * positives * negatives;
    if pairs_twice == 0 {
        return f64::NAN;
    }
    above_twice as f64 / pairs_twice as f64
}

/// False and true positive rates with each score as the threshold, in descending order, thinned out
/// to about `max_points` points, from (0, 0) to (1, 1). `scored` must be sorted as by [`area`] and
/// contain positives and negatives.
pub fn curve(scored: &[(f32, bool)], max_points: usize) -> Points {
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    let negatives = scored.len() - positives;
    let (mut x, mut y) = (vec![0.0], vec![0.0]);
    let (mut hits, mut alarms) = (0usize, 0usize);
    let step = scored.len().div_ceil(max_points.max(1));
    let mut next = step;
    for equal in scored.chunk_by(|a, b| a.0 == b.0).rev() {
        let own = equal.iter().filter(|(_, positive)| *positive).count();
        hits += own;
        alarms += equal.len() - own;
        if hits + alarms >= next.min(scored.len()) {
            x.push(alarms as f64 / negatives as f64);
            y.push(hits as f64 / positives as f64);
            next = hits + alarms + step;
        }
    }
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correctly_ordered_pairs_count_and_ties_count_half() {
        let mut perfect = [(0.1, false), (0.9, true), (0.2, false)];
        assert_eq!(area(&mut perfect), 1.0);
        assert_eq!(area(&mut [(0.9, false), (0.1, true)]), 0.0);
        assert_eq!(area(&mut [(0.5, false), (0.5, true), (0.5, true)]), 0.5);
        assert_eq!(
            area(&mut [(0.5, false), (0.5, true), (0.1, false), (0.3, true)]),
            0.625
        );
        assert!(area(&mut [(0.5, true)]).is_nan());
        assert!(area(&mut []).is_nan());
    }

    #[test]
    fn the_curve_goes_from_corner_to_corner_and_is_thinned_out() {
        let mut scored: Vec<(f32, bool)> = (0..10_000).map(|i| (i as f32, i % 3 == 0 || i > 7000)).collect();
        let exact = area(&mut scored);
        let (x, y) = curve(&scored, 200);
        assert!((200..=202).contains(&x.len()), "{}", x.len());
        assert_eq!((x[0], y[0]), (0.0, 0.0));
        assert_eq!((x.last(), y.last()), (Some(&1.0), Some(&1.0)));
        let trapezoids: f64 = (1..x.len())
            .map(|i| (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2.0)
            .sum();
        assert!((trapezoids - exact).abs() < 1e-3, "{trapezoids} {exact}");
    }
}
