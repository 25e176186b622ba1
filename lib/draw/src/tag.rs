//! Text on images.

use crate::palette::text_on;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use cvhost_plugin_api::data::Image;
use cvhost_plugin_api::{PluginError, Result};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_filled_rect_mut, draw_text_mut, text_size};
use imageproc::rect::Rect;

/// DejaVu Sans Bold with Latin, Greek and Cyrillic letters; its licence is next to it.
const FONT: &[u8] = include_bytes!("../assets/DejaVuSans-Bold-subset.ttf");

/// Takes a canvas's pixels for drawing; [`put_back`] returns them.
///
/// # Errors
/// If the number of pixels doesn't match the canvas's size.
pub fn take(canvas: &mut Image) -> Result<RgbImage> {
    let (width, height) = (canvas.width, canvas.height);
    let expected = width as usize * height as usize * 3;
    if canvas.pixels.len() != expected {
        let found = canvas.pixels.len();
        return Err(PluginError::failed(format!(
            "an image of {width}x{height} has {expected} bytes, got {found}"
        )));
    }
    let pixels = std::mem::take(&mut canvas.pixels).into_vec();
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| PluginError::failed(format!("an image of {width}x{height} does not fit into memory")))
}

/// Returns a drawn image to the canvas, which takes on its size.
pub fn put_back(canvas: &mut Image, image: RgbImage) {
    (canvas.width, canvas.height) = image.dimensions();
    canvas.pixels = image.into_raw().into();
}

/// Fills a rectangle of at least one pixel, clipped to the image.
pub fn fill(image: &mut RgbImage, x: i32, y: i32, width: i32, height: i32, colour: [u8; 3]) {
    let (width, height) = (width.max(1) as u32, height.max(1) as u32);
    draw_filled_rect_mut(image, Rect::at(x, y).of_size(width, height), Rgb(colour));
}

/// A font size, for drawing text and tags, which are text on a coloured background.
pub struct Lettering {
    font: FontRef<'static>,
    /// Height of a line, in pixels.
    size: f32,
}

impl Lettering {
    /// Creates a font with a line height of `size` pixels.
    pub fn new(size: f32) -> Result<Self> {
        let font = FontRef::try_from_slice(FONT)
            .map_err(|e| PluginError::failed(format!("the built-in font: {e}")))?;
        Ok(Lettering { font, size })
    }

    /// Truncates a name to at most `max_chars` characters, with `…` if it was truncated, and
    /// replaces characters missing from the font by `?`.
    pub fn name(&self, name: &str, max_chars: usize) -> String {
        let known = |c: char| if self.font.glyph_id(c).0 == 0 { '?' } else { c };
        let mut text: String = name.chars().take(max_chars).map(known).collect();
        if name.chars().count() > max_chars {
            text.push('…');
        }
        text
    }

    /// The height of a line in pixels.
    pub fn height(&self) -> u32 {
        self.size.ceil() as u32
    }

    /// The width of a text in pixels.
    pub fn width(&self, text: &str) -> u32 {
        text_size(PxScale::from(self.size), &self.font, text).0
    }

    /// Truncates a text with `…` to at most `width` pixels, and replaces characters missing from
    /// the font by `?`. Empty if nothing fits.
    pub fn fit(&self, text: &str, width: u32) -> String {
        let mut letters: Vec<char> = self.name(text, usize::MAX).chars().collect();
        let whole: String = letters.iter().collect();
        if self.width(&whole) <= width {
            return whole;
        }
        while letters.pop().is_some() {
            let truncated: String = letters.iter().chain(&['…']).collect();
            if self.width(&truncated) <= width {
                return truncated;
            }
        }
        String::new()
    }

    /// Draws a text with its upper left corner at `x`, `y`.
    pub fn draw_text(&self, image: &mut RgbImage, x: i32, y: i32, text: &str, colour: [u8; 3]) {
        let scale = PxScale::from(self.size);
        draw_text_mut(image, Rgb(colour), x, y, scale, &self.font, text);
    }

