use super::*;
use crate::testing::{Plain, detections, pattern};
use cvhost::config::LastBatch;
use cvhost_plugin_api::abi::Input_TO;
use cvhost_plugin_api::abi::{PrepareArgsRef, ShapeArgsRef};
use cvhost_plugin_api::abi_stable::erased_types::TD_Opaque;
use cvhost_plugin_api::abi_stable::std_types::RResult::ROk;
use cvhost_plugin_api::data::{
    ArrayMut, CollateRule, DType, ImageSource, List, Prepared, Record, Shape, Text,
};
use cvhost_plugin_api::error::AbiResult;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Synthetic records; one can be set to fail and one to panic. Counts the reads.
#[derive(Default)]
struct Fake {
    count: usize,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
    reads: AtomicUsize,
}

impl Source for Fake {
    fn len(&self) -> usize {
        self.count
    }

    fn name(&self, index: usize) -> Result<String> {
        Ok(format!("image {index}"))
    }

    fn record(&self, index: usize) -> Result<Record> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.fails_at == Some(index) {
            return Err(Error::input("no annotation"));
        }
        if self.panics_at == Some(index) {
            panic!("out of cheese");
        }
        // Later records are faster, so that workers overtake each other.
        thread::sleep(Duration::from_millis(if index.is_multiple_of(3) { 3 } else { 0 }));
        Ok(Record {
            name: format!("image {index}").into(),
            images: vec![ImageSource::decoded(pattern(40 + index as u32 % 5, 32))].into(),
            fields: detections(&[[4., 4., 20., 24.]], &[index as i64]),
            ..Default::default()
        })
    }
}

fn loader(source: Fake, options: LoaderOptions) -> (Loader, Arc<Fake>) {
    let source = Arc::new(source);
    (
        Loader::new(source.clone(), Arc::new(Plain::padded().boxed()), options).unwrap(),
        source,
    )
}

fn training(threads: usize) -> LoaderOptions {
    let augment = Augmentations {
        horizontal_flip: cvhost::config::Probability::Chance(0.5),
        rotation: 10.0,
        random_resize: Some([0.8, 1.2]),
        // Uses partner records, on whichever worker.
        mosaic: cvhost::config::Probability::Chance(0.3),
        mixup: cvhost::config::Probability::Chance(0.3),
        ..Default::default()
    };
    LoaderOptions {
        order: OrderOptions {
            batch_size: 4,
            shuffle_seed: Some(11),
            ..Default::default()
        },
        threads,
        prefetch: 3,
        augment: Some(augment),
        train: true,
        ..Default::default()
    }
}

/// Records in order, with this batch size.
fn by(batch_size: usize) -> OrderOptions {
    OrderOptions {
        batch_size,
        ..Default::default()
    }
}

fn batches(loader: &Loader, epoch: u64, skip: usize) -> Vec<HostBatch> {
    loader.epoch(epoch, skip).map(Result::unwrap).collect()
}

fn indices(batches: &[HostBatch]) -> Vec<u64> {
    batches.iter().flat_map(HostBatch::indices).collect()
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let (inline, _) = loader(
        Fake {
            count: 30,
            ..Default::default()
        },
        training(0),
    );
    let expected = batches(&inline, 5, 0);
    assert_eq!(expected.len(), 8);
    for threads in [1, 2, 5] {
        let (threaded, _) = loader(
            Fake {
                count: 30,
                ..Default::default()
            },
            training(threads),
        );
        assert_eq!(batches(&threaded, 5, 0), expected, "{threads} threads");
    }
}

#[test]
fn every_epoch_has_every_record_once_in_a_new_order() {
    let (loader, _) = loader(
        Fake {
            count: 30,
            ..Default::default()
        },
        training(2),
    );
    let (first, second) = (indices(&batches(&loader, 0, 0)), indices(&batches(&loader, 1, 0)));
    assert_ne!(first, second);
    for mut order in [first, second] {
        order.sort_unstable();
        assert_eq!(order, (0..30).collect::<Vec<u64>>());
    }
}

