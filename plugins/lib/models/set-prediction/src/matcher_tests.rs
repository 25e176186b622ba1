use crate::boxes::generalized_iou_gradient;
use crate::matcher::Pairs;
use crate::on_host::OnHost;
use crate::tests::{COSTS, numbers, predictions, targets};
use crate::{Predictions, Targets};
use tch::{Kind, Tensor};

/// The minimum cost of assigning each target a query of its own, by exhaustive search.
fn cheapest(cost: &[Vec<f64>], target: usize, used: &mut Vec<bool>) -> f64 {
    if target == cost[0].len() {
        return 0.0;
    }
    let mut best = f64::INFINITY;
    for query in 0..cost.len() {
        if !used[query] {
            used[query] = true;
            best = best.min(cost[query][target] + cheapest(cost, target + 1, used));
            used[query] = false;
        }
    }
    best
}

/// `layers` and `targets` on the CPU, and the pairs of each block.
pub(crate) fn matched(layers: &[Predictions], targets: &Targets) -> (OnHost, Vec<Pairs>) {
    let stack =
        |of: fn(&Predictions) -> &Tensor| Tensor::stack(&layers.iter().map(of).collect::<Vec<_>>(), 0);
    let log_probabilities = stack(|l| &l.logits).log_softmax(-1, Kind::Float);
    let step = OnHost::copy(&log_probabilities, &stack(|l| &l.pred_boxes), targets).unwrap();
    let pairs = COSTS.assign(&step).unwrap();
    (step, pairs)
}

#[test]
fn matching_is_optimal_and_stays_within_each_image() {
    let (queries, counts) = (6, [3usize, 0, 4]);
    let layers = [predictions(1, 3, queries), predictions(2, 3, queries)];
    let targets = targets(3, &counts.map(|n| n as i64));
    let (_, matching) = matched(&layers, &targets);
    assert_eq!(matching.len(), 6);

    let labels: Vec<i64> = numbers(&targets.class_labels);
    let target_boxes: Vec<f32> = numbers(&targets.boxes);
    let target_boxes: Vec<[f32; 4]> = target_boxes.as_chunks().0.to_vec();
    let mut matching = matching.iter();
    for (l, layer) in layers.iter().enumerate() {
        let mut first = 0;
        for (image, &count) in counts.iter().enumerate() {
            // The cost as in the paper, one pair at a time.
            let cost: Vec<Vec<f64>> = (0..queries)
                .map(|q| {
                    let p = layer.logits.get(image as i64).get(q).softmax(-1, Kind::Float);
                    let b: Vec<f32> = numbers(&layer.pred_boxes.get(image as i64).get(q));
                    let b = [b[0], b[1], b[2], b[3]];
                    (first..first + count)
                        .map(|t| {
                            let l1: f32 = b.iter().zip(target_boxes[t]).map(|(b, w)| (b - w).abs()).sum();
                            let (giou, _) = generalized_iou_gradient(b, target_boxes[t]);
                            f64::from(5.0 * l1 - 2.0 * giou) - p.double_value(&[labels[t]])
                        })
                        .collect()
                })
                .collect();
            let pairs = &matching.next().unwrap().pairs;
            assert_eq!(pairs.len(), count);
            assert!(pairs.iter().all(|pair| pair.target < count));
            let found: f64 = pairs.iter().map(|pair| cost[pair.query][pair.target]).sum();
            if count > 0 {
                let best = cheapest(&cost, 0, &mut vec![false; queries as usize]);
                assert!(
                    (found - best).abs() < 1e-4,
                    "layer {l}, image {image}: {found}, best {best}"
                );
            }
            first += count;
        }
    }
}
