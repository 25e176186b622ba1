//! Combined samples: the number and positions of instances, and what is rejected.

use super::*;
use cvhost::config::Probability;
use cvhost_plugin_api::data::{Array, Field, Fields, Image, Region, Role};
use std::cell::Cell;

const ALWAYS: Probability = Probability::Chance(1.0);

fn mosaic() -> Augmentations {
    Augmentations {
        mosaic: ALWAYS,
        ..Augmentations::default()
    }
}

fn mixup() -> Augmentations {
    Augmentations {
        mixup: ALWAYS,
        ..Augmentations::default()
    }
}

fn copy_paste() -> Augmentations {
    Augmentations {
        copy_paste: ALWAYS,
        ..Augmentations::default()
    }
}

fn without(mut sample: Sample, name: &str) -> Sample {
    let retained = sample
        .fields
        .items
        .iter()
        .filter(|f| f.name != name)
        .cloned()
        .collect::<Vec<_>>();
    sample.fields.items = retained.into();
    sample
}

/// A single-colour image and a numbered object that fills it; without keypoints, which might be
/// cropped.
fn whole(width: u32, height: u32, colour: [u8; 3], number: i64) -> Sample {
    let (w, h) = (f64::from(width), f64::from(height));
    let ring = [[0.0, 0.0], [w, 0.0], [w, h], [0.0, h]].map(|[x, y]| [0.0, 0.0, x, y]);
    without(
        object(width, height, colour, number, [0, 0, width, height]),
        "keypoints",
    )
    .and(Field::new("polygons", Role::POLYGONS, Array::rows(&ring)))
}

/// A single-colour image and a numbered object at `place` as box, mask, and keypoint at its centre.
fn object(width: u32, height: u32, colour: [u8; 3], number: i64, place: [u32; 4]) -> Sample {
    let b = place.map(f64::from);
    let inside = |x, y| (place[0]..place[2]).contains(&x) && (place[1]..place[3]).contains(&y);
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let mask: Vec<u8> = pixels.map(|(x, y)| u8::from(inside(x, y))).collect();
    let dims = [1, u64::from(height), u64::from(width)];
    Sample {
        name: format!("image {number}").into(),
        images: vec![Image::filled(width, height, colour)].into(),
        fields: Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&[b]))
            .with("masks", Role::MASKS, Array::new(&dims, &mask).unwrap())
            .with(
                "keypoints",
                Role::KEYPOINTS,
                Array::new(&[1, 1, 3], &[(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0, 2.0]).unwrap(),
            )
            .with("numbers", Role::COLUMN, Array::vector(&[number]))
            .with("words", Role::TEXTS, Array::texts(&[format!("number {number}")]))
            .with("image_id", Role::OPAQUE, Array::vector(&[number])),
        ..Sample::default()
    }
}

trait With {
    fn and(self, field: Field) -> Self;
}

impl With for Sample {
    fn and(mut self, field: Field) -> Self {
        self.fields = self.fields.and(field);
        self
    }
}

fn applied(
    sample: Sample,
    augmentations: &Augmentations,
    seed: u64,
    partner: impl Fn(i64) -> Sample,
) -> Result<Sample> {
    let drawn = Cell::new(0);
    let next = |_: &mut Random| {
        drawn.set(drawn.get() + 1);
        Ok(partner(drawn.get()))
    };
    let context = Context {
        input_edge: &|_, _| Ok(40),
        partner: &next,
    };
    let mut sample = sample;
    apply(&mut sample, augmentations, &mut Random::new(seed, 0, 0), &context)?;
    Ok(sample)
}

fn rejected(sample: Sample, augmentations: &Augmentations) -> String {
    let error = applied(sample.clone(), augmentations, 0, |_| sample.clone()).unwrap_err();
    let help = error.help.clone().unwrap_or_default();
    format!("{error} | {help}")
}

fn rows(sample: &Sample, name: &str) -> Vec<[f64; 4]> {
    sample.fields.require(name).unwrap().to_rows::<4>().unwrap()
}

fn numbers(sample: &Sample) -> Vec<i64> {
    sample
        .fields
        .require("numbers")
        .unwrap()
        .values::<i64>()
        .unwrap()
        .to_vec()
}

