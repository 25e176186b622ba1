use super::jpeg::is_harmless;
use super::*;
use crate::testing::pattern;
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use std::fs;
use turbojpeg::PixelFormat;

pub fn rgb_image(image: &Image) -> DynamicImage {
    let pixels = image.pixels.to_vec();
    DynamicImage::ImageRgb8(ImageBuffer::from_raw(image.width, image.height, pixels).unwrap())
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    image.save_with_format(file.path(), format).unwrap();
    fs::read(file.path()).unwrap()
}

fn jpeg(
    pixels: &[u8],
    width: usize,
    height: usize,
    format: PixelFormat,
    subsamp: turbojpeg::Subsamp,
) -> Vec<u8> {
    let image = turbojpeg::Image {
        pixels,
        width,
        pitch: width * format.size(),
        height,
        format,
    };
    turbojpeg::compress(image, 90, subsamp).unwrap().to_vec()
}

pub fn colour_jpeg(width: u32, height: u32) -> Vec<u8> {
    let image = pattern(width, height);
    jpeg(
        &image.pixels,
        width as usize,
        height as usize,
        PixelFormat::RGB,
        turbojpeg::Subsamp::Sub2x2,
    )
}

pub fn decoded(bytes: &[u8]) -> Image {
    decode(&ImageSource::encoded(bytes.to_vec())).unwrap()
}

fn rejected(bytes: &[u8]) -> String {
    let error = decode(&ImageSource::encoded(bytes.to_vec())).unwrap_err();
    assert_eq!(error.kind, Kind::Input);
    error.to_string()
}

/// A TIFF header whose first IFD contains only the orientation: the payload of an EXIF block.
pub fn exif_block(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn lossless_formats_round_trip() {
    let image = pattern(13, 9);
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        assert_eq!(decoded(&encoded(&rgb_image(&image), format)), image, "{format:?}");
    }
}

#[test]
fn the_format_is_detected_from_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cell.jpg");
    let image = pattern(5, 4);
    fs::write(&path, encoded(&rgb_image(&image), ImageFormat::Png)).unwrap();
    assert_eq!(decode(&ImageSource::file(path.to_str().unwrap())).unwrap(), image);
}

#[test]
fn a_decoded_image_is_used_as_is_and_checked() {
    let image = pattern(5, 4);
    assert_eq!(decode(&ImageSource::decoded(image.clone())).unwrap(), image);
    let broken = Image { height: 5, ..image };
    let message = decode(&ImageSource::decoded(broken)).unwrap_err().to_string();
    assert!(
        message.contains("5x5") && message.contains("60 bytes"),
        "{message}"
    );
    assert!(decode(&ImageSource::default()).is_err());
}

#[test]
fn grey_jpeg_becomes_equal_channels() {
    let grey: Vec<u8> = (0..64 * 48).map(|i| (i % 64 * 3) as u8).collect();
    let image = decoded(&jpeg(&grey, 64, 48, PixelFormat::GRAY, turbojpeg::Subsamp::Gray));
    assert_eq!((image.width, image.height), (64, 48));
    for (pixel, grey) in image.pixels.as_chunks::<3>().0.iter().zip(&grey) {
        assert!(
            pixel[0] == pixel[1] && pixel[1] == pixel[2] && pixel[0].abs_diff(*grey) <= 4,
            "{pixel:?} {grey}"
        );
    }
}

#[test]
fn a_cmyk_jpeg_is_read_as_adobes_inverted_cmyk() {
    // Stored values: 255 means no ink.
    for (inks, rgb) in [
        ([255u8, 255, 255, 255], [255u8, 255, 255]),
        ([255, 255, 255, 0], [0, 0, 0]),
        ([0, 255, 255, 255], [0, 255, 255]),
        ([255, 128, 255, 255], [255, 128, 255]),
        ([255, 128, 255, 128], [128, 64, 128]),
    ] {
        let pixels = inks.repeat(16 * 16);
        let image = decoded(&jpeg(
            &pixels,
            16,
            16,
            PixelFormat::CMYK,
            turbojpeg::Subsamp::None,
        ));
        let pixel = image.pixel(8, 8).unwrap();
        assert!(
            pixel.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) <= 2),
            "{inks:?}: got {pixel:?}, expected {rgb:?}"
        );
    }
}

