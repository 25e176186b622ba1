//! Properties of all geometric transformations, alone and combined.

use super::filter::Filter;
use super::map::{Change, Map};
use super::*;
use crate::testing::pattern;
use cvhost::config::Probability;
use cvhost_plugin_api::data::{Array, Fields, Image, Role};
use proptest::prelude::*;

const WIDTH: u32 = 80;
const HEIGHT: u32 = 60;
const KEEP_ALL: Filter = Filter {
    min_area: 0.0,
    min_visibility: 0.0,
};

fn corner_moves() -> impl Strategy<Value = [[f64; 2]; 4]> {
    prop::array::uniform8(0.0f64..0.1)
        .prop_map(|[a, b, c, d, e, f, g, h]| [[a, b], [1.0 - c, d], [1.0 - e, 1.0 - f], [g, 1.0 - h]])
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::MirrorX),
        Just(Change::MirrorY),
        (0u32..20, 0u32..15).prop_map(|(left, top)| Change::Crop {
            left,
            top,
            width: 50,
            height: 40
        }),
        (0.7f64..1.6, prop::array::uniform2(0.0f64..1.0))
            .prop_map(|(factor, places)| Change::zoom(WIDTH, HEIGHT, factor, places)),
        (-180.0f64..180.0).prop_map(|degrees| Change::Rotate {
            radians: degrees.to_radians()
        }),
        corner_moves().prop_map(|corners| Change::Perspective { corners }),
    ]
}

/// Crops only at the end, as they refer to the size before them.
fn any_changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(any_change(), 1..4).prop_filter("a crop comes last", |changes| {
        changes
            .iter()
            .rev()
            .skip(1)
            .all(|c| !matches!(c, Change::Crop { .. }))
    })
}

/// Rectangles with sides of at least 8 pixels.
fn rectangles() -> impl Strategy<Value = Vec<[u32; 4]>> {
    let rectangle = (0u32..60, 0u32..40, 8u32..20, 8u32..20).prop_map(|(x, y, w, h)| [x, y, x + w, y + h]);
    prop::collection::vec(rectangle, 1..5)
}

/// Rectangles as polygons, masks, boxes, and keypoints at the centres, for the given roles, plus a
/// number each.
fn fields(rectangles: &[[u32; 4]], roles: &[Role]) -> Fields {
    let boxes: Vec<[f64; 4]> = rectangles.iter().map(|r| r.map(f64::from)).collect();
    let count = rectangles.len() as u64;
    let mut fields = Fields::new();
    for role in roles {
        fields = match *role {
            Role::BOXES => fields.with("boxes", Role::BOXES, Array::rows(&boxes)),
            Role::POLYGONS => {
                let ring = |(i, &[x1, y1, x2, y2]): (usize, &[f64; 4])| {
                    [[x1, y1], [x2, y1], [x2, y2], [x1, y2]].map(|[x, y]| [i as f64, 0.0, x, y])
                };
                let rows: Vec<[f64; 4]> = boxes.iter().enumerate().flat_map(ring).collect();
                fields.with("polygons", Role::POLYGONS, Array::rows(&rows))
            }
            Role::MASKS => {
                let inside = |r: &[u32; 4], x, y| (r[0]..r[2]).contains(&x) && (r[1]..r[3]).contains(&y);
                let mask = |r: &[u32; 4]| -> Vec<u8> {
                    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
                    pixels.map(|(x, y)| u8::from(inside(r, x, y))).collect()
                };
                let values: Vec<u8> = rectangles.iter().flat_map(mask).collect();
                let dims = [count, u64::from(HEIGHT), u64::from(WIDTH)];
                fields.with("masks", Role::MASKS, Array::new(&dims, &values).unwrap())
            }
            Role::KEYPOINTS => {
                let centre = |b: &[f64; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0, 2.0];
                let values: Vec<f64> = boxes.iter().flat_map(centre).collect();
                fields.with(
                    "keypoints",
                    Role::KEYPOINTS,
                    Array::new(&[count, 1, 3], &values).unwrap(),
                )
            }
            _ => fields,
        };
    }
    let numbers: Vec<i64> = (0..count as i64).collect();
    fields.with("numbers", Role::COLUMN, Array::vector(&numbers))
}

fn rows(fields: &Fields, name: &str) -> Vec<[f64; 4]> {
    fields.require(name).unwrap().to_rows::<4>().unwrap()
}

