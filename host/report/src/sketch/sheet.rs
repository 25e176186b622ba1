//! A contact sheet: many samples in one image.

use super::{caption, draw, fitted};
use cvhost::error::Result;
use cvhost::plugin_error::from_plugin;
use cvhost_draw::Lettering;
use cvhost_plugin_api::data::{LabelSpec, Sample};
use image::{Rgb, RgbImage, imageops};

/// The side of the square for an image in its cell, in pixels.
const SIDE: u32 = 300;
/// The gap between cells and around them, in pixels.
const GAP: u32 = 8;
const TITLE: f32 = 14.0;
const GROUND: [u8; 3] = [28, 28, 32];
const INK: [u8; 3] = [235, 235, 235];

/// A drawn sample with its title.
pub struct Cell {
    title: String,
    image: RgbImage,
}

impl Cell {
    /// Draws a sample with its targets.
    pub fn new(sample: &Sample, spec: &LabelSpec) -> Result<Self> {
        let title = sample.name.to_string();
        let Some(image) = sample.images.first() else {
            let image = RgbImage::from_pixel(SIDE, SIDE, Rgb(GROUND));
            return Ok(Cell { title, image });
        };
        let (mut small, scale) = fitted(image, SIDE, SIDE)?;
        draw(&mut small, scale, &sample.fields, sample.region.as_ref(), spec)?;
        let caption = caption(&sample.fields, spec);
        if !caption.is_empty() {
            let letters = Lettering::new(TITLE).map_err(from_plugin)?;
            let bottom = small.height() as i32;
            letters.draw_tag_inside(&mut small, 0, bottom, &caption, INK);
        }
        Ok(Cell { title, image: small })
    }
}

/// The number of columns for `count` cells, so that the grid is about square.
pub fn columns(count: usize) -> u32 {
    (count as f64).sqrt().ceil().max(1.0) as u32
}

/// Arranges cells row by row, each with its title above its image.
pub fn sheet(cells: &[Cell]) -> Result<RgbImage> {
    let letters = Lettering::new(TITLE).map_err(from_plugin)?;
    let (width, height) = (SIDE + GAP, SIDE + GAP + letters.height() + 2);
    let columns = columns(cells.len());
    let rows = (cells.len() as u32).div_ceil(columns).max(1);
    let mut sheet = RgbImage::from_pixel(columns * width + GAP, rows * height + GAP, Rgb(GROUND));
    for (number, cell) in (0u32..).zip(cells) {
        let (x, y) = (GAP + number % columns * width, GAP + number / columns * height);
        let title = letters.fit(&cell.title, SIDE);
        letters.draw_text(&mut sheet, x as i32, y as i32, &title, INK);
        let (left, top) = (
            x + (SIDE - cell.image.width().min(SIDE)) / 2,
            y + letters.height() + 2 + (SIDE - cell.image.height().min(SIDE)) / 2,
        );
        imageops::replace(&mut sheet, &cell.image, i64::from(left), i64::from(top));
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Fields, Image};

    fn cell(width: u32, height: u32) -> Cell {
        let sample = Sample {
            name: "a".into(),
            images: vec![Image::filled(width, height, [250, 10, 10])].into(),
            fields: Fields::new(),
            ..Default::default()
        };
        Cell::new(&sample, &LabelSpec::default()).unwrap()
    }

    #[test]
    fn cells_are_arranged_row_by_row() {
        let cells: Vec<Cell> = (0..5).map(|_| cell(600, 300)).collect();
        let sheet = sheet(&cells).unwrap();
        assert_eq!(sheet.dimensions(), (3 * 308 + 8, 2 * 324 + 8));
        let is_image = |x, y| sheet.get_pixel(x, y).0 == [250, 10, 10];
        assert!(is_image(8 + 150, 8 + 16 + 150));
        assert!(is_image(8 + 308 + 150, 8 + 324 + 16 + 150));
        assert!(
            !is_image(8 + 2 * 308 + 150, 8 + 324 + 16 + 150),
            "there is no sixth cell"
        );
        assert!(
            !is_image(8 + 150, 8 + 16 + 70),
            "a landscape image has space above it"
        );
    }

    #[test]
    fn a_sheet_is_about_square() {
        assert_eq!([1, 2, 4, 5, 16, 17].map(columns), [1, 2, 2, 3, 4, 5]);
        assert_eq!(sheet(&[]).unwrap().dimensions(), (316, 332));
    }
}
