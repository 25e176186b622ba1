//! Text on pictures.

use ab_glyph::{Font, FontRef, PxScale};
use cvhost::error::{Error, Result};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_filled_rect_mut, draw_text_mut, text_size};
use imageproc::rect::Rect;

/// DejaVu Sans Bold with Latin, Greek and Cyrillic letters; its licence lies beside it.
const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-Bold-subset.ttf");

/// Letters of one size.
pub struct Letters {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Letters {
    /// Letters of `size` pixels, from line to line.
    pub fn new(size: f32) -> Result<Self> {
        let font =
            FontRef::try_from_slice(FONT).map_err(|e| Error::failed(format!("the built-in font: {e}")))?;
        Ok(Letters {
            font,
            scale: PxScale::from(size),
        })
    }

    /// The height of a line in pixels.
    pub fn height(&self) -> u32 {
        self.scale.y.ceil() as u32
    }

    /// The width of a text in pixels.
    pub fn width(&self, text: &str) -> u32 {
        text_size(self.scale, &self.font, text).0
    }

    /// The text with `?` for letters that the font lacks, cut with `…` to at most `width` pixels; empty where nothing fits.
    pub fn fitting(&self, text: &str, width: u32) -> String {
        let known = |c: char| if self.font.glyph_id(c).0 == 0 { '?' } else { c };
        let mut letters: Vec<char> = text.chars().map(known).collect();
        let whole: String = letters.iter().collect();
        if self.width(&whole) <= width {
            return whole;
        }
        while letters.pop().is_some() {
            let cut: String = letters.iter().chain(&['…']).collect();
            if self.width(&cut) <= width {
                return cut;
            }
        }
        String::new()
    }

    /// Draws a text with its upper left corner at `x`, `y`.
    pub fn draw(&self, picture: &mut RgbImage, x: i32, y: i32, text: &str, colour: [u8; 3]) {
        draw_text_mut(picture, Rgb(colour), x, y, self.scale, &self.font, text);
    }

    /// Draws black text on a ground of this colour, with its upper left corner at `x`, `y`; wholly inside the picture if there
    /// is room, and cut to its width.
    pub fn draw_tag(&self, picture: &mut RgbImage, x: i32, y: i32, text: &str, ground: [u8; 3]) {
        let text = self.fitting(text, picture.width().saturating_sub(4));
        if text.is_empty() {
            return;
        }
        let (width, height) = (self.width(&text) + 4, self.height() + 1);
        let x = x.min(picture.width() as i32 - width as i32).max(0);
        let y = y.min(picture.height() as i32 - height as i32).max(0);
        draw_filled_rect_mut(picture, Rect::at(x, y).of_size(width, height), Rgb(ground));
        self.draw(picture, x + 2, y, &text, [0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_the_width_and_unknown_letters_marked() {
        let letters = Letters::new(12.0).unwrap();
        assert_eq!(letters.fitting("細胞 cell", 500), "?? cell");
        let cut = letters.fitting("a long name of a file.jpg", 60);
        assert!(cut.ends_with('…') && letters.width(&cut) <= 60, "{cut}");
        assert_eq!(letters.fitting("abc", 1), "");
        assert_eq!(letters.fitting("", 1), "");
    }

    #[test]
    fn a_tag_stays_inside_and_has_letters() {
        let letters = Letters::new(12.0).unwrap();
        let mut picture = RgbImage::new(60, 30);
        letters.draw_tag(&mut picture, 55, -7, "cell", [255, 0, 0]);
        let ground = picture.pixels().filter(|p| p.0 == [255, 0, 0]).count();
        let dark = picture
            .enumerate_pixels()
            .filter(|(_, y, p)| *y < 13 && p.0[0] < 100)
            .count();
        assert!(ground > 100 && dark > 20, "{ground} {dark}");
        for (width, height) in [(1, 1), (3, 40), (40, 3)] {
            letters.draw_tag(&mut RgbImage::new(width, height), 0, 0, "cell", [1, 2, 3]);
        }
    }
}
