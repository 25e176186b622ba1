//! Sizes, scaled images and recycled buffers.

use super::tests::{colour_jpeg, decoded, encoded, exif_block, rgb_image};
use super::*;
use crate::testing::pattern;
use fast_image_resize::images::Image as Resizable;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::ImageFormat;
use std::fs;

#[test]
fn a_scaled_image_has_the_smallest_sufficient_size() {
    let source = ImageSource::encoded(colour_jpeg(203, 101));
    for (least, size) in [
        ((203, 101), (203, 101)),
        ((102, 51), (102, 51)),
        ((102, 52), (203, 101)),
        ((51, 26), (51, 26)),
        ((0, 0), (26, 13)),
        ((900, 1), (203, 101)),
    ] {
        let scaled = decode_scaled(&source, least).unwrap();
        let image = &scaled.image;
        assert_eq!((image.width, image.height), size, "at least {least:?}");
        assert_eq!(image.pixels.len() as u32, size.0 * size.1 * 3);
        assert_eq!(scaled.original, (203, 101));
    }
}

#[test]
fn the_requested_size_refers_to_the_upright_image() {
    let plain = colour_jpeg(64, 16);
    let block = exif_block(6);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend(((block.len() + 8) as u16).to_be_bytes());
    bytes.extend(b"Exif\0\0");
    bytes.extend(&block);
    bytes.extend(&plain[2..]);
    let source = ImageSource::encoded(bytes);
    let scaled = decode_scaled(&source, (8, 20)).unwrap();
    assert_eq!((scaled.image.width, scaled.image.height), (8, 32));
    assert_eq!(scaled.original, (16, 64));
    assert_eq!(size(&source).unwrap(), (16, 64));
    // 20 x 8 exceeds the upright image on one side.
    let full = decode_scaled(&source, (20, 8)).unwrap();
    assert_eq!((full.image.width, full.image.height), (16, 64));
}

#[test]
fn other_formats_are_never_scaled() {
    let image = pattern(64, 64);
    let bytes = encoded(&rgb_image(&image), ImageFormat::Png);
    let scaled = decode_scaled(&ImageSource::encoded(bytes), (8, 8)).unwrap();
    assert_eq!(
        scaled,
        Scaled {
            image,
            original: (64, 64)
        }
    );
}

#[test]
fn a_recycled_buffer_leaves_no_trace_in_the_next_image() {
    let (large, small) = (colour_jpeg(90, 70), colour_jpeg(64, 48));
    let palette = encoded(&rgb_image(&pattern(80, 60)), ImageFormat::Gif);
    let expected: Vec<Image> = [&large, &small, &palette].map(|b| decoded(b)).to_vec();
    for _ in 0..3 {
        for (bytes, expected) in [&large, &small, &palette].iter().zip(&expected) {
            let image = decoded(bytes);
            assert_eq!(&image, expected);
            recycle(image);
        }
    }
}

#[test]
fn the_size_requires_only_the_head_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    let mut bytes = colour_jpeg(640, 480);
    let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    bytes.truncate(scan + 20);
    fs::write(&path, bytes).unwrap();
    let source = ImageSource::file(path.to_str().unwrap());
    assert_eq!(size(&source).unwrap(), (640, 480));
    assert!(decode(&source).unwrap_err().to_string().contains("truncated"));
    fs::write(&path, b"not an image").unwrap();
    let message = size(&source).unwrap_err().to_string();
    assert!(
        message.contains("text file") && message.contains("photo.jpg"),
        "{message}"
    );
}

/// Downscaled with antialiasing.
fn resized(image: &Image, width: u32, height: u32) -> Vec<u8> {
    let pixels = image.pixels.to_vec();
    let from = Resizable::from_vec_u8(image.width, image.height, pixels, PixelType::U8x3).unwrap();
    let mut to = Resizable::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&from, &mut to, &options).unwrap();
    to.into_vec()
}

#[test]
fn scaled_photos_differ_little_from_resized_full_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pil");
    for name in ["jpeg_444.jpg", "jpeg_422_progressive.jpg", "jpeg_grey.jpg"] {
        let source = ImageSource::file(folder.join(name).to_str().unwrap());
        let full = decode(&source).unwrap();
        for shrink in [2, 4] {
            let (width, height) = (full.width / shrink, full.height / shrink);
            let scaled = decode_scaled(&source, (width, height)).unwrap().image;
            assert_eq!(scaled.width, full.width.div_ceil(shrink), "{name}");
            let pairs = resized(&scaled, width, height)
                .into_iter()
                .zip(resized(&full, width, height));
            let total: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(b))).sum();
            let mean = total as f64 / f64::from(width * height * 3);
            assert!(
                mean > 0.0 && mean < 3.0,
                "{name} at 1/{shrink}: {mean}/255 on average"
            );
        }
    }
}
