//! From a picture to a model's input: resized, rescaled and normalised, written in place.

use crate::Processor;
use crate::kernels::{self, COLUMN, ROWS};
use crate::resize::Taps;
use cvhost_plugin_api::data::{ArrayMut, DType, Picture};
use cvhost_plugin_api::error::{PluginError, Result};
use std::borrow::Cow;

/// What each 8-bit value of each channel becomes.
pub(crate) type Table = [[f32; 256]; 3];

/// Rescaling is done in float64 and rounded, normalising in float32, as the reference does.
pub(crate) fn table(rescale: Option<f64>, normalise: Option<([f64; 3], [f64; 3])>) -> Table {
    let mut table = [[0.0; 256]; 3];
    for (channel, line) in table.iter_mut().enumerate() {
        for (value, entry) in line.iter_mut().enumerate() {
            let scaled = (value as f64 * rescale.unwrap_or(1.0)) as f32;
            *entry = match normalise {
                Some((mean, std)) => (scaled - mean[channel] as f32) / std[channel] as f32,
                None => scaled,
            };
        }
    }
    table
}

/// Writes `picture` into `out`, float32 `[3, H, W]`: resized to `to_width` × `to_height` pixels, and of that the middle `crop`,
/// height and width.
pub(crate) fn write(
    processor: &Processor,
    picture: &Picture,
    (to_width, to_height): (u32, u32),
    crop: Option<[u32; 2]>,
    mut out: ArrayMut<'_>,
) -> Result<()> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let bytes = 3 * u128::from(picture.width) * u128::from(picture.height);
    if bytes == 0 || picture.pixels.len() as u128 != bytes {
        return Err(PluginError::data(format!(
            "a picture of {width}x{height} pixels has {} bytes: expected {bytes}, at least 3",
            picture.pixels.len()
        )));
    }
    let crop = crop.unwrap_or([to_height, to_width]);
    let expected = [3, u64::from(crop[0]), u64::from(crop[1])];
    if out.dims() != expected || out.dtype() != DType::F32 {
        return Err(PluginError::failed(format!(
            "a slot of {:?}{:?} was given for a picture that becomes F32 {expected:?}",
            out.dtype(),
            out.dims()
        )));
    }
    let window = Window::middle([to_height, to_width], crop);
    let (to_width, to_height) = (to_width as usize, to_height as usize);
    let x_taps = (to_width != width).then(|| Taps::new(processor.resample, width, to_width));
    let mut y_taps = (to_height != height).then(|| Taps::new(processor.resample, height, to_height));

    let mut pixels = Cow::Borrowed(picture.pixels.as_slice());
    if let Some(taps) = y_taps.take_if(|_| columns_first((width, height), (to_width, to_height))) {
        let row = width * 3;
        let mut shorter = vec![0; to_height * row];
        for (y, target) in shorter.chunks_exact_mut(row).enumerate() {
            resize_row(&pixels, row, &taps, y, target);
        }
        pixels = Cow::Owned(shorter);
    }
    let height = pixels.len() / (width * 3);
    let planes = resized_along_x(&pixels, width, height, to_width, x_taps.as_ref());
    let mut line = vec![0u8; to_width];
    for (channel, (plane, table)) in planes
        .chunks_exact(height * to_width)
        .zip(&processor.table)
        .enumerate()
    {
        for row in 0..crop[0] as usize {
            let target: &mut [f32] = out.row_mut(&[channel as u64, row as u64])?;
            // What a crop shows from outside the picture is black.
            target.fill(table[0]);
            let Some(y) = window.row(row) else { continue };
            match &y_taps {
                Some(taps) => resize_row(plane, to_width, taps, y, &mut line),
                None => line.copy_from_slice(plane.get(y * to_width..(y + 1) * to_width).unwrap_or_default()),
            }
            let (first, from) = window.columns();
            let values = target.get_mut(first..).unwrap_or_default().iter_mut();
            for (value, &pixel) in values.zip(line.get(from..).unwrap_or_default()) {
                *value = table[usize::from(pixel)];
            }
        }
    }
    Ok(())
}

/// The part of a resized picture that is shown. It may reach over the picture's border.
struct Window {
    /// The picture's row and column at the window's top left corner.
    top: i64,
    left: i64,
    /// Rows of the picture.
    height: i64,
}

impl Window {
    /// The middle `crop` of a picture of `size`, both height and width. Where a half is left over it is above and to the left
    /// of a picture that is too small, and below and to the right of a part.
    fn middle(size: [u32; 2], crop: [u32; 2]) -> Self {
        let [top, left] = [0, 1].map(|side| (i64::from(size[side]) - i64::from(crop[side])).div_euclid(2));
        Window {
            top,
            left,
            height: i64::from(size[0]),
        }
    }

    /// The picture's row in a row of the window; none outside the picture.
    fn row(&self, row: usize) -> Option<usize> {
        let y = self.top + row as i64;
        (0..self.height).contains(&y).then_some(y as usize)
    }

    /// The window's first column with a picture in it, and the picture's column there.
    fn columns(&self) -> (usize, usize) {
        ((-self.left).max(0) as usize, self.left.max(0) as usize)
    }
}

/// Whether the pass along columns comes first. Each pass rounds to 8 bits, so it matters. As in Pillow 13: where the height
/// shrinks by more than twice what the width does; older versions always take rows first.
fn columns_first((width, height): (usize, usize), (to_width, to_height): (usize, usize)) -> bool {
    to_height < height && (height - to_height) + 2 * to_width > 2 * width
}

