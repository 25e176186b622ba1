use super::map::{Change, Map};
use super::*;
use crate::testing::pattern;
use cvhost::config::Probability;
use cvhost_plugin_api::data::{Array, Fields, Image, Region, Role};

const WIDTH: u32 = 60;
const HEIGHT: u32 = 40;
const USUAL: Filter = Filter {
    min_area: 25.0,
    min_visibility: 0.1,
};

pub(super) fn map_of(change: Change) -> Map {
    Map::of(&[change], [WIDTH, HEIGHT])
}

pub(super) fn transform(fields: &Fields, map: &Map) -> Result<Fields> {
    targets::transform(fields, map, &USUAL)
}

fn change(sample: &mut Sample, change: Change) -> Result<()> {
    let map = Map::of(&[change], size_of(sample)?);
    geometry::change(sample, &map, &USUAL)
}

/// A context without partners.
pub(super) fn alone<'a>(input_edge: &'a dyn Fn(u32, u32) -> Result<u64>) -> Context<'a> {
    Context {
        input_edge,
        partner: &|_| panic!("no partner expected"),
    }
}

fn rectangle_mask([x1, y1, x2, y2]: [u32; 4]) -> Vec<u8> {
    let inside = |x, y| (x1..x2).contains(&x) && (y1..y2).contains(&y);
    (0..HEIGHT)
        .flat_map(|y| (0..WIDTH).map(move |x| u8::from(inside(x, y))))
        .collect()
}

/// Rectangles as boxes, masks, polygons, keypoints at their centres, and numbers; plus fields that
/// aren't per instance.
fn all_roles(rectangles: &[[u32; 4]]) -> Fields {
    let boxes: Vec<[f64; 4]> = rectangles.iter().map(|r| r.map(f64::from)).collect();
    let masks: Vec<u8> = rectangles.iter().flat_map(|r| rectangle_mask(*r)).collect();
    let polygon = |(i, &[x1, y1, x2, y2]): (usize, &[f64; 4])| {
        [[x1, y1], [x2, y1], [x2, y2], [x1, y2]].map(|[x, y]| [i as f64, 0.0, x, y])
    };
    let polygons: Vec<[f64; 4]> = boxes.iter().enumerate().flat_map(polygon).collect();
    let keypoints: Vec<f64> = boxes
        .iter()
        .flat_map(|b| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0, 2.0])
        .collect();
    let count = rectangles.len() as u64;
    let plane = [u64::from(HEIGHT), u64::from(WIDTH)];
    let labels: Vec<i64> = (0..i64::from(WIDTH * HEIGHT)).collect();
    Fields::new()
        .with("boxes", Role::BOXES, Array::rows(&boxes))
        .with(
            "masks",
            Role::MASKS,
            Array::new(&[count, plane[0], plane[1]], &masks).unwrap(),
        )
        .with("polygons", Role::POLYGONS, Array::rows(&polygons))
        .with(
            "keypoints",
            Role::KEYPOINTS,
            Array::new(&[count, 1, 3], &keypoints).unwrap(),
        )
        .with(
            "numbers",
            Role::COLUMN,
            Array::vector(&(0..count as i64).collect::<Vec<_>>()),
        )
        .with("labels", Role::LABEL_MAP, Array::new(&plane, &labels).unwrap())
        .with(
            "depth",
            Role::DENSE_MAP,
            Array::new(&plane, &vec![1.5f32; (WIDTH * HEIGHT) as usize]).unwrap(),
        )
        .with("caption", Role::TEXT, Array::text("two cells"))
        .with("later", Role(4711), Array::rows(&[[1.0f64, 2.0]]))
}

fn random_rectangles(random: &mut Random) -> Vec<[u32; 4]> {
    let rectangle = |random: &mut Random| {
        let (x, y) = (random.below(40) as u32, random.below(25) as u32);
        [
            x,
            y,
            x + 6 + random.below(14) as u32,
            y + 6 + random.below(9) as u32,
        ]
    };
    (0..1 + random.below(5)).map(|_| rectangle(random)).collect()
}

fn sample(rectangles: &[[u32; 4]]) -> Sample {
    let region = Region {
        x: 5.0,
        y: 6.0,
        width: 20.0,
        height: 10.0,
        angle: 0.3,
    };
    Sample {
        images: vec![pattern(WIDTH, HEIGHT)].into(),
        fields: all_roles(rectangles),
        region: Some(region).into(),
        train: true,
        ..Default::default()
    }
}

