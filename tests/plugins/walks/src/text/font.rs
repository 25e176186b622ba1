//! A font of a few characters, 5 pixels wide and 7 high.

use crate::shared::canvas::paint;
use cvhost_plugin_api::data::Image;

/// The characters in the font.
pub const CHARSET: &str = "ACEFHLNPTU1247";
pub const GLYPH_WIDTH: i32 = 5;
pub const GLYPH_HEIGHT: i32 = 7;

/// One number per row; the leftmost pixel is the highest of five bits.
fn rows(character: char) -> [u8; 7] {
    match character {
        'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'C' => [0b01111, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b01111],
        'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        'F' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000],
        'H' => [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        'N' => [0b10001, 0b11001, 0b11001, 0b10101, 0b10011, 0b10011, 0b10001],
        'P' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        // A box for characters that the font lacks.
        _ => [0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111],
    }
}

/// Draws a character, each of its pixels `scale` wide and high, with the top left corner at
/// (`left`, `top`).
pub fn draw(canvas: &mut Image, character: char, [left, top]: [i32; 2], scale: i32, rgb: [u8; 3]) {
    for (y, bits) in (0..).zip(rows(character)) {
        for x in (0..GLYPH_WIDTH).filter(|x| bits >> (GLYPH_WIDTH - 1 - x) & 1 == 1) {
            let dots = (0..scale)
                .flat_map(move |dy| (0..scale).map(move |dx| (left + x * scale + dx, top + y * scale + dy)));
            paint(canvas, dots, rgb);
        }
    }
}
