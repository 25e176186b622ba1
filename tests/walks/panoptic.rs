//! Panoptic segmentation: a segment map with columns, things and stuff, a PNG.

use cvhost_plugin_api::data::{Array, Fields, Record, Role};
use cvhost_tests::events::path_in;
use cvhost_tests::walks::{Task, Walk, image, record};
use std::collections::BTreeMap;

fn map(record: &Record) -> Vec<i32> {
    record
        .fields
        .require("segment_map")
        .unwrap()
        .values::<i32>()
        .unwrap()
        .to_vec()
}

fn labels(record: &Record) -> Vec<i64> {
    record
        .fields
        .require("segment_labels")
        .unwrap()
        .values::<i64>()
        .unwrap()
        .to_vec()
}

/// A prediction for a record's image.
fn segments(record: &Record, map: &[i32], labels: &[i64]) -> Fields {
    let dims = record.fields.require("segment_map").unwrap().dims().to_vec();
    Fields::new()
        .with("segment_map", Role::LABEL_MAP, Array::new(&dims, map).unwrap())
        .with("segment_labels", Role::COLUMN, Array::vector(labels))
        .with(
            "segment_scores",
            Role::COLUMN,
            Array::vector(&vec![1.0f32; labels.len()]),
        )
}

#[test]
fn panoptic_segmentation_trains_with_crops_and_flips() {
    let walk = Walk::new(
        "walk-panoptic",
        "pictures: 64, batch_size: 8, augmentations: {horizontal_flip: 0.5, vertical_flip: 0.1, random_crop: 0.5, rotation: 5, random_resize: [0.8, 1.25]}",
        "max_epochs: 12, learning_rate: 0.01, monitor_metric: val_pq",
    );
    let trained = walk.train(6, 0.5);
    let data = walk.task.open(64);
    // The baseline is all grass.
    let baseline = walk.task.report(&data, |record| {
        segments(record, &vec![0; map(record).len()], &[1])
    });
    let (learned, baseline) = (trained.metric("val_pq"), baseline.get("pq").unwrap());
    assert!(
        baseline < 0.3 && learned > 0.8,
        "{learned}, the baseline has {baseline}"
    );
    for metric in ["val_sq", "val_rq", "val_pq_things", "val_pq_stuff", "val_pq_ball"] {
        assert!(trained.metric(metric) > 0.5, "{metric}: {}", trained.event);
    }
    walk.check_eval(&trained);

    let prediction = walk.predict(&trained, image(&record(&data, 0)), &[]);
    let printed = prediction["predictions"].as_array().unwrap();
    assert!(printed.len() >= 2, "{prediction}");
    let png = image::open(prediction["files"][0].as_str().unwrap())
        .unwrap()
        .to_rgb8();
    assert_eq!(
        png.dimensions(),
        (image(&record(&data, 0)).width, image(&record(&data, 0)).height)
    );
    let mut areas: BTreeMap<u64, u64> = BTreeMap::new();
    for pixel in png.pixels() {
        let [r, g, b] = pixel.0.map(u64::from);
        *areas.entry(r + 256 * g + 65536 * b).or_default() += 1;
    }
    areas.remove(&0);
    let listed: BTreeMap<u64, u64> = printed
        .iter()
        .map(|s| (s["id"].as_u64().unwrap(), s["area"].as_u64().unwrap()))
        .collect();
    assert_eq!(listed, areas, "the file and the printed segments differ");
    for segment in printed {
        let things = ["ball", "crate"].contains(&segment["label"].as_str().unwrap());
        assert_eq!(segment["isthing"], things, "{segment}");
        assert!(segment["score"].as_f64().unwrap() >= 0.5, "{segment}");
    }
    // Things are connected components; category ids are those of the data, with their gap.
    assert!(
        printed
            .iter()
            .all(|s| [1, 2, 5, 6].contains(&s["category_id"].as_i64().unwrap())),
        "{prediction}"
    );
    assert_eq!(
        image::open(path_in(&prediction, "drawn")).unwrap().width(),
        4 * png.width()
    );
}

#[test]
fn panoptic_quality_is_computed_as_in_the_paper() {
    let task = Task::load("walk-panoptic");
    let data = task.open(40);
    // The targets themselves, with void filled by an arbitrary guess: void counts neither for nor
    // against.
    let perfect = task.report(&data, |record| {
        let filled: Vec<i32> = map(record).iter().map(|s| (*s).max(0)).collect();
        segments(record, &filled, &labels(record))
    });
    for metric in ["pq", "sq", "rq", "pq_things", "pq_stuff", "pq_sky"] {
        assert_eq!(perfect.get(metric), Some(1.0), "{metric}");
    }
    // Computed by hand for one record: balls are labelled as crates, so they are false positives
    // for crates and false negatives for balls; a strip of the sky is missing, which lowers its
    // IoU.
    let index = (0..data.len().into_result().unwrap())
        .find(|i| labels(&record(&data, *i)).contains(&2))
        .unwrap();
    let record = record(&data, index);
    let (map, labels) = (map(&record), labels(&record));
    let wrong: Vec<i64> = labels.iter().map(|l| if *l == 2 { 3 } else { *l }).collect();
    let sky = labels.iter().position(|l| *l == 0).unwrap() as i32;
    let all = map.iter().filter(|s| **s == sky).count();
    let mut left = all / 4;
    let holed: Vec<i32> = map
        .iter()
        .map(|s| {
            let gone = *s == sky && left > 0;
            left -= usize::from(gone);
            if gone { -1 } else { *s }
        })
        .collect();
    let mut evaluator = task.evaluator(&data);
    let (p, t) = ([segments(&record, &holed, &wrong)], [record.fields.clone()]);
    evaluator
        .update((&[7u64][..]).into(), (&p[..]).into(), (&t[..]).into())
        .into_result()
        .unwrap();
    let report = evaluator.compute().into_result().unwrap();
    let balls = labels.iter().filter(|l| **l == 2).count() as f64;
    let crates = labels.iter().filter(|l| **l == 3).count() as f64;
    let close = |name: &str, expected: f64| {
        let value = report.get(name).unwrap();
        assert!(
            (value - expected).abs() < 1e-12,
            "{name}: {value}, expected {expected}"
        );
    };
    let sky = (all - all / 4) as f64 / all as f64;
    let crate_quality = crates / (crates + 0.5 * balls);
    close("pq_sky", sky);
    close("pq_grass", 1.0);
    close("pq_ball", 0.0);
    close("pq_crate", crate_quality);
    close("pq_stuff", (sky + 1.0) / 2.0);
    close("pq_things", crate_quality / 2.0);
    close("pq", (sky + 1.0 + crate_quality) / 4.0);
}

#[test]
fn panoptic_quality_evaluators_merge_bit_identically() {
    let task = Task::load("walk-panoptic");
    task.check_merging(&task.open(40), |record| {
        // Everything a few pixels to the left.
        let moved: Vec<i32> = map(record)
            .iter()
            .copied()
            .cycle()
            .skip(3)
            .take(map(record).len())
            .collect();
        segments(record, &moved, &labels(record))
    });
}