fn numbers(fields: &Fields) -> Vec<i64> {
    fields
        .require("numbers")
        .unwrap()
        .values::<i64>()
        .unwrap()
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn boxes_masks_polygons_and_keypoints_agree(changes in any_changes(), rectangles in rectangles()) {
        let map = Map::of(&changes, [WIDTH, HEIGHT]);
        let [new_width, new_height] = map.to;
        let all = [Role::POLYGONS, Role::MASKS, Role::BOXES, Role::KEYPOINTS];
        let filter = Filter { min_area: 25.0, min_visibility: 0.1 };
        let moved = targets::transform(&fields(&rectangles, &all), &map, &filter).unwrap();
        let boxes = rows(&moved, "boxes");
        let (width, height) = (f64::from(new_width), f64::from(new_height));
        let polygon_rows = rows(&moved, "polygons");
        let polygon_bounds = polygons::bounds(&polygon_rows, boxes.len());
        let masks = moved.require("masks").unwrap().values::<u8>().unwrap().to_vec();
        let plane = (new_width * new_height) as usize;
        prop_assert_eq!(masks.len(), plane * boxes.len());
        prop_assert_eq!(numbers(&moved).len(), boxes.len());
        let keypoints = moved.require("keypoints").unwrap().to_f64().unwrap();
        let scale = map.area_factor().sqrt().max(1.0);
        for (i, b) in boxes.iter().enumerate() {
            prop_assert!(b[0] >= 0.0 && b[1] >= 0.0 && b[2] <= width && b[3] <= height && b[0] < b[2] && b[1] < b[3]);
            let mask = &masks[i * plane..(i + 1) * plane];
            let by_mask = masks::bounds(mask, new_width as usize).unwrap().map(f64::from);
            let by_polygon = polygon_bounds[i].unwrap();
            for k in 0..4 {
                prop_assert!((b[k] - by_mask[k]).abs() <= 1.5 * scale, "{:?} {:?}", b, by_mask);
                prop_assert!((b[k] - by_polygon[k]).abs() <= 2.5 * scale, "{:?} {:?}", b, by_polygon);
            }
            // The transformed mask equals the rasterized transformed polygon.
            let mut drawn = vec![0u8; plane];
            polygons::draw(&polygon_rows, i, &mut drawn, new_width as usize);
            let differ = drawn.iter().zip(mask).filter(|(a, b)| a != b).count();
            let around = 2.0 * (by_mask[2] - by_mask[0] + by_mask[3] - by_mask[1]);
            prop_assert!(differ as f64 <= around * scale, "{} of {}", differ, around);
            if keypoints[3 * i + 2] > 0.0 {
                let (x, y) = (keypoints[3 * i], keypoints[3 * i + 1]);
                prop_assert!(x >= b[0] - scale && x <= b[2] + scale && y >= b[1] - scale && y <= b[3] + scale);
            }
        }
    }

    #[test]
    fn columns_follow_their_instances(changes in any_changes(), rectangles in rectangles()) {
        let map = Map::of(&changes, [WIDTH, HEIGHT]);
        let before = fields(&rectangles, &[Role::BOXES]);
        let filter = Filter { min_area: 25.0, min_visibility: 0.1 };
        let after = targets::transform(&before, &map, &filter).unwrap();
        for (number, b) in numbers(&after).iter().zip(rows(&after, "boxes")) {
            let alone = fields(&rectangles[*number as usize..][..1], &[Role::BOXES]);
            let moved = targets::transform(&alone, &map, &filter).unwrap();
            prop_assert_eq!(rows(&moved, "boxes"), [b]);
        }
        let (before, after) = (rectangles.len(), numbers(&after).len());
        prop_assert!(map.may_drop_instances() || before == after);
    }

    #[test]
    fn a_map_and_its_inverse_restore_the_original(
        changes in any_changes(), points in prop::collection::vec((0.0f64..80.0, 0.0f64..60.0), 1..20),
    ) {
        let map = Map::of(&changes, [WIDTH, HEIGHT]);
        for (x, y) in points {
            let moved = map.forward.point([x, y]).unwrap();
            let back = map.back.point(moved).unwrap();
            prop_assert!((back[0] - x).abs() < 1e-6 && (back[1] - y).abs() < 1e-6, "{:?}", back);
        }
    }

    #[test]
    fn combined_transformations_equal_consecutive_ones(
        changes in any_changes(), x in 0.0f64..80.0, y in 0.0f64..60.0,
    ) {
        let mut at = [x, y];
        let mut size = [WIDTH, HEIGHT];
        for change in &changes {
            let map = Map::of(&[*change], size);
            at = map.forward.point(at).unwrap();
            size = map.to;
        }
        let map = Map::of(&changes, [WIDTH, HEIGHT]);
        let combined = map.forward.point([x, y]).unwrap();
        prop_assert_eq!(map.to, size);
        prop_assert!((at[0] - combined[0]).abs() < 1e-6 && (at[1] - combined[1]).abs() < 1e-6);
    }

    #[test]
    fn a_crop_retains_an_object_if_there_is_one(
        rectangles in rectangles(), seed: u64, rotation in prop_oneof![Just(0.0f64), 0.0f64..30.0],
        role in prop_oneof![Just(Role::BOXES), Just(Role::MASKS), Just(Role::POLYGONS), Just(Role::KEYPOINTS)],
    ) {
        let augmentations = Augmentations {
            random_crop: Probability::Chance(1.0),
            rotation,
            ..Augmentations::default()
        };
        let with = |rectangles: &[[u32; 4]], augmentations: &Augmentations| {
            let mut sample = Sample {
                images: vec![pattern(WIDTH, HEIGHT)].into(),
                fields: fields(rectangles, &[role]),
                ..Sample::default()
            };
            apply(&mut sample, augmentations, &mut Random::new(seed, 0, 0), &tests::alone(&|_, _| Ok(60))).unwrap();
            sample
        };
        let uncropped = with(&rectangles, &Augmentations { random_crop: Probability::Chance(0.0), ..augmentations });
        let cropped = with(&rectangles, &augmentations);
        prop_assert!(!numbers(&cropped.fields).is_empty() || numbers(&uncropped.fields).is_empty());
        // Without objects there is nothing to retain.
        let empty = with(&[], &augmentations);
        prop_assert!(numbers(&empty.fields).is_empty());
        prop_assert!(empty.images[0].width <= WIDTH);
    }

    #[test]
    fn augmentation_depends_only_on_seed_and_record(seed: u64, record in 0u64..1000) {
        let often = Probability::Chance(0.7);
        let augmentations = Augmentations {
            horizontal_flip: often,
            vertical_flip: often,
            rotation: 30.0,
            perspective: often,
            random_crop: often,
            random_resize: Some([0.5, 1.5]),
            brightness_contrast: often,
            hue_saturation: often,
            color_jitter: Some(ColorJitter { brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 0.2 }),
            blur: often,
            mosaic: often,
            mixup: often,
            copy_paste: often,
            ..Augmentations::default()
        };
        let made = || {
            let roles = [Role::BOXES, Role::MASKS, Role::KEYPOINTS, Role::POLYGONS];
            let sample = |image: Image| Sample {
                images: vec![image].into(),
                fields: fields(&[[10, 10, 40, 30], [50, 20, 70, 50]], &roles),
                ..Sample::default()
            };
            let partner = |random: &mut Random| {
                Ok(sample(Image::filled(WIDTH, HEIGHT, [random.below(256) as u8; 3])))
            };
            let mut sample = sample(pattern(WIDTH, HEIGHT));
            let context = Context { input_edge: &|_, _| Ok(60), partner: &partner };
            apply(&mut sample, &augmentations, &mut Random::new(seed, 1, record), &context).unwrap();
            sample
        };
        let (first, second) = (made(), made());
        prop_assert_eq!(&first, &second);
        let image = &first.images[0];
        for b in rows(&first.fields, "boxes") {
            prop_assert!(b[0] >= 0.0 && b[1] >= 0.0 && b[2] <= f64::from(image.width) && b[3] <= f64::from(image.height));
        }
    }
}

