//! What each augmentation costs an image of 640x480, beside a plain copy of it and the decoding of its JPEG file.
//!
//! `cargo test -p cvhost-data --bench augment` prints milliseconds a sample on one thread: the mean of the rounds, which
//! alternate between all cases, so that a busy machine slows them alike. `AUGMENT_ROUNDS` says how many there are; two by
//! default, so that the tests stay fast. Arguments after `--` are parts of the cases' names that are wanted.

use cvhost::config::{Augmentations, ColorJitter, Probability};
use cvhost::error::Result;
use cvhost_data::augment::{Context, apply};
use cvhost_data::{Random, decode};
use cvhost_plugin_api::data::{Array, Fields, ImageSource, Role, Sample};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

const COPY: &str = "a copy";
/// Samples a round.
const SAMPLES: u64 = 40;

type Case<'a> = (&'a str, Box<dyn Fn(u64) -> Result<()> + 'a>);

fn main() -> Result<()> {
    let rounds = std::env::var("AUGMENT_ROUNDS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(2);
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bccd/images/train/BloodImage_00001.jpg");
    let source = ImageSource::file(file.display().to_string());
    let sample = sample(&source)?;
    println!("{:?}, milliseconds a sample", sample.images[0]);

    let decoding: Case<'_> = ("decode the JPEG", Box::new(|_| decode(&source).map(drop)));
    let mut cases = vec![decoding];
    for (name, augmentations) in augmentations() {
        let sample = &sample;
        let run = move |number| {
            let mut changed = sample.clone();
            augment(&mut changed, sample, &augmentations, number)?;
            std::hint::black_box(changed);
            Ok(())
        };
        cases.push((name, Box::new(run)));
    }
    // The copy is what all others are compared with.
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    cases.retain(|(name, _)| *name == COPY || only.is_empty() || only.iter().any(|o| name.contains(o)));
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for ((_, run), times) in cases.iter().zip(&mut times) {
            let start = worked();
            (0..SAMPLES).try_for_each(run)?;
            times.push((worked() - start) * 1e3 / SAMPLES as f64);
        }
    }
    let means: Vec<f64> = times
        .iter()
        .map(|t| t.iter().sum::<f64>() / t.len().max(1) as f64)
        .collect();
    let copy = cases
        .iter()
        .zip(&means)
        .find(|((name, _), _)| *name == COPY)
        .map_or(0.0, |(_, m)| *m);
    for ((name, _), mean) in cases.iter().zip(&means) {
        println!("{name:32} {mean:7.3}  {:+7.3} to the copy", mean - copy);
    }
    Ok(())
}

/// Seconds that this thread has been on a processor, so that others on the machine don't count; without `/proc`, those that have
/// passed.
fn worked() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.map_or(passed, |n| n / 1e9)
}

fn augment(sample: &mut Sample, partner: &Sample, augmentations: &Augmentations, number: u64) -> Result<()> {
    let context = Context {
        input_edge: &|_, _| Ok(480),
        partner: &|_| Ok(partner.clone()),
    };
    apply(sample, augmentations, &mut Random::new(1, 0, number), &context)
}

/// The image with a dozen boxes.
fn sample(source: &ImageSource) -> Result<Sample> {
    let boxes: Vec<[f64; 4]> = (0..12)
        .map(f64::from)
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
    Ok(Sample {
        images: vec![decode(source)?].into(),
        fields: Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&boxes))
            .with("class_labels", Role::COLUMN, Array::vector(&labels)),
        train: true,
        ..Sample::default()
    })
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
        (COPY, off),
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
