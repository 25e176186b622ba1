//! Converts an image to a model input in place: resizes, rescales and normalises it.

use crate::Processor;
use crate::kernels;
use crate::resized::Resized;
use crate::window::Window;
use cvhost_plugin_api::data::{ArrayMut, DType, Image};
use cvhost_plugin_api::error::{PluginError, Result};

/// Writes `image` into `out`, float32 `[3, H, W]`: resized to `to_width` × `to_height` pixels and
/// center-cropped to `crop`, height and width.
pub(crate) fn write(
    processor: &Processor,
    image: &Image,
    (to_width, to_height): (u32, u32),
    crop: Option<[u32; 2]>,
    mut out: ArrayMut<'_>,
) -> Result<()> {
    check_image(image)?;
    let crop = crop.unwrap_or([to_height, to_width]);
    check_slot(&out, crop)?;
    let rows = Window::middle(to_height, crop[0]);
    let columns = Window::middle(to_width, crop[1]);
    if rows.before > 0
        || columns.before > 0
        || rows.len() < crop[0] as usize
        || columns.len() < crop[1] as usize
    {
        fill_black(processor, &mut out)?;
    }
    let resized = Resized {
        pixels: &image.pixels,
        size: (image.width as usize, image.height as usize),
        to: (to_width as usize, to_height as usize),
        columns: columns.shown.clone(),
        rows: rows.shown.clone(),
        filter: processor.resample,
    };
    resized.each_row(|row, rgb| {
        for channel in 0..3 {
            let target: &mut [f32] = out.row_mut(&[channel, (rows.before + row) as u64])?;
            let target = target.get_mut(columns.before..).unwrap_or_default();
            kernels::to_values(rgb, channel as usize, &processor.values, target);
        }
        Ok(())
    })
}

pub(crate) fn check_image(image: &Image) -> Result<()> {
    let bytes = 3 * u128::from(image.width) * u128::from(image.height);
    if bytes == 0 || image.pixels.len() as u128 != bytes {
        return Err(PluginError::data(format!(
            "an image of {}x{} pixels has {} bytes; expected {bytes}, at least 3",
            image.width,
            image.height,
            image.pixels.len()
        )));
    }
    Ok(())
}

/// Checks that `out` is float32 `[3, height, width]`.
pub(crate) fn check_slot(out: &ArrayMut<'_>, [height, width]: [u32; 2]) -> Result<()> {
    let expected = [3, u64::from(height), u64::from(width)];
    if out.dims() != expected || out.dtype() != DType::F32 {
        return Err(PluginError::failed(format!(
            "the output slot is {:?} {:?}; this image needs F32 {expected:?}",
            out.dtype(),
            out.dims()
        )));
    }
    Ok(())
}

/// Fills `out` with black, for crops that extend beyond the image.
fn fill_black(processor: &Processor, out: &mut ArrayMut<'_>) -> Result<()> {
    let height = out.dims().get(1).copied().unwrap_or_default();
    for (channel, table) in (0..).zip(&processor.values.table) {
        for row in 0..height {
            out.row_mut::<f32>(&[channel, row])?.fill(table[0]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Defaults, Resample, Size};
    use serde_json::{Value, json};

    /// The test image of `fixtures/make_resized.py`.
    fn image() -> Image {
        let (width, height) = (23, 17);
        let value = |x: u32, y: u32, c: u32| ((x * 11 + y * 29 + c * 83 + (x * y) % 31 * 7) % 256) as u8;
        let pixels = (0..height * width * 3)
            .map(|i| value(i / 3 % width, i / 3 / width, i % 3))
            .collect::<Vec<u8>>();
        Image::rgb8(width, height, pixels)
    }

    fn processor(file: Value) -> Processor {
        let defaults = Defaults {
            do_normalize: false,
            ..Defaults::shortest_edge("Test")
        };
        Processor::from_checkpoint(&file, &json!({}), &defaults).unwrap()
    }

    #[test]
    fn pixels_match_pil_for_every_filter() {
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
                p.write(&image(), ArrayMut::new(&mut pixels, &dims, &strides).unwrap())
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
    fn writing_to_a_padded_batch_leaves_the_padding_unchanged() {
        let p = processor(
            json!({"do_resize": false, "image_mean": 0.5, "image_std": 0.25, "do_normalize": true}),
        );
        let mut batch = vec![9f32; 3 * 20 * 30];
        let slot = ArrayMut::new(&mut batch, &[3, 17, 23], &[600, 30, 1]).unwrap();
        p.write(&image(), slot).unwrap();
        let source = image();
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
    fn slots_and_images_of_the_wrong_shape_are_errors() {
        let p = processor(json!({"do_resize": false}));
        let mut buffer = vec![0f32; 3 * 17 * 23];
        let slot = ArrayMut::new(&mut buffer, &[3, 17, 22], &[391, 23, 1]).unwrap();
        let error = p.write(&image(), slot).unwrap_err();
        assert!(error.message.contains("needs F32 [3, 17, 23]"), "{error}");
        let torn = Image {
            pixels: vec![0; 7].into(),
            ..image()
        };
        let slot = ArrayMut::new(&mut buffer, &[3, 17, 23], &[391, 23, 1]).unwrap();
        assert!(
            p.write(&torn, slot)
                .unwrap_err()
                .message
                .contains("has 7 bytes; expected 1173")
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