fn colour(number: i64) -> [u8; 3] {
    [10, 80, 150, 220].map(|v| [v, 255 - v, v / 2])[number as usize]
}

#[test]
fn a_mosaic_has_four_images_with_their_objects_around_a_point() {
    for seed in 0..30 {
        // Partners of other sizes and aspect ratios.
        let partner = |n: i64| whole(30 + 20 * n as u32, 50, colour(n), n);
        let sample = applied(whole(60, 40, colour(0), 0), &mosaic(), seed, partner).unwrap();
        let image = &sample.images[0];
        assert_eq!((image.width, image.height), (60, 40));
        assert_eq!(numbers(&sample), [0, 1, 2, 3]);
        let texts = sample.fields.require("words").unwrap().as_texts().unwrap();
        assert_eq!(texts, ["number 0", "number 1", "number 2", "number 3"]);
        assert_eq!(
            sample
                .fields
                .require("image_id")
                .unwrap()
                .values::<i64>()
                .unwrap(),
            [0]
        );
        // Integers, except for rounding errors.
        let boxes: Vec<[f64; 4]> = rows(&sample, "boxes").iter().map(|b| b.map(f64::round)).collect();
        let covered: f64 = boxes.iter().map(|b| (b[2] - b[0]) * (b[3] - b[1])).sum();
        assert_eq!(covered, 2400.0, "the four fill the canvas: {boxes:?}");
        let masks = sample.fields.require("masks").unwrap();
        assert_eq!(masks.dims(), [4, 40, 60]);
        let masks = masks.values::<u8>().unwrap();
        let outlines = polygons::bounds(&rows(&sample, "polygons"), 4);
        for (i, b) in boxes.iter().enumerate() {
            assert!(b[2] - b[0] >= 17.0 && b[3] - b[1] >= 11.0, "{b:?}");
            let outline = outlines[i].unwrap();
            assert!(
                outline.iter().zip(b).all(|(o, b)| (o - b).abs() < 1e-9),
                "{outline:?} {b:?}"
            );
            for y in 0..40u32 {
                for x in 0..60u32 {
                    let inside = (b[0]..b[2]).contains(&f64::from(x)) && (b[1]..b[3]).contains(&f64::from(y));
                    assert_eq!(masks[i * 2400 + (y * 60 + x) as usize], u8::from(inside));
                    assert!(
                        !inside || image.pixel(x, y) == Some(colour(i as i64)),
                        "{seed}: {x} {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_mosaic_composes_maps_by_quarter_and_mixes_distributions_by_area() {
    let of = |n: i64| Sample {
        images: vec![Image::filled(60, 40, colour(n))].into(),
        fields: Fields::new()
            .with(
                "classes",
                Role::LABEL_MAP,
                Array::new(&[40, 60], &[n as u8; 2400]).unwrap(),
            )
            .with(
                "depth",
                Role::DENSE_MAP,
                Array::new(&[40, 60], &[n as f32; 2400]).unwrap(),
            )
            .with(
                "kinds",
                Role::DISTRIBUTION,
                Array::vector(&[0, 1, 2, 3].map(|k| f32::from(u8::from(k == n)))),
            ),
        ..Sample::default()
    };
    let sample = applied(of(0), &mosaic(), 3, of).unwrap();
    let classes = sample.fields.require("classes").unwrap().values::<u8>().unwrap();
    let depth = sample.fields.require("depth").unwrap().values::<f32>().unwrap();
    for (i, class) in classes.iter().enumerate() {
        let pixel = sample.images[0].pixel(i as u32 % 60, i as u32 / 60);
        assert_eq!(pixel, Some(colour(i64::from(*class))));
        assert_eq!(depth[i], f32::from(*class));
    }
    let kinds = sample.fields.require("kinds").unwrap().values::<f32>().unwrap();
    for (number, fraction) in kinds.iter().enumerate() {
        let area = classes.iter().filter(|c| usize::from(**c) == number).count() as f32 / 2400.0;
        assert!((fraction - area).abs() < 1e-6 && area > 0.05, "{kinds:?}");
    }
}

#[test]
fn mixup_blends_two_images_and_has_the_objects_of_both() {
    for seed in 0..20 {
        let kinds = |one: f64| Field::new("kinds", Role::DISTRIBUTION, Array::vector(&[one, 1.0 - one]));
        let own = whole(60, 40, [0; 3], 0).and(kinds(1.0));
        let sample = applied(own, &mixup(), seed, |n| {
            whole(80, 80, [200; 3], n).and(kinds(0.0))
        })
        .unwrap();
        assert_eq!(numbers(&sample), [0, 1]);
        assert_eq!(rows(&sample, "boxes"), [[0.0, 0.0, 60.0, 40.0]; 2]);
        assert_eq!(sample.fields.require("masks").unwrap().dims(), [2, 40, 60]);
        let [value, ..] = sample.images[0].pixel(30, 20).unwrap();
        assert_eq!(sample.images[0], Image::filled(60, 40, [value; 3]));
        assert!((20..180).contains(&value), "{value}");
        let kinds = sample.fields.require("kinds").unwrap().to_f64().unwrap();
        assert!(
            (200.0 * kinds[1] - f64::from(value)).abs() <= 0.5,
            "{kinds:?} {value}"
        );
    }
}

#[test]
fn pasted_objects_cover_the_others() {
    let mut gone = 0;
    for seed in 0..60 {
        let own = object(60, 40, [10; 3], 0, [5, 5, 25, 25]);
        let sample = applied(own, &copy_paste(), seed, |n| {
            object(60, 40, [200; 3], n, [10, 10, 40, 35])
        })
        .unwrap();
        let masks = sample.fields.require("masks").unwrap().values::<u8>().unwrap();
        let boxes = rows(&sample, "boxes");
        let numbers = numbers(&sample);
        assert_eq!(numbers.last(), Some(&1), "at least one object is pasted");
        let pasted = &masks[(numbers.len() - 1) * 2400..];
        for (i, covered) in pasted.iter().enumerate() {
            let pixel = sample.images[0].pixel(i as u32 % 60, i as u32 / 60);
            assert_eq!(pixel, Some([if *covered == 1 { 200 } else { 10 }; 3]));
        }
        if numbers.len() == 1 {
            gone += 1;
            continue;
        }
        let below = &masks[..2400];
        assert!(
            below.iter().zip(pasted).all(|(a, b)| a + b <= 1),
            "one object per pixel"
        );
        assert_eq!(masks::bounds(below, 60).map(|b| b.map(f64::from)), Some(boxes[0]));
        assert_eq!(
            masks::bounds(pasted, 60).map(|b| b.map(f64::from)),
            Some(boxes[1])
        );
        // The keypoint at (15, 15) is covered by the object unless that was mirrored away.
        let visibility = sample.fields.require("keypoints").unwrap().to_f64().unwrap()[2];
        assert_eq!(visibility == 1.0, pasted[15 * 60 + 15] == 1);
    }
    assert_eq!(gone, 0);
}

#[test]
fn covered_objects_are_removed() {
    let own = without(object(60, 40, [10; 3], 0, [12, 12, 20, 20]), "keypoints");
    let sample = applied(own, &copy_paste(), 1, |n| whole(60, 40, [200; 3], n)).map(|s| numbers(&s));
    // The partner has polygons, which the sample lacks; they aren't required.
    assert_eq!(sample.unwrap(), [1]);
}

#[test]
fn polygons_are_sufficient_for_pasting() {
    let with = |colour: [u8; 3], number: i64, ring: [[f64; 2]; 3]| Sample {
        images: vec![Image::filled(60, 40, colour)].into(),
        fields: Fields::new()
            .with(
                "polygons",
                Role::POLYGONS,
                Array::rows(&ring.map(|[x, y]| [0.0, 0.0, x, y])),
            )
            .with("numbers", Role::COLUMN, Array::vector(&[number])),
        ..Sample::default()
    };
    let own = with([10; 3], 0, [[2.0, 2.0], [20.0, 2.0], [2.0, 20.0]]);
    let sample = applied(own, &copy_paste(), 4, |n| {
        with([200; 3], n, [[30.0, 10.0], [50.0, 10.0], [30.0, 30.0]])
    });
    let sample = sample.unwrap();
    assert_eq!(numbers(&sample), [0, 1]);
    let polygons = rows(&sample, "polygons");
    assert_eq!(
        polygons.iter().map(|r| r[0]).collect::<Vec<_>>(),
        [0., 0., 0., 1., 1., 1.]
    );
    let pasted = sample.images[0]
        .pixels
        .as_chunks::<3>()
        .0
        .iter()
        .filter(|p| **p == [200; 3])
        .count();
    assert!((170..=230).contains(&pasted), "{pasted} of 200 pixels");
}

#[test]
fn copy_paste_leaves_records_with_boxes_alone_unchanged() {
    let boxes = |n: i64| Sample {
        images: vec![Image::filled(60, 40, colour(n))].into(),
        fields: Fields::new().with("boxes", Role::BOXES, Array::rows(&[[1.0, 1.0, 20.0, 20.0]])),
        ..Sample::default()
    };
    assert_eq!(applied(boxes(0), &copy_paste(), 0, boxes).unwrap(), boxes(0));
}

#[test]
fn images_without_objects_can_be_combined_with_others() {
    let empty = |n: i64| {
        let mut sample = without(object(60, 40, colour(n), n, [5, 5, 25, 25]), "keypoints");
        sample.fields = rows::select(&sample.fields, &[false]).unwrap();
        sample
    };
    for augmentations in [mosaic(), mixup(), copy_paste()] {
        let none = applied(empty(0), &augmentations, 0, empty).unwrap();
        assert!(numbers(&none).is_empty());
        let some = applied(empty(0), &augmentations, 0, |n| whole(60, 40, colour(n), n)).unwrap();
        assert!(numbers(&some).contains(&1), "{augmentations:?}");
    }
}

#[test]
fn incompatible_fields_are_rejected_with_the_key_and_the_field() {
    let plain = || object(60, 40, [0; 3], 0, [5, 5, 25, 25]);
    let map = |role| Field::new("map", role, Array::new(&[40, 60], &[0u8; 2400]).unwrap());
    let classes = || Field::new("classes", Role::DISTRIBUTION, Array::vector(&[1.0f32, 0.0]));
    let text = || plain().and(Field::new("caption", Role::TEXT, Array::text("two cells")));
    let all = [
        ("mosaic", mosaic()),
        ("mixup", mixup()),
        ("copy_paste", copy_paste()),
    ];
    for (key, augmentations) in &all {
        let key = format!("data.augmentations.{key}");
        let message = rejected(text(), augmentations);
        assert!(
            message.contains(&key) && message.contains("`caption`"),
            "{message}"
        );
        assert!(message.contains(&format!("set {key} to 0")), "{message}");
        let message = rejected(plain().and(map(Role::LABEL_MAP)), augmentations);
        assert!(message.contains(&key) && message.contains("`map`"), "{message}");
        let two = Sample {
            images: vec![Image::filled(60, 40, [0; 3]); 2].into(),
            ..plain()
        };
        assert!(rejected(two, augmentations).contains("2 images"));
        let region = Region {
            x: 0.0,
            y: 0.0,
            width: 5.0,
            height: 5.0,
            angle: 0.0,
        };
        let part = Sample {
            region: Some(region).into(),
            ..plain()
        };
        assert!(rejected(part, augmentations).contains("regions"));
    }
    let only = |field: Field| Sample {
        images: vec![Image::filled(60, 40, [0; 3])].into(),
        fields: Fields::new().and(field),
        ..Sample::default()
    };
    assert!(rejected(only(classes()), &mixup()).contains("model.mixup_alpha"));
    assert!(rejected(only(map(Role::DENSE_MAP)), &mixup()).contains("`map`"));
    assert!(rejected(plain().and(classes()), &copy_paste()).contains("`classes`"));
    assert!(rejected(only(map(Role::LABEL_MAP)), &copy_paste()).contains("no objects"));
}

#[test]
fn partners_lacking_a_field_are_named() {
    let error = applied(whole(60, 40, [0; 3], 0), &mixup(), 0, |n| {
        object(60, 40, [0; 3], n, [0, 0, 9, 9])
    });
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("image 1") && message.contains("`polygons`"),
        "{message}"
    );
}
