//! Synthetic lines of text: two to five characters, dark on light or light on dark.

use super::font::{CHARSET, GLYPH_HEIGHT, GLYPH_WIDTH, draw};
use crate::shared::random::Random;
use cvhost_plugin_api::data::Image;

/// Width and height of one pixel of a glyph, in pixels of the image.
const SCALE: i32 = 2;
pub const HEIGHT: u32 = 20;

/// A line and its text.
pub fn line(split: &str, index: usize) -> (Image, String) {
    let mut random = Random::new(split, index);
    let characters: Vec<char> = CHARSET.chars().collect();
    let mut text = String::new();
    for _ in 0..random.whole(2..6) {
        text.extend(characters.get(random.whole(0..characters.len() as i32) as usize));
    }
    let (mut ink, mut paper) = ([40, 40, 60], [225, 220, 205]);
    if random.probability(0.3) {
        std::mem::swap(&mut ink, &mut paper);
    }
    let mut left = random.whole(2..6);
    let mut places = Vec::new();
    for _ in text.chars() {
        let top = random.whole(1..HEIGHT as i32 - GLYPH_HEIGHT * SCALE);
        places.push([left, top]);
        left += GLYPH_WIDTH * SCALE + random.whole(2..6);
    }
    let width = (left + random.whole(0..4)) as u32;
    let mut image = Image::filled(width, HEIGHT, [0; 3]);
    for y in 0..HEIGHT {
        for x in 0..width {
            image.set_pixel(x, y, random.near(paper, 12));
        }
    }
    for (character, place) in text.chars().zip(places) {
        draw(&mut image, character, place, SCALE, random.near(ink, 12));
    }
    (image, text)
}