#[test]
fn skipping_yields_the_remaining_batches_of_the_same_epoch() {
    let (loader, _) = loader(
        Fake {
            count: 30,
            ..Default::default()
        },
        training(2),
    );
    assert_eq!(batches(&loader, 3, 5), batches(&loader, 3, 0)[5..]);
    assert!(batches(&loader, 3, 99).is_empty());
}

#[test]
fn without_a_seed_records_are_in_order_and_targets_unchanged() {
    let options = LoaderOptions {
        order: by(4),
        threads: 2,
        prefetch: 2,
        ..Default::default()
    };
    let (loader, source) = loader(
        Fake {
            count: 6,
            ..Default::default()
        },
        options,
    );
    let all = batches(&loader, 9, 0);
    assert_eq!(indices(&all), (0..6).collect::<Vec<u64>>());
    assert_eq!(all[1].targets[1], source.record(5).unwrap().fields);
    assert_eq!(all[1].names, ["image 4", "image 5"]);
}

#[test]
fn augmentation_does_not_affect_the_records_own_targets() {
    let (loader, source) = loader(
        Fake {
            count: 8,
            ..Default::default()
        },
        training(1),
    );
    let all = batches(&loader, 0, 0);
    let mut changed = 0;
    for batch in &all {
        for (i, index) in batch.indices().into_iter().enumerate() {
            assert_eq!(batch.targets[i], source.record(index as usize).unwrap().fields);
        }
        let boxes = batch
            .items
            .iter()
            .find(|i| i.name == "boxes")
            .unwrap()
            .data
            .elements::<f64>();
        changed += boxes.chunks(4).filter(|b| *b != [4., 4., 20., 24.]).count();
    }
    assert!(changed >= 6, "{changed} of 8 boxes moved");
}

#[test]
fn the_last_batch_is_dropped_on_request() {
    let options = LoaderOptions {
        order: OrderOptions {
            last_batch: LastBatch::Drop,
            ..by(4)
        },
        ..Default::default()
    };
    let (dropping, _) = loader(
        Fake {
            count: 11,
            ..Default::default()
        },
        options.clone(),
    );
    assert_eq!((dropping.batches(), batches(&dropping, 0, 0).len()), (2, 2));
    let (keeping, _) = loader(
        Fake {
            count: 11,
            ..Default::default()
        },
        LoaderOptions {
            order: by(4),
            ..options
        },
    );
    assert_eq!((keeping.batches(), batches(&keeping, 0, 0)[2].len()), (3, 3));
    let (empty, _) = loader(
        Fake::default(),
        LoaderOptions {
            threads: 2,
            ..Default::default()
        },
    );
    assert_eq!((empty.batches(), batches(&empty, 0, 0).len()), (0, 0));
}

#[test]
fn a_failing_record_ends_the_epoch_after_the_good_batches() {
    for threads in [0, 3] {
        let source = Fake {
            count: 20,
            fails_at: Some(9),
            ..Default::default()
        };
        let options = LoaderOptions {
            order: by(2),
            threads,
            prefetch: 4,
            ..Default::default()
        };
        let (loader, _) = loader(source, options);
        let all: Vec<_> = loader.epoch(0, 0).collect();
        assert_eq!(all.len(), 5, "{threads} threads");
        assert!(all[..4].iter().all(Result::is_ok));
        assert_eq!(
            all[4].as_ref().unwrap_err().to_string(),
            "record 9: no annotation"
        );
    }
}

#[test]
fn a_broken_file_is_named_with_its_record() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello").unwrap();
    let path = file.path().to_str().unwrap();
    let record = Record {
        name: "image 3".into(),
        images: vec![ImageSource::file(path)].into(),
        ..Default::default()
    };
    let loader = Loader::new(
        Arc::new(vec![record]),
        Arc::new(Plain::padded().boxed()),
        LoaderOptions::default(),
    );
    let message = loader
        .unwrap()
        .epoch(0, 0)
        .next()
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with(&format!("image 3: {path}: not an image")),
        "{message}"
    );
}

