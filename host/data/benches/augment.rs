//! Measures the cost of each augmentation for an image of 640x480, compared with a plain copy of it
//! and with decoding its JPEG file.
//!
//! `cargo test -p cvhost-data --bench augment` prints milliseconds per sample on one thread: the
//! mean over rounds, which alternate between all cases, so that a busy machine affects them
//! equally. `AUGMENT_ROUNDS` sets the number of rounds; the default of two keeps the tests fast.
//! Arguments after `--` select cases by parts of their names.

use cvhost::config::{Augmentations, ColorJitter, Probability};
use cvhost::error::Result;
use cvhost_data::augment::{Context, apply};
use cvhost_data::{Random, decode};
use cvhost_plugin_api::data::{Array, Fields, ImageSource, Role, Sample};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

const COPY: &str = "a copy";
/// Samples per round.
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
    println!("{:?}, milliseconds per sample", sample.images[0]);

    let decoding: Case<'_> = ("decode the JPEG", Box::new(|_| decode(&source).map(drop)));
    let mut cases = vec![decoding];
    for (name, augmentations) in augmentations() {
        let sample = &sample;
        let run = move |number| {
            let mut augmented = sample.clone();
            augment(&mut augmented, sample, &augmentations, number)?;
            std::hint::black_box(augmented);
            Ok(())
        };
        cases.push((name, Box::new(run)));
    }
    // The copy is the baseline.
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    cases.retain(|(name, _)| *name == COPY || only.is_empty() || only.iter().any(|o| name.contains(o)));
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for _ in 0..rounds {
        for ((_, run), times) in cases.iter().zip(&mut times) {
            let start = cpu_seconds();
            (0..SAMPLES).try_for_each(run)?;
            times.push((cpu_seconds() - start) * 1e3 / SAMPLES as f64);
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
        println!("{name:32} {mean:7.3}  {:+7.3} relative to the copy", mean - copy);
    }
    Ok(())
}

/// CPU time of this thread in seconds, which excludes other threads on the machine; wall-clock time
/// if `/proc` is unavailable.
fn cpu_seconds() -> f64 {
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
