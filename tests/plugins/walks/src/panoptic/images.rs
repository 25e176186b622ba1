//! Synthetic scenes: sky over grass, with balls and crates, and occasionally an unlabelled smudge.

use super::VOID;
use crate::shared::canvas::{disc, paint};
use crate::shared::random::Random;
use cvhost_plugin_api::data::Image;

pub const WIDTH: u32 = 64;
pub const HEIGHT: u32 = 48;
/// The classes, in label order.
pub const NAMES: [&str; 4] = ["sky", "grass", "ball", "crate"];
pub const THINGS: [bool; 4] = [false, false, true, true];

/// A scene with its segments.
pub struct Scene {
    pub image: Image,
    /// `[HEIGHT, WIDTH]`, row-major: the segment's number, or void.
    pub map: Vec<i32>,
    /// The class of each segment.
    pub labels: Vec<i64>,
}

pub fn scene(split: &str, index: usize) -> Scene {
    let mut random = Random::new(split, index);
    let mut scene = Scene {
        image: Image::filled(WIDTH, HEIGHT, [0; 3]),
        map: Vec::new(),
        labels: vec![0, 1],
    };
    let horizon = random.whole(12..30) as u32;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (label, colour) = if y < horizon {
                (0, [110, 160, 220])
            } else {
                (1, [70, 140, 60])
            };
            scene.image.set_pixel(x, y, random.near(colour, 12));
            scene.map.push(label);
        }
    }
    // One position in each of four columns, so that things touch, but rarely.
    for column in 0..4 {
        let centre = [
            f64::from(column) * 16.0 + random.uniform(6.0..10.0),
            random.uniform(8.0..40.0),
        ];
        let size = random.uniform(4.0..7.5);
        if random.probability(0.25) {
            continue;
        }
        let (label, colour, pixels): (i64, _, Vec<_>) = if random.probability(0.5) {
            (2, [220, 70, 60], disc(centre, size).collect())
        } else {
            let [left, top] = centre.map(|c| (c - size) as i32);
            let side = (size * 1.7) as i32;
            let rows = (top..top + side).flat_map(|y| (left..left + side).map(move |x| (x, y)));
            (3, [190, 150, 40], rows.collect())
        };
        let number = scene.labels.len() as i32;
        scene.labels.push(label);
        scene.put(&pixels, number, random.near(colour, 20));
    }
    if random.probability(0.3) {
        let smudge: Vec<_> = disc([random.uniform(8.0..56.0), random.uniform(8.0..40.0)], 3.0).collect();
        scene.put(&smudge, VOID, [128, 128, 128]);
    }
    scene.remove_hidden();
    scene
}

impl Scene {
    fn put(&mut self, pixels: &[(i32, i32)], number: i32, colour: [u8; 3]) {
        paint(&mut self.image, pixels.iter().copied(), colour);
        for &(x, y) in pixels {
            let inside = (0..WIDTH as i32).contains(&x) && (0..HEIGHT as i32).contains(&y);
            if let Some(value) = self
                .map
                .get_mut((y * WIDTH as i32 + x) as usize)
                .filter(|_| inside)
            {
                *value = number;
            }
        }
    }

    /// Renumbers the segments, without those that are completely hidden.
    fn remove_hidden(&mut self) {
        let visible: Vec<i32> = (0..self.labels.len() as i32)
            .filter(|n| self.map.contains(n))
            .collect();
        let label = |n: &i32| self.labels.get(*n as usize).copied();
        self.labels = visible.iter().filter_map(label).collect();
        for value in &mut self.map {
            *value = visible.iter().position(|n| n == value).map_or(VOID, |n| n as i32);
        }
    }
}