#[test]
fn a_panic_becomes_an_error() {
    for threads in [0, 1, 3] {
        let source = Fake {
            count: 20,
            panics_at: Some(4),
            ..Default::default()
        };
        let options = LoaderOptions {
            order: by(2),
            threads,
            prefetch: 4,
            ..Default::default()
        };
        let (loader, _) = loader(source, options);
        let all: Vec<_> = loader.epoch(0, 0).collect();
        let message = all.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(
            all.len() == 3 && message.contains("batch 2") && message.contains("out of cheese"),
            "{message}"
        );
    }
}

#[test]
fn prefetch_limits_reading_ahead() {
    let options = LoaderOptions {
        order: by(2),
        threads: 8,
        prefetch: 3,
        ..Default::default()
    };
    let (loader, source) = loader(
        Fake {
            count: 100,
            ..Default::default()
        },
        options,
    );
    let mut epoch = loader.epoch(0, 0);
    thread::sleep(Duration::from_millis(150));
    assert_eq!(source.reads.load(Ordering::SeqCst), 3 * 2);
    epoch.next().unwrap().unwrap();
    thread::sleep(Duration::from_millis(150));
    assert_eq!(source.reads.load(Ordering::SeqCst), 4 * 2);
}

#[test]
fn dropping_an_epoch_stops_its_workers() {
    let options = LoaderOptions {
        order: by(2),
        threads: 4,
        prefetch: 4,
        ..Default::default()
    };
    let (loader, source) = loader(
        Fake {
            count: 1000,
            ..Default::default()
        },
        options,
    );
    let mut epoch = loader.epoch(0, 0);
    epoch.next().unwrap().unwrap();
    drop(epoch);
    drop(loader);
    let start = Instant::now();
    while Arc::strong_count(&source) > 1 {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "threads still hold the source"
        );
        thread::sleep(Duration::from_millis(5));
    }
    assert!(source.reads.load(Ordering::SeqCst) < 40);
}

#[test]
fn mixed_batches_do_not_depend_on_the_number_of_workers() {
    use cvhost_plugin_api::data::{Array, Role};
    let record = |index: usize| Record {
        images: vec![ImageSource::decoded(pattern(8, 8))].into(),
        fields: Fields::new().with(
            "classes",
            Role::DISTRIBUTION,
            Array::vector(&[(index % 2) as f32, (1 - index % 2) as f32]),
        ),
        ..Record::default()
    };
    let records: Vec<Record> = (0..11).map(record).collect();
    let made = |threads: usize, mixing| {
        let rules = vec![CollateRule::stack("pixel_values"), CollateRule::stack("classes")];
        let options = LoaderOptions {
            augment: None,
            mixing,
            ..training(threads)
        };
        let loader = Loader::new(
            Arc::new(records.clone()),
            Arc::new(Plain { rules }.boxed()),
            options,
        )
        .unwrap();
        batches(&loader, 1, 0)
    };
    let mixing = Mixing::new(0.5, 0.5);
    assert_eq!(made(0, mixing), made(3, mixing));
    assert_ne!(made(0, mixing), made(0, None));
}

/// Records with images of 8 × 8 pixels; those of the `broken` records can't be read.
fn with_broken(count: usize, broken: &[usize]) -> Arc<Vec<Record>> {
    let record = |index: usize| Record {
        name: format!("image {index}").into(),
        images: vec![if broken.contains(&index) {
            ImageSource::encoded(b"not an image".to_vec())
        } else {
            ImageSource::decoded(pattern(8, 8))
        }]
        .into(),
        fields: detections(&[], &[]),
        ..Default::default()
    };
    Arc::new((0..count).map(record).collect())
}

fn skipping(order: OrderOptions, train: bool, threads: usize) -> LoaderOptions {
    LoaderOptions {
        order,
        threads,
        prefetch: 2,
        train,
        broken_files: BrokenFiles::Skip,
        ..Default::default()
    }
}

#[test]
fn an_evaluation_skips_broken_images() {
    for threads in [0, 2] {
        let source = with_broken(9, &[1, 4, 5]);
        let input = Arc::new(Plain::padded().boxed());
        let loader = Loader::new(source, input, skipping(by(2), false, threads)).unwrap();
        for _ in 0..2 {
            let all = batches(&loader, 0, 0);
            let sizes: Vec<usize> = all.iter().map(HostBatch::len).collect();
            // The third batch is empty.
            assert_eq!(sizes, [1, 2, 2, 1]);
            assert_eq!(indices(&all), [0, 2, 3, 6, 7, 8]);
        }
        assert_eq!(loader.broken().count(), 3);
    }
}