    /// Like [`Lettering::draw_tag`], but moves the tag inside the image if it fits, and truncates
    /// it to the image's width.
    pub fn draw_tag_inside(&self, image: &mut RgbImage, x: i32, y: i32, text: &str, ground: [u8; 3]) {
        let available = image.width().saturating_sub(2 * self.padding() as u32);
        let text = self.fit(text, available);
        if text.is_empty() {
            return;
        }
        let (width, height) = self.tag_size(&text);
        let x = x.min(image.width() as i32 - width).max(0);
        let y = y.min(image.height() as i32 - height).max(0);
        self.draw_tag(image, x, y, &text, ground);
    }

    fn padding(&self) -> i32 {
        (self.size / 4.0).round() as i32
    }

    /// Width and height of the tag with this text, in pixels.
    pub fn tag_size(&self, text: &str) -> (i32, i32) {
        let scaled = self.font.as_scaled(PxScale::from(self.size));
        let width: f32 = text
            .chars()
            .map(|c| scaled.h_advance(self.font.glyph_id(c)))
            .sum();
        let padding = self.padding();
        (
            width.ceil() as i32 + 2 * padding,
            scaled.height().ceil() as i32 + padding / 2,
        )
    }

    /// Draws a tag with its upper left corner at `x`, `y`. The text is black or white, whichever is
    /// more readable.
    pub fn draw_tag(&self, image: &mut RgbImage, x: i32, y: i32, text: &str, ground: [u8; 3]) {
        let (width, height) = self.tag_size(text);
        let padding = self.padding();
        fill(image, x, y, width, height, ground);
        self.draw_text(image, x + padding, y + padding / 4, text, text_on(ground));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_covers_its_size_and_has_letters() {
        let mut canvas = Image::filled(100, 40, [9, 9, 9]);
        let mut image = take(&mut canvas).unwrap();
        let letters = Lettering::new(12.0).unwrap();
        let (width, height) = letters.tag_size("cell 0.87");
        letters.draw_tag(&mut image, 5, 6, "cell 0.87", [0, 0, 200]);
        put_back(&mut canvas, image);
        assert_eq!(canvas.pixel(5, 6), Some([0, 0, 200]));
        assert_eq!(
            canvas.pixel(4 + width as u32, 5 + height as u32),
            Some([0, 0, 200])
        );
        assert_eq!(canvas.pixel(5 + width as u32, 6), Some([9, 9, 9]));
        assert_eq!(canvas.pixel(5, 6 + height as u32), Some([9, 9, 9]));
        let all = (0..100).flat_map(|x| (0..40).map(move |y| (x, y)));
        assert!(
            all.filter(|&(x, y)| canvas.pixel(x, y) == Some([255, 255, 255]))
                .count()
                > 20
        );
    }

    #[test]
    fn texts_are_truncated_to_the_width_and_unknown_characters_replaced() {
        let letters = Lettering::new(12.0).unwrap();
        assert_eq!(letters.fit("細胞 cell", 500), "?? cell");
        let truncated = letters.fit("a long name of a file.jpg", 60);
        assert!(
            truncated.ends_with('…') && letters.width(&truncated) <= 60,
            "{truncated}"
        );
        assert_eq!(letters.fit("abc", 1), "");
        assert_eq!(letters.fit("", 1), "");
    }

    #[test]
    fn a_tag_is_moved_inside_the_image() {
        let letters = Lettering::new(12.0).unwrap();
        let mut image = RgbImage::new(60, 30);
        letters.draw_tag_inside(&mut image, 55, -7, "cell", [255, 255, 0]);
        let ground = image.pixels().filter(|p| p.0 == [255, 255, 0]).count();
        let dark = image
            .enumerate_pixels()
            .filter(|(x, y, p)| *x > 40 && *y < 13 && p.0[0] < 100)
            .count();
        assert!(ground > 100 && dark > 20, "{ground} {dark}");
        for (width, height) in [(1, 1), (3, 40), (40, 3)] {
            letters.draw_tag_inside(&mut RgbImage::new(width, height), 0, 0, "cell", [1, 2, 3]);
        }
    }

    #[test]
    fn names_are_truncated_and_unknown_characters_replaced() {
        let letters = Lettering::new(12.0).unwrap();
        assert_eq!(letters.name("細胞 cell", 32), "?? cell");
        assert_eq!(letters.name("abcdef", 3), "abc…");
    }

    #[test]
    fn a_canvas_with_too_few_bytes_is_an_error() {
        let mut broken = Image::rgb8(5, 5, vec![0; 3]);
        assert!(take(&mut broken).is_err());
    }
}