#[test]
fn alpha_is_dropped_and_16_bits_become_8_as_in_pillow() {
    let rgba = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(2, 2, Rgba([10, 20, 30, 0])));
    assert_eq!(
        decoded(&encoded(&rgba, ImageFormat::Png)).pixel(1, 1),
        Some([10, 20, 30])
    );
    let grey_alpha = DynamicImage::ImageLumaA8(ImageBuffer::from_pixel(2, 2, LumaA([9, 7])));
    assert_eq!(
        decoded(&encoded(&grey_alpha, ImageFormat::Png)).pixel(0, 0),
        Some([9, 9, 9])
    );
    // By value, not by the high byte: 255 and above is white.
    for (value, expected) in [(0x12, 0x12), (0xff, 0xff), (0x1280, 0xff)] {
        let grey = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(2, 2, Luma([value])));
        assert_eq!(
            decoded(&encoded(&grey, ImageFormat::Png)).pixel(0, 0),
            Some([expected; 3])
        );
    }
    let colour = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(2, 2, Rgb([0x12ff, 0x8000, 0xffff])));
    assert_eq!(
        decoded(&encoded(&colour, ImageFormat::Png)).pixel(0, 0),
        Some([0x12, 0x80, 0xff])
    );
}

#[test]
fn palettes_are_applied() {
    let image = Image::filled(6, 5, [255, 128, 0]);
    let rgba = DynamicImage::ImageRgba8(rgb_image(&image).into_rgba8());
    assert_eq!(
        decoded(&encoded(&rgba, ImageFormat::Gif)).pixel(3, 3),
        Some([255, 128, 0])
    );
}

#[test]
fn floating_point_pixels_are_rejected() {
    let floats = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(2, 2, Rgb([0.5f32, 0.5, 0.5])));
    assert!(rejected(&encoded(&floats, ImageFormat::Tiff)).contains("floating-point"));
}

#[test]
fn the_exif_orientation_is_applied_in_every_format() {
    // Stored 24 wide and 16 high, red on the left; orientation 6 rotates it so that red is on top.
    let mut stored = Image::filled(24, 16, [0, 0, 255]);
    (0..16).for_each(|y| (0..8).for_each(|x| stored.set_pixel(x, y, [255, 0, 0])));
    let block = exif_block(6);

    let plain = jpeg(&stored.pixels, 24, 16, PixelFormat::RGB, turbojpeg::Subsamp::None);
    let mut in_jpeg = vec![0xff, 0xd8, 0xff, 0xe1];
    in_jpeg.extend(((block.len() + 8) as u16).to_be_bytes());
    in_jpeg.extend(b"Exif\0\0");
    in_jpeg.extend(&block);
    in_jpeg.extend(&plain[2..]);

    // In a PNG, a chunk after the header chunk.
    let plain = encoded(&rgb_image(&stored), ImageFormat::Png);
    let chunk = [b"eXIf".as_slice(), &block].concat();
    let length = (block.len() as u32).to_be_bytes();
    let in_png = [
        &plain[..33],
        &length,
        &chunk,
        &crc32(&chunk).to_be_bytes(),
        &plain[33..],
    ]
    .concat();

    // In a WebP, a chunk at the end, announced by a flag in a `VP8X` chunk at the start.
    let plain = encoded(&rgb_image(&stored), ImageFormat::WebP);
    let extended = b"VP8X\x0a\0\0\0\x08\0\0\0\x17\0\0\x0f\0\0";
    let length = (block.len() as u32).to_le_bytes();
    let body = [
        b"WEBP".as_slice(),
        extended,
        &plain[12..],
        b"EXIF",
        &length,
        &block,
    ]
    .concat();
    let in_webp = [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat();

    for (name, bytes) in [("JPEG", in_jpeg), ("PNG", in_png), ("WebP", in_webp)] {
        let image = decoded(&bytes);
        assert_eq!((image.width, image.height), (16, 24), "{name}");
        let expected = Measured {
            format: name,
            width: 16,
            height: 24,
            turned: true,
        };
        assert_eq!(measure(&ImageSource::encoded(bytes)).unwrap(), expected);
        assert!(
            image.pixel(8, 1).unwrap()[0] > 250 && image.pixel(8, 22).unwrap()[2] > 250,
            "{name}"
        );
    }
}

#[test]
fn a_tiffs_own_orientation_is_applied() {
    // 2 x 1 grey pixels, 10 and 200, mirrored by orientation 2.
    let entry = |tag: u16, kind: u16, value: u32| {
        let mut e = tag.to_le_bytes().to_vec();
        e.extend(kind.to_le_bytes());
        e.extend(1u32.to_le_bytes());
        e.extend(value.to_le_bytes());
        e
    };
    let mut tiff = b"II*\0\x0a\0\0\0\x0a\xc8".to_vec();
    let entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (274, 3, 2),
        (277, 3, 1),
        (278, 3, 1),
        (279, 4, 2),
    ];
    tiff.extend((entries.len() as u16).to_le_bytes());
    entries
        .iter()
        .for_each(|&(tag, kind, value)| tiff.extend(entry(tag, kind, value)));
    tiff.extend([0; 4]);
    let image = decoded(&tiff);
    assert_eq!(image.pixels.as_slice(), [200, 200, 200, 10, 10, 10]);
}