#[test]
fn in_training_broken_images_are_replaced_by_others() {
    let order = OrderOptions {
        shuffle_seed: Some(4),
        ..by(3)
    };
    let made = |threads| {
        let input = Arc::new(Plain::padded().boxed());
        let options = skipping(order, true, threads);
        batches(
            &Loader::new(with_broken(9, &[1, 4]), input, options).unwrap(),
            2,
            0,
        )
    };
    let all = made(0);
    assert_eq!(all.iter().map(HostBatch::len).collect::<Vec<_>>(), [3, 3, 3]);
    assert!(indices(&all).iter().all(|i| ![1, 4].contains(i)));
    assert_eq!(made(3), all);
}

#[test]
fn training_on_broken_images_only_is_an_error() {
    let input = Arc::new(Plain::padded().boxed());
    let options = skipping(by(2), true, 2);
    let loader = Loader::new(with_broken(3, &[0, 1, 2]), input, options).unwrap();
    let error = loader.epoch(0, 0).next().unwrap().unwrap_err();
    assert!(error.to_string().contains("3 images in a row"), "{error}");
}

#[test]
fn an_invalid_annotation_is_never_skipped() {
    let source = Fake {
        count: 4,
        fails_at: Some(1),
        ..Default::default()
    };
    let (loader, _) = loader(source, skipping(by(1), false, 0));
    assert!(loader.epoch(0, 0).nth(1).unwrap().is_err());
}

#[test]
fn augmentation_ends_at_the_given_epoch() {
    let (loader, source) = loader(
        Fake {
            count: 8,
            ..Default::default()
        },
        training(0),
    );
    let loader = loader.unchanged_from(2);
    let unchanged = |epoch| {
        batches(&loader, epoch, 0)
            .iter()
            .flat_map(|batch| {
                let boxes = batch.items.iter().find(|i| i.name == "boxes").unwrap();
                boxes.data.elements::<f64>().to_vec()
            })
            .eq([4., 4., 20., 24.].repeat(source.len()))
    };
    assert!(!unchanged(1) && unchanged(2));
}

/// Prepares squares with this side length for every image.
struct Square(u64);

impl cvhost_plugin_api::abi::Input for Square {
    fn shape(&self, _args: ShapeArgsRef) -> AbiResult<Shape> {
        ROk(Shape::new("pixel_values", DType::F32, &[3, self.0, self.0]))
    }

    fn prepare(&self, _args: PrepareArgsRef<'_>, _out: ArrayMut<'_>) -> AbiResult<Prepared> {
        ROk(Prepared::default())
    }

    fn collate(&self) -> AbiResult<List<CollateRule>> {
        ROk(vec![CollateRule::stack("pixel_values")].into())
    }

    fn config_json(&self) -> AbiResult<Text> {
        ROk("{}".into())
    }

    fn stride(&self) -> AbiResult<u64> {
        ROk(0)
    }
}

#[test]
fn each_batch_uses_one_of_the_input_sizes() {
    let square = |side| Arc::new(Input_TO::from_value(Square(side), TD_Opaque));
    let sizes = vec![square(4), square(16)];
    let options = LoaderOptions {
        augment: None,
        ..training(2)
    };
    let loader = Loader::with_sizes(with_broken(40, &[]), square(8), sizes, options).unwrap();
    let sides = |epoch| -> Vec<u64> {
        let all = batches(&loader, epoch, 0);
        all.iter().map(|batch| batch.items[0].dims[3]).collect()
    };
    let first = sides(0);
    assert!(first.contains(&4) && first.contains(&16) && !first.contains(&8));
    assert_eq!(sides(0), first);
    assert_ne!(sides(1), first);
}

