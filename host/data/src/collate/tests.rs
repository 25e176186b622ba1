use super::*;
use crate::testing::{Plain, detections, pattern};
use cvhost_plugin_api::data::Role;

fn sample(index: u64, width: u32, height: u32, fields: Fields) -> Sample {
    Sample {
        index,
        name: format!("image {index}").into(),
        images: vec![pattern(width, height)].into(),
        fields,
        train: true,
        ..Default::default()
    }
}

fn item<'a>(batch: &'a HostBatch, name: &str) -> &'a HostItem {
    batch.items.iter().find(|i| i.name == name).unwrap()
}

fn collated(rules: Vec<CollateRule>, samples: &[Sample]) -> Result<HostBatch> {
    let targets = samples.iter().map(|s| s.fields.clone()).collect();
    collate(&Plain { rules }.boxed(), samples, targets, false, &Pool::new(4))
}

fn two_images() -> Vec<Sample> {
    vec![
        sample(
            7,
            4,
            2,
            detections(&[[0., 0., 1., 1.], [1., 1., 2., 2.]], &[3, 4]),
        ),
        sample(5, 2, 3, detections(&[], &[])),
    ]
}

#[test]
fn images_are_padded_at_the_bottom_and_right_with_a_mask() {
    let samples = two_images();
    let mut rules = Plain::padded().rules;
    rules[0].fill = -1.0;
    let batch = collated(rules, &samples).unwrap();
    let pixels = item(&batch, "pixel_values");
    assert_eq!(pixels.dims, [2, 3, 3, 4]);
    let values = pixels.data.elements::<f32>();
    let mask = item(&batch, "pixel_mask");
    assert_eq!(mask.dims, [2, 3, 4]);
    assert_eq!(
        mask.data.elements::<u8>(),
        [
            1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0
        ]
    );
    for (n, sample) in samples.iter().enumerate() {
        for c in 0..3 {
            for y in 0..3 {
                for x in 0..4 {
                    let value = values[((n * 3 + c) * 3 + y) * 4 + x];
                    let pixel = sample.images[0].pixel(x as u32, y as u32);
                    assert_eq!(value, pixel.map_or(-1.0, |p| f32::from(p[c])), "{n} {c} {y} {x}");
                }
            }
        }
    }
}

#[test]
fn ragged_fields_are_concatenated_and_metas_targets_and_names_are_kept() {
    let samples = two_images();
    let batch = collated(Plain::padded().rules, &samples).unwrap();
    let boxes = item(&batch, "boxes");
    assert_eq!(
        (boxes.dims.as_slice(), boxes.offsets.as_slice()),
        (&[2u64, 4][..], &[0u64, 2, 2][..])
    );
    assert_eq!(boxes.data.elements::<f64>(), [0., 0., 1., 1., 1., 1., 2., 2.]);
    assert_eq!(item(&batch, "class_labels").data.elements::<i64>(), [3, 4]);
    assert_eq!(batch.indices(), [7, 5]);
    assert_eq!(batch.names, ["image 7", "image 5"]);
    assert_eq!(
        batch.targets,
        [samples[0].fields.clone(), samples[1].fields.clone()]
    );
}

#[test]
fn heights_and_widths_are_rounded_up_to_the_multiple_but_channels_are_not() {
    let mut rules = Plain::padded().rules;
    rules[0].multiple = 8;
    let batch = collated(rules, &two_images()).unwrap();
    assert_eq!(item(&batch, "pixel_values").dims, [2, 3, 8, 8]);
    assert_eq!(item(&batch, "pixel_mask").dims, [2, 8, 8]);
}