/// Row `y` of the result of resizing `rows`, `length` bytes each, along columns.
fn resize_row(rows: &[u8], length: usize, taps: &Taps, y: usize, target: &mut [u8]) {
    let (start, weights) = taps.get(y);
    kernels::along_y(
        rows.get(start * length..).unwrap_or_default(),
        length,
        weights,
        target,
    );
}

/// The picture with its new width, as three planes of `height` rows.
fn resized_along_x(
    pixels: &[u8],
    width: usize,
    height: usize,
    to_width: usize,
    taps: Option<&Taps>,
) -> Vec<u8> {
    let mut planes = vec![0u8; 3 * height * to_width];
    let mut columns = vec![0u8; width * COLUMN];
    let mut resized = vec![0u8; if taps.is_some() { to_width * COLUMN } else { 0 }];
    for first in (0..height).step_by(ROWS) {
        let count = ROWS.min(height - first);
        let rows = pixels.chunks_exact(width * 3).skip(first).take(count);
        for (lane, row) in rows.enumerate() {
            for (column, &value) in columns.chunks_exact_mut(ROWS).zip(row) {
                column[lane] = value;
            }
        }
        let block = match taps {
            Some(taps) => {
                kernels::along_x(&columns, taps, &mut resized);
                &resized
            }
            None => &columns,
        };
        for channel in 0..3 {
            for lane in 0..count {
                let start = (channel * height + first + lane) * to_width;
                let target = planes.get_mut(start..start + to_width).unwrap_or_default();
                for (value, column) in target.iter_mut().zip(block.chunks_exact(COLUMN)) {
                    *value = column[channel * ROWS + lane];
                }
            }
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defaults, Resample, Size};
    use serde_json::{Value, json};

    /// The picture of `fixtures/make_resized.py`.
    fn picture() -> Picture {
        let (width, height) = (23, 17);
        let value = |x: u32, y: u32, c: u32| ((x * 11 + y * 29 + c * 83 + (x * y) % 31 * 7) % 256) as u8;
        let pixels = (0..height * width * 3)
            .map(|i| value(i / 3 % width, i / 3 / width, i % 3))
            .collect::<Vec<u8>>();
        Picture {
            width,
            height,
            pixels: pixels.into(),
        }
    }

    fn processor(file: Value) -> Processor {
        let defaults = Defaults {
            do_normalize: false,
            ..Defaults::shortest_edge("Test")
        };
        Processor::from_checkpoint(&file, &json!({}), &defaults).unwrap()
    }

    #[test]
    fn pixels_are_those_of_pil_for_every_filter() {
        let mut recorded = &include_bytes!("../fixtures/resized.bin")[..];
        for code in 0..6 {
            for (width, height) in [(32usize, 24usize), (9, 7), (23, 10), (40, 17), (31, 5), (20, 9)] {
                let (expected, rest) = recorded.split_at(width * height * 3);
                recorded = rest;
                let size = json!({"height": height, "width": width});
                let p = processor(json!({"size": size, "resample": code, "do_rescale": false}));
                let mut pixels = vec![-1f32; 3 * height * width];
                let dims = [3, height as u64, width as u64];
                let strides = [(height * width) as u64, width as u64, 1];
                p.write(&picture(), ArrayMut::new(&mut pixels, &dims, &strides).unwrap())
                    .unwrap();
                let plane = |c: usize| expected.iter().skip(c).step_by(3).map(|&v| f32::from(v));
                let expected: Vec<f32> = (0..3).flat_map(plane).collect();
                assert!(
                    pixels == expected,
                    "{:?} to {width}x{height}",
                    Resample::from_code(code).unwrap()
                );
            }
        }
        assert!(recorded.is_empty());
    }

    #[test]
    fn a_slot_of_a_padded_batch_is_written_and_the_padding_is_not() {
        let p = processor(
            json!({"do_resize": false, "image_mean": 0.5, "image_std": 0.25, "do_normalize": true}),
        );
        let mut batch = vec![9f32; 3 * 20 * 30];
        let slot = ArrayMut::new(&mut batch, &[3, 17, 23], &[600, 30, 1]).unwrap();
        p.write(&picture(), slot).unwrap();
        let source = picture();
        for (i, &value) in batch.iter().enumerate() {
            let (c, y, x) = (i / 600, i % 600 / 30, i % 30);
            match source.pixel(x as u32, y as u32) {
                Some(rgb) => {
                    let expected = (f32::from(rgb[c]) / 255.0 - 0.5) / 0.25;
                    assert!((value - expected).abs() < 1e-6, "{c} {y} {x}: {value} {expected}");
                }
                None => assert_eq!(value, 9.0),
            }
        }
    }

    #[test]
    fn slots_and_pictures_of_the_wrong_shape_are_errors() {
        let p = processor(json!({"do_resize": false}));
        let mut buffer = vec![0f32; 3 * 17 * 23];
        let slot = ArrayMut::new(&mut buffer, &[3, 17, 22], &[391, 23, 1]).unwrap();
        let error = p.write(&picture(), slot).unwrap_err();
        assert!(error.message.contains("becomes F32 [3, 17, 23]"), "{error}");
        let torn = Picture {
            pixels: vec![0; 7].into(),
            ..picture()
        };
        let slot = ArrayMut::new(&mut buffer, &[3, 17, 23], &[391, 23, 1]).unwrap();
        assert!(
            p.write(&torn, slot)
                .unwrap_err()
                .message
                .contains("has 7 bytes: expected 1173")
        );
        assert_eq!(
            p.size,
            Size::Edges {
                shortest: 800,
                longest: 1333
            }
        );
    }
}
