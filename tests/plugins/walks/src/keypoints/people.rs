//! Synthetic images of one to three stick figures that face the viewer. The two hands look the
//! same, and so do the two feet: only their position tells which is the left one, as in
//! photographs. So an adapter learns it only if mirroring swaps them.

use crate::shared::canvas::{disc, line, paint};
use crate::shared::components::bounds;
use crate::shared::random::Random;
use cvhost_plugin_api::data::Image;

pub const WIDTH: u32 = 96;
pub const HEIGHT: u32 = 64;
pub const KEYPOINTS: [&str; 7] = [
    "head",
    "neck",
    "hip",
    "left_hand",
    "right_hand",
    "left_foot",
    "right_foot",
];
/// For each keypoint, the one in its place in a mirror image.
pub const MIRROR: [u64; 7] = [0, 1, 2, 4, 3, 6, 5];
/// Sigmas as in COCO, where an ankle has 0.089 and an eye 0.025.
pub const SIGMAS: [f64; 7] = [0.05; 7];
pub const SKELETON: [[usize; 2]; 6] = [[0, 1], [1, 2], [1, 3], [1, 4], [2, 5], [2, 6]];

/// A person: the box (xyxy) of all its pixels, and x, y, visibility of each keypoint.
pub struct Person {
    pub bounds: [f64; 4],
    pub keypoints: [[f64; 3]; 7],
}

pub fn people(split: &str, index: usize) -> (Image, Vec<Person>) {
    let mut random = Random::new(split, index);
    let mut image = Image::filled(WIDTH, HEIGHT, [0; 3]);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            image.set_pixel(x, y, random.near([70, 85, 80], 14));
        }
    }
    let mut people = Vec::new();
    for place in 0..3 {
        if random.probability(0.7) || (place == 2 && people.is_empty()) {
            let centre = 16.0 + 32.0 * f64::from(place) + random.uniform(-1.5..1.5);
            people.push(person(&mut image, &mut random, centre));
        }
    }
    (image, people)
}

/// Draws a person centred at column `centre`.
fn person(image: &mut Image, random: &mut Random, centre: f64) -> Person {
    let size = random.uniform(0.75..1.05);
    let top = random.uniform(4.0..12.0);
    let head = [centre + random.uniform(-1.5..1.5), top + 4.0 * size];
    let (neck, hip) = ([centre, top + 10.0 * size], [centre, top + 28.0 * size]);
    // The left hand of somebody who faces the viewer is on the right in the image.
    let mut limb = |side: f64, from: [f64; 2], down: std::ops::Range<f64>| {
        let end = [
            centre + side * random.uniform(6.0..12.0) * size,
            from[1] + random.uniform(down) * size,
        ];
        (from, end)
    };
    let limbs = [
        limb(1.0, neck, -8.0..14.0),
        limb(-1.0, neck, -8.0..14.0),
        limb(1.0, hip, 10.0..17.0),
        limb(-1.0, hip, 10.0..17.0),
    ];
    let (cloth, skin) = (random.near([210, 190, 90], 20), random.near([235, 170, 130], 10));
    let mut drawn: Vec<(i32, i32)> = Vec::new();
    let mut put = |pixels: Vec<(i32, i32)>, colour| {
        paint(image, pixels.iter().copied(), colour);
        drawn.extend(pixels);
    };
    put(line(neck, hip, 2.5 * size).collect(), cloth);
    put(line(head, neck, 1.2).collect(), skin);
    for (from, to) in limbs {
        put(line(from, to, 1.2).collect(), cloth);
    }
    put(disc(head, 4.0 * size).collect(), skin);
    let ends = limbs.map(|(_, end)| end);
    for (i, end) in ends.iter().enumerate() {
        put(
            disc(*end, 2.0).collect(),
            if i < 2 { skin } else { [240, 240, 240] },
        );
    }
    let inside = drawn.iter().filter_map(|(x, y)| {
        let (x, y) = (u32::try_from(*x).ok()?, u32::try_from(*y).ok()?);
        (x < WIDTH && y < HEIGHT).then_some((y * WIDTH + x) as usize)
    });
    let bounds = bounds(inside, WIDTH as usize).unwrap_or_default();
    // Annotators occasionally leave one out.
    let mut point = |[x, y]: [f64; 2]| {
        let there = (0.0..f64::from(WIDTH)).contains(&x) && (0.0..f64::from(HEIGHT)).contains(&y);
        if there && random.probability(0.95) {
            [x, y, 2.0]
        } else {
            [0.0; 3]
        }
    };
    let [left_hand, right_hand, left_foot, right_foot] = ends;
    Person {
        bounds,
        keypoints: [head, neck, hip, left_hand, right_hand, left_foot, right_foot].map(&mut point),
    }
}