#[test]
fn fields_are_padded_and_stacked_too() {
    let with = |rows: &[[f32; 2]], code: i32| {
        Fields::new()
            .with("points", Role::OPAQUE, Array::rows(rows))
            .with("code", Role::OPAQUE, Array::new(&[], &[code]).unwrap())
    };
    let samples = [
        sample(0, 2, 2, with(&[[1., 2.]], 5)),
        sample(1, 2, 2, with(&[[3., 4.], [5., 6.]], 6)),
    ];
    let mut pad = CollateRule::pad("points", "points_mask");
    pad.fill = 9.0;
    let batch = collated(
        vec![
            CollateRule::stack("pixel_values"),
            pad,
            CollateRule::stack("code"),
        ],
        &samples,
    )
    .unwrap();
    assert_eq!(item(&batch, "points").dims, [2, 2, 2]);
    assert_eq!(
        item(&batch, "points").data.elements::<f32>(),
        [1., 2., 9., 9., 3., 4., 5., 6.]
    );
    assert_eq!(
        item(&batch, "points_mask").data.elements::<u8>(),
        [1, 1, 0, 0, 1, 1, 1, 1]
    );
    assert_eq!(item(&batch, "code").dims, [2]);
    assert_eq!(item(&batch, "code").data.elements::<i32>(), [5, 6]);
}

#[test]
fn shapes_that_do_not_stack_are_an_error_that_names_field_shapes_and_samples() {
    let mut rules = Plain::padded().rules;
    rules[0] = CollateRule::stack("pixel_values");
    let message = collated(rules, &two_images()).unwrap_err().to_string();
    for part in [
        "pixel_values",
        "[3, 2, 4]: image 7",
        "[3, 3, 2]: image 5",
        "stack",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_missing_field_is_an_error_except_when_predicting() {
    let mut rules = Plain::padded().rules;
    rules.push(CollateRule::ragged("masks"));
    let message = collated(rules, &two_images()).unwrap_err().to_string();
    assert!(
        message.contains("`masks`") && message.contains("image 7") && message.contains("class_labels"),
        "{message}"
    );

    // Records to predict may have fields other than targets.
    let side = Fields::new().with("score", Role::OPAQUE, Array::vector(&[0.5f32]));
    let samples = [sample(0, 3, 3, side.clone())];
    assert!(collated(Plain::padded().rules, &samples).is_err());
    let batch = collate(
        &Plain::padded().boxed(),
        &samples,
        vec![side],
        true,
        &Pool::new(4),
    )
    .unwrap();
    let names: Vec<&str> = batch.items.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["pixel_values", "pixel_mask"]);
}

#[test]
fn differing_types_rows_and_names_are_reported() {
    let odd = Fields::new()
        .with("boxes", Role::BOXES, Array::rows(&[[0f32; 4]]))
        .with("class_labels", Role::COLUMN, Array::vector(&[1i64]));
    let samples = [
        sample(0, 2, 2, detections(&[[0.; 4]], &[1])),
        sample(1, 2, 2, odd),
    ];
    let message = collated(Plain::padded().rules, &samples).unwrap_err().to_string();
    assert!(
        message.contains("image 1") && message.contains("f64") && message.contains("f32"),
        "{message}"
    );

    let mut rules = Plain::padded().rules;
    rules[0].name = "pixels".into();
    let message = collated(rules, &two_images()).unwrap_err().to_string();
    assert!(
        message.contains("`pixels`") && message.contains("`pixel_values`"),
        "{message}"
    );
}

#[test]
fn an_error_of_the_adapter_names_the_sample() {
    let message = collated(Plain::padded().rules, &[sample(4, 13, 2, Fields::new())])
        .unwrap_err()
        .to_string();
    assert_eq!(message, "image 4: thirteen wide");
    let mut empty = sample(4, 2, 2, Fields::new());
    empty.images.clear();
    assert!(
        collated(Plain::padded().rules, &[empty])
            .unwrap_err()
            .to_string()
            .contains("image 4")
    );
}

#[test]
fn a_region_determines_the_shape() {
    use cvhost_plugin_api::data::Optional;
    use cvhost_plugin_api::data::Region;
    let mut cropped = sample(0, 8, 8, detections(&[], &[]));
    cropped.region = Optional::some(Region {
        x: 1.0,
        y: 2.0,
        width: 12.2,
        height: 0.0,
        angle: 0.0,
    });
    // The test's input processor rejects a width of 13, which is the region's width, rounded up.
    let error = collated(Plain::padded().rules, &[cropped])
        .unwrap_err()
        .to_string();
    assert!(error.contains("thirteen wide"), "{error}");
}