#[test]
fn without_a_filter_only_invisible_instances_are_removed() {
    let map = Map::of(
        &[Change::Crop {
            left: 29,
            top: 0,
            width: 30,
            height: 60,
        }],
        [WIDTH, HEIGHT],
    );
    let before = fields(&[[0, 0, 30, 30], [0, 0, 29, 30]], &[Role::BOXES]);
    let after = targets::transform(&before, &map, &KEEP_ALL).unwrap();
    assert_eq!(numbers(&after), [0]);
    assert_eq!(rows(&after, "boxes"), [[0.0, 0.0, 1.0, 30.0]]);
}

#[test]
fn the_filters_are_configurable() {
    let with = |min_area: f64, min_visibility: f64| {
        let mut sample = Sample {
            images: vec![pattern(WIDTH, HEIGHT)].into(),
            fields: fields(&[[0, 0, 8, 8]], &[Role::BOXES]),
            ..Sample::default()
        };
        let augmentations = Augmentations {
            random_resize: Some([0.5, 0.5]),
            min_area,
            min_visibility,
            ..Augmentations::default()
        };
        apply(
            &mut sample,
            &augmentations,
            &mut Random::new(0, 0, 0),
            &tests::alone(&|_, _| Ok(60)),
        )
        .unwrap();
        numbers(&sample.fields).len()
    };
    assert_eq!(with(16.0, 0.1), 1);
    assert_eq!(with(17.0, 0.1), 0);
}
