//! The EXIF orientation: cameras store what the sensor saw and a note how to turn it.

use cvhost_plugin_api::data::Picture;
use std::io::Cursor;

/// The orientation, 1 to 8, that a JPEG, PNG (`eXIf`), WebP or TIFF file notes; 1 (as it stands) where it notes none, or
/// nothing readable.
pub fn noted(bytes: &[u8]) -> u32 {
    let Ok(exif) = exif::Reader::new()
        .continue_on_error(true)
        .read_from_container(&mut Cursor::new(bytes))
        .or_else(
            // A broken tag elsewhere doesn't take the orientation away.
            |error| error.distill_partial_result(|_| {}),
        )
    else {
        return 1;
    };
    exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)
        .and_then(|field| field.value.get_uint(0))
        .filter(|value| (1..=8).contains(value))
        .unwrap_or(1)
}

/// The picture turned and mirrored upright, by the table of EXIF 2.32, tag 0x0112.
pub fn upright(picture: Picture, orientation: u32) -> Picture {
    if !(2..=8).contains(&orientation) {
        return picture;
    }
    let (width, height) = (picture.width as usize, picture.height as usize);
    let swapped = orientation >= 5;
    let (new_width, new_height) = if swapped { (height, width) } else { (width, height) };
    let source: &[[u8; 3]] = bytemuck::cast_slice(picture.pixels.as_slice());
    let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
    let mut pixels: Vec<u8> = Vec::with_capacity(picture.pixels.len());
    for y in 0..new_height {
        for x in 0..new_width {
            // Where in the stored picture this pixel of the upright one lies.
            let (from_x, from_y) = match orientation {
                2 => (right - x, y),
                3 => (right - x, bottom - y),
                4 => (x, bottom - y),
                5 => (y, x),
                6 => (y, bottom - x),
                7 => (right - y, bottom - x),
                _ => (right - y, x),
            };
            pixels.extend_from_slice(source.get(from_y * width + from_x).unwrap_or(&[0; 3]));
        }
    }
    Picture {
        width: new_width as u32,
        height: new_height as u32,
        pixels: pixels.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of red values.
    fn reds(picture: &Picture) -> Vec<Vec<u8>> {
        let rows = picture.pixels.as_slice().chunks(picture.width as usize * 3);
        rows.map(|row| row.chunks(3).map(|p| p[0]).collect()).collect()
    }

    #[test]
    fn each_orientation_is_undone() {
        let values: Vec<u8> = [1, 2, 3, 4, 5, 6].iter().flat_map(|&v| [v, 0, 0]).collect();
        let stored = Picture {
            width: 3,
            height: 2,
            pixels: values.into(),
        };
        let expected: [(u32, &[&[u8]]); 8] = [
            (1, &[&[1, 2, 3], &[4, 5, 6]]),
            (2, &[&[3, 2, 1], &[6, 5, 4]]),
            (3, &[&[6, 5, 4], &[3, 2, 1]]),
            (4, &[&[4, 5, 6], &[1, 2, 3]]),
            (5, &[&[1, 4], &[2, 5], &[3, 6]]),
            (6, &[&[4, 1], &[5, 2], &[6, 3]]),
            (7, &[&[6, 3], &[5, 2], &[4, 1]]),
            (8, &[&[3, 6], &[2, 5], &[1, 4]]),
        ];
        for (orientation, rows) in expected {
            assert_eq!(
                reds(&upright(stored.clone(), orientation)),
                rows,
                "orientation {orientation}"
            );
        }
    }
}