#[test]
fn building_one_by_one_and_all_at_once_yields_the_same_batches() {
    // A vanishing probability: the draws are the same, but the sizes count as unknown in advance.
    let unknown = |crop: f64| {
        let mut options = training(2);
        if let Some(augment) = &mut options.augment {
            augment.random_crop = cvhost::config::Probability::Chance(crop);
        }
        let (loader, _) = loader(
            Fake {
                count: 30,
                ..Default::default()
            },
            options,
        );
        batches(&loader, 4, 0)
    };
    assert_eq!(unknown(0.0), unknown(1e-300));
}

/// A record with a JPEG of this size and a box over its left half.
fn jpeg(width: u32, height: u32) -> Record {
    let image = pattern(width, height);
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode(&image.pixels, width, height, image::ExtendedColorType::Rgb8)
        .unwrap();
    Record {
        images: vec![ImageSource::encoded(bytes)].into(),
        fields: detections(&[[0.0, 0.0, f64::from(width) / 2.0, f64::from(height)]], &[1]),
        ..Default::default()
    }
}

#[test]
fn scaled_decoding_applies_to_training_but_not_to_evaluation() {
    let sample = |train, side, cache| {
        let options = LoaderOptions {
            scaled_decode: true,
            train,
            cache,
            ..Default::default()
        };
        let input = Arc::new(Input_TO::from_value(Square(side), TD_Opaque));
        let loader = Loader::new(Arc::new(vec![jpeg(320, 256)]), input, options).unwrap();
        loader.sample(0, 0).unwrap();
        let (sample, own) = loader.sample(1, 0).unwrap();
        let box_of = |fields: &Fields| fields.require("boxes").unwrap().to_rows::<4>().unwrap()[0];
        assert_eq!(box_of(&own), [0.0, 0.0, 160.0, 256.0]);
        let image = &sample.images[0];
        ((image.width, image.height), box_of(&sample.fields))
    };
    for cache in [0, 1 << 20] {
        let quarter = ((80, 64), [0.0, 0.0, 40.0, 64.0]);
        assert_eq!(sample(true, 60, cache), quarter);
        assert_eq!(sample(true, 65, cache), ((160, 128), [0.0, 0.0, 80.0, 128.0]));
        let whole = ((320, 256), [0.0, 0.0, 160.0, 256.0]);
        assert_eq!(sample(true, 200, cache), whole);
        assert_eq!(sample(false, 60, cache), whole);
    }
}

/// A source whose records don't arrive, as on an unresponsive disk.
struct Stuck;

impl Source for Stuck {
    fn len(&self) -> usize {
        2
    }

    fn name(&self, index: usize) -> Result<String> {
        Ok(format!("image {index}"))
    }

    fn record(&self, index: usize) -> Result<Record> {
        if thread::current()
            .name()
            .is_some_and(|name| name.starts_with("loader-"))
        {
            thread::sleep(Duration::from_secs(20));
        }
        Ok(Record {
            name: format!("image {index}").into(),
            ..Default::default()
        })
    }
}

#[test]
fn a_stuck_batch_is_an_error_that_names_its_images() {
    let options = LoaderOptions {
        threads: 1,
        timeout: Some(Duration::from_millis(50)),
        order: OrderOptions {
            batch_size: 2,
            ..OrderOptions::default()
        },
        ..LoaderOptions::default()
    };
    let loader = Loader::new(Arc::new(Stuck), Arc::new(Plain::padded().boxed()), options).unwrap();
    let started = Instant::now();
    let text = loader.epoch(0, 0).next().unwrap().unwrap_err().to_string();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(text.contains("image 0") && text.contains("image 1"), "{text}");
    assert!(text.contains("data.loader_timeout"), "{text}");
}

#[test]
fn shards_partition_the_batches_and_even_shards_are_equal() {
    let shard = |rank, even| Shard { rank, size: 3, even };
    let numbers = |rank, even, batches| -> Vec<usize> {
        let shard = shard(rank, even);
        (0..shard.count(batches))
            .map(|index| shard.number(index))
            .collect()
    };
    let all = |even, batches| [0, 1, 2].map(|rank| numbers(rank, even, batches));
    assert_eq!(all(false, 8), [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
    assert_eq!(all(true, 8), [vec![0, 3], vec![1, 4], vec![2, 5]]);
    assert_eq!(Shard::ALL.count(8), 8);
    assert_eq!(Shard::ALL.number(5), 5);
}
