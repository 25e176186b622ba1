//! Monocular depth: a dense map with holes, no classes, a 16-bit file.

use cvhost_plugin_api::data::{Array, DType, Fields, Record, Role};
use cvhost_tests::events::path_in;
use cvhost_tests::walks::{Task, Walk, image, record};

fn depths(record: &Record) -> Vec<f32> {
    record
        .fields
        .require("depth")
        .unwrap()
        .values::<f32>()
        .unwrap()
        .to_vec()
}

/// A prediction for a record's image.
fn map(record: &Record, values: &[f32]) -> Fields {
    let dims = record.fields.require("depth").unwrap().dims().to_vec();
    Fields::new().with("depth", Role::DENSE_MAP, Array::new(&dims, values).unwrap())
}

#[test]
fn depth_trains_with_geometric_augmentations_and_beats_a_constant() {
    let walk = Walk::new(
        "walk-depth",
        "pictures: 96, batch_size: 8, augmentations: {horizontal_flip: 0.5, random_crop: 0.3, rotation: 5, random_resize: [0.9, 1.2]}",
        "max_epochs: 6, learning_rate: 0.01, monitor_metric: val_abs_rel",
    );
    let trained = walk.train(6, 0.5);
    // The best constant prediction is the median of the depths.
    let data = walk.task.open(96);
    let mut all: Vec<f32> = (0..data.len().into_result().unwrap())
        .flat_map(|i| depths(&record(&data, i)))
        .filter(|d| *d > 0.0)
        .collect();
    all.sort_by(f32::total_cmp);
    let median = all[all.len() / 2];
    let constant = walk
        .task
        .report(&data, |record| map(record, &vec![median; depths(record).len()]));
    let (learned, constant) = (trained.metric("val_abs_rel"), constant.get("abs_rel").unwrap());
    assert!(learned < 0.4 * constant, "{learned}, a constant has {constant}");
    assert!(trained.metric("val_delta1") > 0.7, "{}", trained.event);
    // The best value is the lowest.
    assert!(trained.event["best"]["value"].as_f64().unwrap() <= learned);
    walk.check_eval(&trained);

    let record = record(&data, 1);
    let prediction = walk.predict(&trained, image(&record), &[]);
    let printed = &prediction["predictions"][0];
    let png = image::open(prediction["files"][0].as_str().unwrap()).unwrap();
    assert_eq!(png.color(), image::ColorType::L16);
    let png = png.to_luma16();
    assert_eq!(png.dimensions(), (image(&record).width, image(&record).height));
    let mut millimetres: Vec<u16> = png.pixels().map(|p| p.0[0]).collect();
    // The file holds the prediction, to the millimetre: its metrics are as good as in training.
    let metres: Vec<f32> = millimetres.iter().map(|m| f32::from(*m) / 1000.0).collect();
    let mut error = walk.task.evaluator(&data);
    let (p, t) = ([map(&record, &metres)], [record.fields.clone()]);
    error
        .update((&[0u64][..]).into(), (&p[..]).into(), (&t[..]).into())
        .into_result()
        .unwrap();
    let error = error.compute().into_result().unwrap().get("abs_rel").unwrap();
    assert!(
        error < 2.0 * learned,
        "{error} in the file, {learned} in training"
    );
    millimetres.sort_unstable();
    for (key, value) in [
        ("min_m", millimetres[0]),
        ("median_m", millimetres[millimetres.len() / 2]),
    ] {
        let printed = printed[key].as_f64().unwrap();
        assert!(
            (printed - f64::from(value) / 1000.0).abs() < 0.0006,
            "{key}: {printed}, {value} in the file"
        );
    }
    // Image and map side by side, four times as large.
    let drawn = image::open(path_in(&prediction, "drawn")).unwrap();
    assert_eq!(drawn.width(), 2 * 4 * png.width());
}

#[test]
fn depth_errors_count_measured_pixels_only() {
    let task = Task::load("walk-depth");
    let data = task.open(8);
    let report = task.report(&data, |record| {
        // Twice as far away as measured, and nonsense where nothing was measured.
        let wrong: Vec<f32> = depths(record)
            .iter()
            .map(|d| if *d > 0.0 { 2.0 * d } else { 1e6 })
            .collect();
        assert!(wrong.contains(&1e6), "{} has no hole", record.name);
        map(record, &wrong)
    });
    assert!((report.get("abs_rel").unwrap() - 1.0).abs() < 1e-6, "{report:?}");
    assert_eq!(report.get("delta1"), Some(0.0));
    // The root mean square per image, then the mean over the images.
    let roots: Vec<f64> = (0..data.len().into_result().unwrap())
        .map(|i| {
            let measured: Vec<f64> = depths(&record(&data, i))
                .iter()
                .map(|d| f64::from(*d))
                .filter(|d| *d > 0.0)
                .collect();
            (measured.iter().map(|d| d * d).sum::<f64>() / measured.len() as f64).sqrt()
        })
        .collect();
    let expected = roots.iter().sum::<f64>() / roots.len() as f64;
    assert!(
        (report.get("rmse").unwrap() - expected).abs() < 1e-5 * expected,
        "{report:?}, {expected}"
    );
}

#[test]
fn depth_evaluators_merge_bit_identically() {
    let task = Task::load("walk-depth");
    let data = task.open(40);
    assert!(data.spec().into_result().unwrap().names.is_empty());
    let record = record(&data, 0);
    assert_eq!(record.fields.require("depth").unwrap().dtype(), DType::F32);
    task.check_merging(&data, |record| {
        let off: Vec<f32> = depths(record)
            .iter()
            .enumerate()
            .map(|(i, d)| d + (i % 7) as f32 * 0.3 + 0.1)
            .collect();
        map(record, &off)
    });
}
