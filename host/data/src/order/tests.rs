use super::*;
use cvhost_plugin_api::data::{Record, RecordMeta};

/// Records with the given classes; every third image is in portrait format.
struct Records(Vec<Vec<i64>>);

impl Source for Records {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn record(&self, _index: usize) -> Result<Record> {
        Ok(Record::default())
    }

    fn meta(&self, index: usize) -> Result<RecordMeta> {
        let portrait = index.is_multiple_of(3);
        Ok(RecordMeta {
            width: if portrait { 3 } else { 4 },
            height: if portrait { 4 } else { 3 },
            classes: self.0[index].clone().into(),
            ..RecordMeta::default()
        })
    }
}

/// 90 records of class 0, of which 10 also have class 1, and 10 records without classes.
fn rare() -> Records {
    let classes = |i: usize| match i {
        0..10 => vec![0, 1, 0],
        10..90 => vec![0],
        _ => vec![],
    };
    Records((0..100).map(classes).collect())
}

fn order(source: &Records, options: OrderOptions) -> Order {
    Order::new(source, options).unwrap()
}

fn shuffled(batch_size: usize) -> OrderOptions {
    OrderOptions {
        batch_size,
        shuffle_seed: Some(3),
        ..Default::default()
    }
}

#[test]
fn class_balanced_sampling_draws_classes_about_equally_often() {
    let options = OrderOptions {
        sampling: Sampling::ClassBalanced,
        ..shuffled(4)
    };
    let order = order(&rare(), options);
    assert_eq!(order.batches(), 25);
    let mut seen = [0usize; 3];
    for epoch in 0..60 {
        let drawn = order.of_epoch(epoch);
        assert_eq!(drawn.len(), 100);
        for index in drawn {
            seen[match index {
                0..10 => 0,
                10..90 => 1,
                _ => 2,
            }] += 1;
        }
    }
    // Weights: 10 × 1/10, 80 × 1/90, 10 × 1/10.
    let total = 1.0 + 80.0 / 90.0 + 1.0;
    for (seen, weight) in seen.iter().zip([1.0, 80.0 / 90.0, 1.0]) {
        let part = *seen as f64 / 6000.0;
        assert!((part - weight / total).abs() < 0.03, "{part}");
    }
    assert_ne!(order.of_epoch(0), order.of_epoch(1));
    assert_eq!(order.of_epoch(7), order.of_epoch(7));
}

#[test]
fn repeat_factors_match_the_paper() {
    let records = rare();
    let options = OrderOptions {
        sampling: Sampling::RepeatFactor,
        repeat_threshold: 0.4,
        ..shuffled(8)
    };
    let order = order(&records, options);
    // A tenth of the records have class 1: sqrt(0.4 / 0.1) = 2.
    let epochs: Vec<Vec<usize>> = (0..3).map(|e| order.of_epoch(e)).collect();
    for drawn in &epochs {
        assert_eq!(drawn.len(), 110);
        for index in 0..100 {
            let times = drawn.iter().filter(|&&i| i == index).count();
            assert_eq!(times, if index < 10 { 2 } else { 1 }, "{index}");
        }
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn fractional_repeat_factors_hold_on_average_and_epochs_have_equal_length() {
    let options = OrderOptions {
        sampling: Sampling::RepeatFactor,
        repeat_threshold: 0.225,
        ..shuffled(8)
    };
    let order = order(&rare(), options);
    let times: usize = (0..200)
        .map(|epoch| {
            let drawn = order.of_epoch(epoch);
            assert_eq!(drawn.len(), 105);
            drawn.iter().filter(|&&i| i < 10).count()
        })
        .sum();
    assert!((times as f64 / 2000.0 - 1.5).abs() < 0.05, "{times}");
}

#[test]
fn all_batches_but_the_last_hold_images_of_one_orientation() {
    let options = OrderOptions {
        group_by_aspect_ratio: true,
        ..shuffled(8)
    };
    let order = order(&rare(), options).of_epoch(2);
    let portrait = |i: &usize| i.is_multiple_of(3);
    let mixed = order
        .chunks(8)
        .filter(|batch| batch.iter().any(portrait) && !batch.iter().all(portrait))
        .count();
    assert!(mixed <= 2, "{mixed} mixed batches");
    let mut all = order.clone();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

#[test]
fn the_last_batch_is_kept_dropped_or_padded() {
    let with = |last_batch| {
        let order = order(
            &rare(),
            OrderOptions {
                last_batch,
                ..shuffled(8)
            },
        );
        (order.batches(), order.of_epoch(0))
    };
    let (batches, kept) = with(LastBatch::Keep);
    assert_eq!((batches, kept.len()), (13, 100));
    let (batches, dropped) = with(LastBatch::Drop);
    assert_eq!((batches, dropped.len()), (12, 96));
    let (batches, padded) = with(LastBatch::Pad);
    assert_eq!((batches, padded.len()), (13, 104));
    assert_eq!(padded[100..], padded[..4]);
    assert_eq!(kept[..96], dropped);
}

#[test]
fn without_a_seed_every_record_occurs_once_in_order() {
    let options = OrderOptions {
        sampling: Sampling::ClassBalanced,
        ..Default::default()
    };
    assert_eq!(order(&rare(), options).of_epoch(5), (0..100).collect::<Vec<_>>());
    assert!(order(&Records(vec![]), shuffled(4)).of_epoch(0).is_empty());
}