#[test]
fn a_broken_exif_block_is_ignored() {
    let plain = colour_jpeg(16, 16);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 12];
    bytes.extend(b"Exif\0\0II*\0");
    bytes.extend(&plain[2..]);
    assert_eq!(decoded(&bytes), decoded(&plain));
}

#[test]
fn errors_describe_what_a_non_image_is() {
    for (bytes, description) in [
        (&b""[..], "image in memory"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"image_id,file\n1,a.jpg\n", "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"\x7fELF\x02\x01\x01\0", "7f, 45"),
    ] {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), bytes).unwrap();
        let message = decode(&ImageSource::file(path.path().to_str().unwrap()))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("not an image") && message.contains(path.path().to_str().unwrap()),
            "{message}"
        );
        let description = if bytes.is_empty() { "empty" } else { description };
        assert!(message.contains(description), "{message}");
    }
    let missing = decode(&ImageSource::file("/nowhere/cell.png")).unwrap_err();
    assert!(missing.kind == Kind::Input && missing.to_string().contains("/nowhere/cell.png"));
    assert!(
        decode(&ImageSource::file("/dev/zero"))
            .unwrap_err()
            .to_string()
            .contains("not a file")
    );
}

#[test]
fn a_huge_size_in_a_tiny_file_is_rejected_before_allocation() {
    let mut bytes = colour_jpeg(16, 16);
    let start_of_frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    bytes[start_of_frame + 5..start_of_frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    assert!(rejected(&bytes).contains("60000x60000"), "{}", rejected(&bytes));

    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(20_000u32.to_be_bytes());
    header.extend(20_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    png.extend(&header);
    png.extend(crc32(&header).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    assert!(rejected(&png).contains("20000x20000"), "{}", rejected(&png));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            if c & 1 == 1 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            }
        })
    })
}

#[test]
fn truncated_files_are_reported_as_such() {
    let image = pattern(64, 64);
    let image = rgb_image(&image);
    let mut files: Vec<(String, Vec<u8>)> = [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ]
    .map(|format| (format!("{format:?}"), encoded(&image, format)))
    .to_vec();
    files.push(("Jpeg".to_owned(), colour_jpeg(64, 64)));
    for (name, bytes) in files {
        for part in [0.2, 0.5, 0.8] {
            let truncated = &bytes[..(bytes.len() as f64 * part) as usize];
            let message = rejected(truncated);
            assert!(
                message.contains("truncated or corrupt"),
                "{name} {part}: {message}"
            );
        }
    }
}

#[test]
fn stray_bytes_between_markers_do_not_matter() {
    let bytes = colour_jpeg(32, 32);
    let mut stray = bytes[..bytes.len() - 2].to_vec();
    stray.extend([0x12, 0x34, 0xff, 0xd9]);
    assert_eq!(decoded(&stray), decoded(&bytes));
    assert!(is_harmless(
        "Corrupt JPEG data: 2 extraneous bytes before marker 0xd9"
    ));
    assert!(!is_harmless("Premature end of JPEG file"));
}

#[test]
fn corrupt_scan_data_never_panics() {
    let bytes = colour_jpeg(64, 64);
    for at in (2..bytes.len()).step_by(7) {
        let mut broken = bytes.clone();
        broken[at] ^= 0x55;
        let _ = decode(&ImageSource::encoded(broken));
    }
}

#[test]
fn a_progressive_decompression_bomb_is_rejected_by_its_memory() {
    let plain = colour_jpeg(16, 16);
    let frame = plain.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let mut bytes = plain.clone();
    bytes[frame + 1] = 0xc2;
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x32, 0, 0x32, 0]);
    // 12800 x 12800 is allowed in itself; its coefficients, at 4:4:4, would take another GB.
    bytes[frame + 11] = 0x11;
    let message = rejected(&bytes);
    assert!(
        message.contains("12800x12800") && message.contains("MB"),
        "{message}"
    );
}