fn rows(fields: &Fields, name: &str) -> Vec<[f64; 4]> {
    fields.get(name).unwrap().to_rows::<4>().unwrap()
}

/// The bounding box of each mask.
fn mask_boxes(fields: &Fields) -> Vec<[f64; 4]> {
    let array = fields.get("masks").unwrap();
    let (height, width) = (array.dims()[1] as usize, array.dims()[2] as usize);
    let plane_box = |plane: &[u8]| {
        let points = || {
            (0..height * width)
                .filter(|&i| plane[i] != 0)
                .map(|i| (i % width, i / width))
        };
        let x = || points().map(|p| p.0);
        let y = || points().map(|p| p.1);
        [
            x().min().unwrap(),
            y().min().unwrap(),
            x().max().unwrap() + 1,
            y().max().unwrap() + 1,
        ]
        .map(|v| v as f64)
    };
    array
        .values::<u8>()
        .unwrap()
        .chunks(height * width)
        .map(plane_box)
        .collect()
}

fn some_changes(random: &mut Random) -> Vec<Change> {
    let factor = random.uniform(0.6, 1.8);
    let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
    vec![
        Change::MirrorX,
        Change::MirrorY,
        Change::Crop {
            left: random.below(20) as u32,
            top: random.below(15) as u32,
            width: 31,
            height: 22,
        },
        Change::zoom(WIDTH, HEIGHT, factor, places),
        Change::Rotate {
            radians: random.uniform(-1.0, 1.0),
        },
        Change::Perspective {
            corners: [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
                .map(|corner| corner.map(|v: f64| (v - random.uniform(0.0, 0.1)).abs())),
        },
    ]
}

#[test]
fn mirroring_twice_restores_the_original() {
    let mut random = Random::new(1, 0, 0);
    for _ in 0..20 {
        let original = sample(&random_rectangles(&mut random));
        for mirror in [Change::MirrorX, Change::MirrorY] {
            let mut twice = original.clone();
            change(&mut twice, mirror).unwrap();
            assert_ne!(twice.images, original.images);
            assert_ne!(twice.fields, original.fields);
            change(&mut twice, mirror).unwrap();
            assert_eq!(twice.images, original.images);
            // All coordinates are integers or halves, so nothing is rounded.
            assert_eq!(twice.fields, original.fields);
            let (region, back) = (
                original.region.into_option().unwrap(),
                twice.region.into_option().unwrap(),
            );
            assert!((region.angle - back.angle).abs() < 1e-12 && (region.x - back.x).abs() < 1e-12);
        }
    }
}

#[test]
fn boxes_masks_polygons_and_keypoints_agree_after_every_transformation() {
    let mut random = Random::new(2, 0, 0);
    let mut seen = 0;
    for _ in 0..100 {
        let fields = all_roles(&random_rectangles(&mut random));
        for change in some_changes(&mut random) {
            let map = map_of(change);
            let moved = transform(&fields, &map).unwrap();
            let boxes = rows(&moved, "boxes");
            let count = boxes.len() as u64;
            let [scale_x, scale_y] = map.scales([WIDTH, HEIGHT].map(|v| f64::from(v) / 2.0));
            for name in ["masks", "keypoints", "numbers"] {
                assert_eq!(
                    moved.get(name).unwrap().dims()[0],
                    count,
                    "{name} after {change:?}"
                );
            }
            let polygons = polygons::bounds(&rows(&moved, "polygons"), boxes.len());
            for ((b, mask), polygon) in boxes.iter().zip(mask_boxes(&moved)).zip(polygons) {
                for (i, value) in b.iter().enumerate() {
                    assert!(
                        (value - mask[i]).abs() <= scale_x.max(scale_y),
                        "{change:?}: box {b:?}, mask {mask:?}"
                    );
                    assert!(
                        (value - polygon.unwrap()[i]).abs() <= 1.5,
                        "{change:?}: box {b:?}, polygon {polygon:?}"
                    );
                }
                seen += 1;
            }
            let points = moved.get("keypoints").unwrap().to_f64().unwrap();
            for (point, b) in points.as_chunks::<3>().0.iter().zip(&boxes) {
                let inside = point[0] >= b[0] - 1.5
                    && point[0] <= b[2] + 1.5
                    && point[1] >= b[1] - 1.5
                    && point[1] <= b[3] + 1.5;
                assert!(inside || point[2] == 0.0, "{change:?}: {point:?} {b:?}");
            }
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn images_and_label_maps_are_transformed_alike() {
    // A label map that numbers the pixels shows where each pixel came from, and so does the
    // pattern.
    let mut random = Random::new(3, 0, 0);
    for _ in 0..20 {
        for change_ in some_changes(&mut random).into_iter().take(3) {
            let original = sample(&[]);
            let mut moved = original.clone();
            change(&mut moved, change_).unwrap();
            let labels = moved.fields.get("labels").unwrap();
            let image = &moved.images[0];
            assert_eq!(labels.dims(), [u64::from(image.height), u64::from(image.width)]);
            for (label, pixel) in labels
                .values::<i64>()
                .unwrap()
                .iter()
                .zip(image.pixels.as_chunks::<3>().0)
            {
                let from = original.images[0].pixel((*label % 60) as u32, (*label / 60) as u32);
                assert_eq!(from, Some(*pixel), "{change_:?}");
            }
        }
    }
}

#[test]
fn unknown_roles_and_texts_are_unchanged() {
    let mut random = Random::new(4, 0, 0);
    let fields = all_roles(&[[5, 5, 20, 20]]);
    for change in some_changes(&mut random) {
        let moved = transform(&fields, &map_of(change)).unwrap();
        assert_eq!(moved.get("later"), fields.get("later"));
        assert_eq!(moved.get("caption"), fields.get("caption"));
        let names = |f: &Fields| {
            f.items
                .iter()
                .map(|i| (i.name.to_string(), i.role))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&moved), names(&fields));
    }
}

#[test]
fn instances_are_removed_with_all_their_columns() {
    // Entirely inside; outside; a visible sliver of less than a tenth; a visible corner of less
    // than 25 square pixels; cropped by half.
    let fields = all_roles(&[
        [22, 22, 32, 32],
        [0, 0, 10, 10],
        [2, 22, 21, 30],
        [12, 12, 24, 24],
        [30, 15, 40, 25],
    ]);
    let map = map_of(Change::Crop {
        left: 20,
        top: 20,
        width: 30,
        height: 20,
    });
    let moved = transform(&fields, &map).unwrap();
    assert_eq!(moved.get("numbers").unwrap().values::<i64>().unwrap(), [0, 4]);
    assert_eq!(rows(&moved, "boxes"), [[2., 2., 12., 12.], [10., 0., 20., 5.]]);
    let instances: Vec<f64> = rows(&moved, "polygons").iter().map(|r| r[0]).collect();
    assert_eq!(instances, [0., 0., 0., 0., 1., 1., 1., 1.]);
    assert_eq!(moved.get("masks").unwrap().dims(), [2, 20, 30]);
}

#[test]
fn boxes_alone_are_clipped_with_their_type_and_small_unclipped_ones_are_retained() {
    let boxes = [[1f32, 1., 4., 4.], [0., 0., 60., 40.]];
    let fields = Fields::new().with("boxes", Role::BOXES, Array::rows(&boxes));
    let map = map_of(Change::Crop {
        left: 0,
        top: 0,
        width: 30,
        height: 20,
    });
    let moved = transform(&fields, &map).unwrap();
    assert_eq!(
        moved.get("boxes").unwrap().values::<f32>().unwrap(),
        [1., 1., 4., 4., 0., 0., 30., 20.]
    );
}

#[test]
fn all_instances_of_an_image_may_be_removed() {
    let map = map_of(Change::Crop {
        left: 30,
        top: 20,
        width: 30,
        height: 20,
    });
    let moved = transform(&all_roles(&[[0, 0, 10, 10]]), &map).unwrap();
    assert_eq!(moved.get("boxes").unwrap().dims(), [0, 4]);
    assert_eq!(moved.get("numbers").unwrap().dims(), [0]);
    assert_eq!(moved.get("polygons").unwrap().dims(), [0, 4]);
}

#[test]
fn a_quarter_turn_counter_clockwise_moves_right_to_top() {
    let mut square = Image::filled(20, 20, [0, 0, 0]);
    (0..20).for_each(|y| square.set_pixel(19, y, [255, 0, 0]));
    let mut sample = Sample {
        images: vec![square].into(),
        fields: Fields::new().with("boxes", Role::BOXES, Array::rows(&[[10.0, 0.0, 20.0, 8.0]])),
        region: Some(Region {
            x: 14.0,
            y: 8.0,
            width: 4.0,
            height: 4.0,
            angle: 0.0,
        })
        .into(),
        ..Default::default()
    };
    change(
        &mut sample,
        Change::Rotate {
            radians: std::f64::consts::FRAC_PI_2,
        },
    )
    .unwrap();
    assert_eq!(sample.images[0].pixel(10, 0), Some([255, 0, 0]));
    assert_eq!(sample.images[0].pixel(10, 19), Some([0, 0, 0]));
    let [x1, y1, x2, y2] = rows(&sample.fields, "boxes")[0];
    for (value, expected) in [(x1, 0.0), (y1, 0.0), (x2, 8.0), (y2, 10.0)] {
        assert!(
            (value - expected).abs() < 1e-9,
            "{:?}",
            rows(&sample.fields, "boxes")
        );
    }
    let region = sample.region.into_option().unwrap();
    assert!(
        (region.x - 8.0).abs() < 1e-9 && (region.y - 2.0).abs() < 1e-9,
        "{region:?}"
    );
    assert_eq!(region.angle, 0.0, "the cropped view shows the rotation");
}

#[test]
fn zooming_preserves_the_canvas_and_moves_boxes_with_the_pixels() {
    let mut image = Image::filled(WIDTH, HEIGHT, [0, 0, 0]);
    (10..30).for_each(|y| (20..40).for_each(|x| image.set_pixel(x, y, [255, 255, 255])));
    let boxes = Fields::new().with("boxes", Role::BOXES, Array::rows(&[[20.0, 10.0, 40.0, 30.0]]));
    for factor in [0.5, 0.8, 1.5, 2.0] {
        for place in [0.0, 0.5, 1.0] {
            let mut sample = Sample {
                images: vec![image.clone()].into(),
                fields: boxes.clone(),
                ..Default::default()
            };
            change(&mut sample, Change::zoom(WIDTH, HEIGHT, factor, [place; 2])).unwrap();
            let moved = &sample.images[0];
            assert_eq!((moved.width, moved.height), (WIDTH, HEIGHT));
            let bright = |x: u32, y: u32| moved.pixel(x, y).is_some_and(|p| p == [255; 3]);
            let lit = (0..HEIGHT)
                .flat_map(|y| (0..WIDTH).map(move |x| (x, y)))
                .filter(|&(x, y)| bright(x, y));
            let (xs, ys): (Vec<u32>, Vec<u32>) = lit.unzip();
            let seen = [xs.iter().min(), ys.iter().min(), xs.iter().max(), ys.iter().max()]
                .map(|v| f64::from(*v.unwrap()));
            let b = rows(&sample.fields, "boxes")[0];
            for (i, seen) in seen.into_iter().enumerate() {
                let edge = if i < 2 { seen } else { seen + 1.0 };
                assert!((b[i] - edge).abs() <= 2.5, "{factor} {place}: {b:?} {i} {edge}");
            }
        }
    }
}

fn everything() -> Augmentations {
    Augmentations {
        horizontal_flip: Probability::Chance(0.5),
        vertical_flip: Probability::Chance(0.5),
        rotation: 20.0,
        brightness_contrast: Probability::Chance(0.5),
        hue_saturation: Probability::Chance(0.5),
        color_jitter: Some(ColorJitter {
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
            hue: 0.1,
        }),
        random_crop: Probability::Chance(0.5),
        random_resize: Some([0.5, 1.5]),
        perspective: Probability::Chance(0.5),
        blur: Probability::Chance(0.3),
        ..Augmentations::default()
    }
}

fn applied(augmentations: &Augmentations, seed: u64, epoch: u64) -> Sample {
    let mut sample = sample(&[[5, 5, 20, 20], [30, 10, 50, 30]]);
    apply(
        &mut sample,
        augmentations,
        &mut Random::new(seed, epoch, 0),
        &alone(&|_, _| Ok(80)),
    )
    .unwrap();
    sample
}

#[test]
fn augmentation_depends_only_on_seed_and_epoch() {
    assert_eq!(applied(&everything(), 1, 1), applied(&everything(), 1, 1));
    assert_ne!(applied(&everything(), 1, 1), applied(&everything(), 1, 2));
    assert_ne!(applied(&everything(), 1, 1), applied(&everything(), 2, 1));
    assert_eq!(
        applied(&Augmentations::default(), 1, 1),
        sample(&[[5, 5, 20, 20], [30, 10, 50, 30]])
    );
}

#[test]
fn combined_augmentations_keep_targets_consistent_and_inside() {
    for seed in 0..200 {
        let sample = applied(&everything(), seed, 0);
        let image = &sample.images[0];
        let count = sample.fields.get("numbers").unwrap().count() as u64;
        assert_eq!(sample.fields.get("boxes").unwrap().dims(), [count, 4]);
        assert_eq!(
            sample.fields.get("masks").unwrap().dims(),
            [count, u64::from(image.height), u64::from(image.width)]
        );
        for b in rows(&sample.fields, "boxes") {
            let inside = b[0] >= 0.0
                && b[1] >= 0.0
                && b[2] <= f64::from(image.width)
                && b[3] <= f64::from(image.height);
            assert!(inside && b[2] > b[0] && b[3] > b[1], "{b:?}");
        }
    }
}

#[test]
fn each_key_has_its_effect() {
    let original = sample(&[[5, 5, 20, 20], [30, 10, 50, 30]]);
    let always = Probability::Chance(1.0);
    let off = Augmentations::default();
    let only = |augmentations: Augmentations| applied(&augmentations, 3, 3);

    assert_eq!(
        rows(
            &only(Augmentations {
                horizontal_flip: always,
                ..off
            })
            .fields,
            "boxes"
        )[0],
        [40., 5., 55., 20.]
    );
    assert_eq!(
        rows(
            &only(Augmentations {
                vertical_flip: always,
                ..off
            })
            .fields,
            "boxes"
        )[0],
        [5., 20., 20., 35.]
    );
    let cropped = only(Augmentations {
        random_crop: always,
        ..off
    });
    assert!((30..60).contains(&cropped.images[0].width) && (20..40).contains(&cropped.images[0].height));
    // In pixels: 40 of an input edge of 80 halves all sizes.
    let resized = only(Augmentations {
        random_resize: Some([40.0, 40.0]),
        ..off
    });
    assert_eq!(
        (
            resized.images[0].width,
            rows(&resized.fields, "boxes")[1][2] - rows(&resized.fields, "boxes")[1][0]
        ),
        (60, 10.0)
    );
    let rotated = only(Augmentations {
        rotation: 10.0,
        ..off
    });
    assert!(rotated.fields != original.fields && rotated.images != original.images);
    for colours in [
        Augmentations {
            brightness_contrast: always,
            ..off
        },
        Augmentations {
            hue_saturation: always,
            ..off
        },
        Augmentations {
            color_jitter: Some(ColorJitter {
                brightness: 0.5,
                ..Default::default()
            }),
            ..off
        },
    ] {
        let coloured = only(colours);
        assert!(
            coloured.images != original.images && coloured.fields == original.fields,
            "{colours:?}"
        );
    }
}

#[test]
fn errors_about_wrong_shapes_name_the_field() {
    let map = map_of(Change::MirrorX);
    let wrong = |name: &str, role: Role, array: Array| {
        let error = transform(&Fields::new().with(name, role, array), &map)
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
    };
    wrong("boxes", Role::BOXES, Array::vector(&[1.0]));
    wrong("masks", Role::MASKS, Array::new(&[1, 3, 3], &[0u8; 9]).unwrap());
    wrong("map", Role::LABEL_MAP, Array::new(&[3, 3], &[0i64; 9]).unwrap());
    wrong("points", Role::KEYPOINTS, Array::rows(&[[0.0; 3]]));
    let uneven = Fields::new()
        .with("boxes", Role::BOXES, Array::rows(&[[0.0; 4]]))
        .with("labels", Role::COLUMN, Array::vector(&[1i64, 2]));
    let error = transform(&uneven, &map).unwrap_err().to_string();
    assert!(error.contains("boxes") && error.contains("labels"), "{error}");
    let stray = Fields::new()
        .with("boxes", Role::BOXES, Array::rows(&[[0.0; 4]]))
        .with("outline", Role::POLYGONS, Array::rows(&[[3.0, 0.0, 1.0, 1.0]]));
    assert!(
        transform(&stray, &map)
            .unwrap_err()
            .to_string()
            .contains("outline")
    );
}

#[test]
fn images_of_different_sizes_support_only_colour_augmentations() {
    let mut sample = Sample {
        images: vec![pattern(8, 8), pattern(4, 4)].into(),
        ..Default::default()
    };
    let colours = Augmentations {
        brightness_contrast: Probability::Chance(1.0),
        ..Default::default()
    };
    let flips = Augmentations {
        horizontal_flip: Probability::Chance(1.0),
        ..Default::default()
    };
    let mut random = Random::new(0, 0, 0);
    apply(&mut sample, &colours, &mut random, &alone(&|_, _| Ok(1))).unwrap();
    assert!(
        apply(&mut sample, &flips, &mut random, &alone(&|_, _| Ok(1)))
            .unwrap_err()
            .to_string()
            .contains("8x8 and 4x4")
    );
}
