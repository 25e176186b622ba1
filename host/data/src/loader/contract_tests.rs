//! Guarantees of the loader to tasks, adapters and evaluators.

use super::*;
use crate::Subset;
use crate::testing::{Plain, pattern};
use cvhost_plugin_api::data::{
    Array, Field, FieldDecoder, FieldSource, ImageSource, Record, RecordArgs, Role,
};
use std::sync::Mutex;

/// A source of records with one field, which records the arguments it is called with.
struct Recorded {
    field: Field,
    args: Mutex<Vec<RecordArgs>>,
}

impl Recorded {
    fn new(field: Field) -> Arc<Self> {
        Arc::new(Recorded {
            field,
            args: Mutex::default(),
        })
    }
}

impl Source for Recorded {
    fn len(&self) -> usize {
        6
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.record_in(&RecordArgs::at(index as u64))
    }

    fn record_in(&self, args: &RecordArgs) -> Result<Record> {
        self.args.lock().unwrap().push(*args);
        Ok(Record {
            images: vec![ImageSource::decoded(pattern(8, 8))].into(),
            fields: Fields::new().and(self.field.clone()),
            ..Default::default()
        })
    }
}

fn pixels_only() -> Arc<InputBox> {
    let rules = vec![cvhost_plugin_api::data::CollateRule::stack("pixel_values")];
    Arc::new(Plain { rules }.boxed())
}

fn label() -> Field {
    Field::new("label", Role::OPAQUE, Array::vector(&[1i64]))
}

fn seeded(augment: Option<Augmentations>) -> LoaderOptions {
    LoaderOptions {
        order: OrderOptions {
            shuffle_seed: Some(5),
            ..Default::default()
        },
        augment,
        train: true,
        ..Default::default()
    }
}

#[test]
fn each_record_is_read_with_the_epoch_and_its_own_seed() {
    let seeds = |epoch: u64| {
        let source = Recorded::new(label());
        let loader = Loader::new(source.clone(), pixels_only(), seeded(None)).unwrap();
        let samples: Vec<u64> = (0..6).map(|i| loader.sample(epoch, i).unwrap().0.seed).collect();
        let args = source.args.lock().unwrap().clone();
        assert!(args.iter().all(|a| a.epoch == epoch));
        (args.iter().map(|a| a.seed).collect::<Vec<_>>(), samples)
    };
    let (first, samples) = seeds(3);
    assert_eq!(
        seeds(3),
        (first.clone(), samples.clone()),
        "seeds are reproducible"
    );
    let mut all = [first.clone(), samples, seeds(4).0].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 18, "records, epochs, task and adapter differ");
}

#[test]
fn ids_are_those_of_the_whole_data_set() {
    let subset = Arc::new(Subset::new(Recorded::new(label()), vec![1, 4]));
    let loader = Loader::new(subset, pixels_only(), LoaderOptions::default()).unwrap();
    let ids: Vec<u64> = loader
        .epoch(0, 0)
        .flat_map(|batch| batch.unwrap().indices())
        .collect();
    assert_eq!(ids, [1, 4]);
}

#[test]
fn targets_are_retained_only_for_an_evaluator() {
    for keep_targets in [true, false] {
        let options = LoaderOptions {
            keep_targets,
            ..Default::default()
        };
        let loader = Loader::new(Recorded::new(label()), pixels_only(), options).unwrap();
        let batch = loader.epoch(0, 0).next().unwrap().unwrap();
        assert_eq!(batch.targets[0].get("label").is_some(), keep_targets);
    }
}

#[test]
fn a_lazy_field_is_decoded_by_the_loader_and_transformed_with_the_image() {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    let values: Vec<u8> = (0..64).map(|i| i % 8).collect();
    encoder.write_header().unwrap().write_image_data(&values).unwrap();
    let source = FieldSource::encoded(png, FieldDecoder::LABEL_MAP);
    let field = Field::lazy("map", Role::LABEL_MAP, source);
    let mirrored = Augmentations {
        horizontal_flip: cvhost::config::Probability::Chance(1.0),
        ..Augmentations::default()
    };
    let loader = Loader::new(Recorded::new(field), pixels_only(), seeded(Some(mirrored))).unwrap();
    let (sample, own) = loader.sample(0, 0).unwrap();
    let row = |fields: &Fields| fields.get("map").unwrap().values::<i64>().unwrap()[..8].to_vec();
    assert_eq!(row(&own), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(row(&sample.fields), [7, 6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn an_unknown_role_that_moves_is_rejected_with_augmentation() {
    let later = Role(99 | 1 << 17);
    let field = || Field::new("later", later, Array::vector(&[1.0f32]));
    let flips = Augmentations {
        horizontal_flip: cvhost::config::Probability::Chance(0.5),
        ..Augmentations::default()
    };
    let loader = Loader::new(Recorded::new(field()), pixels_only(), seeded(Some(flips))).unwrap();
    let error = loader.sample(0, 0).unwrap_err().to_string();
    assert!(error.contains("`later`") && error.contains("role 99"), "{error}");
    let unchanged = Loader::new(Recorded::new(field()), pixels_only(), seeded(None)).unwrap();
    assert!(unchanged.sample(0, 0).is_ok());
}
