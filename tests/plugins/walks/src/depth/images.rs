//! Synthetic views: a floor that extends to the horizon, with posts on it. Distant parts fade into
//! fog, which gives a network a cue.

use crate::shared::random::Random;
use cvhost_plugin_api::data::Image;

pub const WIDTH: u32 = 64;
pub const HEIGHT: u32 = 48;
/// The depth where nothing is in the way, in metres.
const FARTHEST: f64 = 20.0;
/// Distance in metres at which a colour has faded to a third.
const FOG: f64 = 8.0;

/// A view and its depths in metres, row-major; 0 where the sensor measured nothing.
pub fn view(split: &str, index: usize) -> (Image, Vec<f32>) {
    let mut random = Random::new(split, index);
    let horizon = random.uniform(14.0..22.0);
    let height = random.uniform(0.7..1.3);
    let mut posts: Vec<(f64, f64, f64, [u8; 3])> = Vec::new();
    for _ in 0..random.whole(2..6) {
        let colour = if random.probability(0.5) {
            [150, 60, 50]
        } else {
            [50, 70, 150]
        };
        posts.push((
            random.uniform(2.0..14.0),
            random.uniform(0.0..64.0),
            random.uniform(8.0..16.0),
            colour,
        ));
    }
    // Nearer posts are drawn over farther ones.
    posts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut image = Image::filled(WIDTH, HEIGHT, [0; 3]);
    let mut depths = Vec::new();
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let below = f64::from(y) + 0.5 - horizon;
            let floor = if below > 0.0 {
                (height * 40.0 / below).min(FARTHEST)
            } else {
                FARTHEST
            };
            let mut seen = (
                floor,
                if below > 0.0 {
                    [90, 110, 70]
                } else {
                    [120, 120, 120]
                },
            );
            for (away, centre, width, colour) in &posts {
                let foot = horizon + height * 40.0 / away;
                let wide = (f64::from(x) + 0.5 - centre).abs() < width / away * 2.0;
                if wide && f64::from(y) < foot && f64::from(y) > foot - 90.0 / away {
                    seen = (*away, *colour);
                }
            }
            let clear = (-seen.0 / FOG).exp();
            let faded = seen
                .1
                .map(|c| (f64::from(c) * clear + 235.0 * (1.0 - clear)) as u8);
            image.set_pixel(x, y, random.near(faded, 3));
            depths.push(seen.0 as f32);
        }
    }
    for _ in 0..random.whole(1..4) {
        let (left, top) = (random.whole(0..56) as u32, random.whole(0..42) as u32);
        for y in top..top + 6 {
            for x in left..left + 8 {
                if let Some(depth) = depths.get_mut((y * WIDTH + x) as usize) {
                    *depth = 0.0;
                }
            }
        }
    }
    (image, depths)
}
