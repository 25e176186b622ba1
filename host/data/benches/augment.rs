//! What each augmentation costs a picture of 640x480, beside a plain copy of it and the decoding of its JPEG file.
//!
//! `cargo test -p cvhost-data --bench augment` prints milliseconds a sample on one thread: the median of the rounds, which
//! alternate between all cases, so that a busy machine slows them alike. `AUGMENT_ROUNDS` says how many there are; two by
//! default, so that the tests stay fast.

use cvhost::config::{Augmentations, ColorJitter, Probability};
use cvhost_data::augment::{Context, apply};
use cvhost_data::{Random, decode};
use cvhost_plugin_api::data::{Array, Fields, PictureSource, Role, Sample};
use std::path::Path;
use std::time::Instant;

/// Samples a round.
const SAMPLES: u64 = 40;

type Case<'a> = (&'a str, Box<dyn Fn(u64) + 'a>);

fn main() {
    let rounds = std::env::var("AUGMENT_ROUNDS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(2);
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bccd/images/train/BloodImage_00001.jpg");
    let source = PictureSource::file(file.display().to_string());
    let sample = sample(&source);
    println!("{:?}, milliseconds a sample", sample.pictures[0]);

    let decoding: Case<'_> = ("decode the JPEG", Box::new(|_| drop(decode(&source).unwrap())));
    let mut cases = vec![decoding];
    for (name, augmentations) in augmentations() {
        let sample = &sample;
        let run = move |number| {
            let mut changed = sample.clone();
            augment(&mut changed, sample, &augmentations, number);
            std::hint::black_box(changed);
        };
        cases.push((name, Box::new(run)));
    }
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for ((_, run), times) in cases.iter().zip(&mut times) {
            let start = Instant::now();
            (0..SAMPLES).for_each(run);
            times.push(start.elapsed().as_secs_f64() * 1e3 / SAMPLES as f64);
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    let copy = medians.get(1).copied().unwrap_or_default();
    for ((name, _), median) in cases.iter().zip(&medians) {
        println!("{name:32} {median:7.3}  {:+7.3} to the copy", median - copy);
    }
}

fn augment(sample: &mut Sample, partner: &Sample, augmentations: &Augmentations, number: u64) {
    let context = Context {
        input_edge: &|_, _| Ok(480),
        partner: &|_| Ok(partner.clone()),
    };
    apply(sample, augmentations, &mut Random::new(1, 0, number), &context).unwrap();
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The picture with a dozen boxes.
fn sample(source: &PictureSource) -> Sample {
    let boxes: Vec<[f64; 4]> = (0..12)
        .map(|i| f64::from(i))
        .map(|i| {
            [
                20.0 + 40.0 * i,
                10.0 + 30.0 * i,
                110.0 + 40.0 * i,
                100.0 + 30.0 * i,
            ]
        })
        .collect();
    let labels: Vec<i64> = (0..12).collect();
    Sample {
        pictures: vec![decode(source).unwrap()].into(),
        fields: Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&boxes))
            .with("class_labels", Role::COLUMN, Array::vector(&labels)),
        train: true,
        ..Sample::default()
    }
}

fn augmentations() -> Vec<(&'static str, Augmentations)> {
    let off = Augmentations::default();
    let always = Probability::Chance(1.0);
    let jitter = ColorJitter {
        brightness: 0.2,
        contrast: 0.2,
        saturation: 0.2,
        hue: 0.1,
    };
    vec![
        ("a copy", off),
        (
            "horizontal_flip",
            Augmentations {
                horizontal_flip: always,
                ..off
            },
        ),
        (
            "vertical_flip",
            Augmentations {
                vertical_flip: always,
                ..off
            },
        ),
        (
            "rotation: 10",
            Augmentations {
                rotation: 10.0,
                ..off
            },
        ),
        (
            "random_resize: [0.8, 1.25]",
            Augmentations {
                random_resize: Some([0.8, 1.25]),
                ..off
            },
        ),
        (
            "random_resize: [1.25, 1.25]",
            Augmentations {
                random_resize: Some([1.25, 1.25]),
                ..off
            },
        ),
        (
            "random_crop",
            Augmentations {
                random_crop: always,
                ..off
            },
        ),
        (
            "perspective",
            Augmentations {
                perspective: always,
                ..off
            },
        ),
        ("blur", Augmentations { blur: always, ..off }),
        (
            "mosaic (decoded partners)",
            Augmentations {
                mosaic: always,
                ..off
            },
        ),
        ("mixup (decoded partner)", Augmentations { mixup: always, ..off }),
        (
            "brightness_contrast",
            Augmentations {
                brightness_contrast: always,
                ..off
            },
        ),
        (
            "hue_saturation",
            Augmentations {
                hue_saturation: always,
                ..off
            },
        ),
        (
            "color_jitter",
            Augmentations {
                color_jitter: Some(jitter),
                ..off
            },
        ),
        (
            "the usual recipe",
            Augmentations {
                horizontal_flip: Probability::Chance(0.5),
                perspective: Probability::Chance(0.1),
                brightness_contrast: Probability::Chance(0.5),
                hue_saturation: Probability::Chance(0.1),
                ..off
            },
        ),
    ]
}
