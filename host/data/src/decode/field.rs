//! Loads fields that a record references by file or bytes: label maps, masks, run lengths, depth.

use super::{in_memory, read, within};
use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::data::{Array, Field, FieldDecoder, FieldSource, Fields, Optional, Role};
use serde_json::Value;
use std::io::Cursor;
use std::path::Path;
use tiff::decoder::{Decoder, DecodingResult};

/// Maximum number of pixels of a map; larger ones are rejected before memory is allocated.
const MAX_PIXELS: u64 = 1 << 29;

/// Replaces all lazy fields by the arrays loaded from their sources.
///
/// # Errors
/// If a file can't be read or decoded, or this version doesn't know the decoder; the message names
/// the file and the field.
pub fn load_fields(fields: &mut Fields) -> Result<()> {
    for field in &mut fields.items {
        if let Some(source) = field.source.as_ref() {
            let array = load(source, field.fill).map_err(|e| e.within(format!("field `{}`", field.name)))?;
            field.array = array;
            field.source = Optional::none();
        }
    }
    Ok(())
}

/// Replaces run lengths by dense masks, which can be transformed.
///
/// # Errors
/// If run lengths don't describe masks of their size.
pub fn dense_masks(fields: &mut Fields) -> Result<()> {
    for field in &mut fields.items {
        if field.role == Role::RUN_LENGTHS {
            *field = dense(field).map_err(|e| e.within(format!("field `{}`", field.name)))?;
        }
    }
    Ok(())
}

fn dense(field: &Field) -> Result<Field> {
    let counts = field.array.as_texts().map_err(from_plugin)?;
    let [height, width] = field.mask_size().map_err(from_plugin)?;
    let one = checked_size(width, height)?;
    let mut masks = vec![0u8; one.saturating_mul(counts.len())];
    for (mask, counts) in masks.chunks_exact_mut(one.max(1)).zip(&counts) {
        unpack(counts, height, width, mask)?;
    }
    let dims = [counts.len() as u64, height, width];
    let array = Array::new(&dims, &masks).map_err(from_plugin)?;
    Ok(Field {
        role: Role::MASKS,
        array,
        ..field.clone()
    })
}

fn unpack(counts: &str, height: u64, width: u64, mask: &mut [u8]) -> Result<()> {
    cvhost_rle::decode(counts, height as usize, width as usize, mask).map_err(|broken| {
        Error::input(format!(
            "run lengths that don't form a mask of {width}x{height}: {broken:?}"
        ))
        .with_expected("COCO's compressed run lengths, which add up to height x width")
    })
}

fn load(source: &FieldSource, fill: f64) -> Result<Array> {
    if source.path.is_empty() {
        return decode(source, &source.bytes, fill).map_err(in_memory);
    }
    let path = Path::new(source.path.as_str());
    let bytes = read(path)?;
    decode(source, &bytes, fill).map_err(|e| within(e, path))
}

fn decode(source: &FieldSource, bytes: &[u8], fill: f64) -> Result<Array> {
    let extra: Value = serde_json::from_str(&source.extra).unwrap_or_default();
    match source.decoder {
        FieldDecoder::LABEL_MAP => {
            let plane = grey_png(bytes)?;
            plane.map_to(i64::from)
        }
        FieldDecoder::MASK => {
            let plane = grey_png(bytes)?;
            let mask: Vec<u8> = plane.values.iter().map(|v| u8::from(*v != 0)).collect();
            Array::new(&[1, plane.height, plane.width], &mask).map_err(from_plugin)
        }
        FieldDecoder::RUN_LENGTHS => {
            let side = |at: usize| extra["size"][at].as_u64();
            let (Some(height), Some(width)) = (side(0), side(1)) else {
                return Err(Error::failed("run lengths without the size of their mask")
                    .with_help("this is a bug in the task plugin; report it to its authors"));
            };
            let text = std::str::from_utf8(bytes).unwrap_or("\u{fffd}");
            let mut mask = vec![0u8; checked_size(width, height)?];
            unpack(text, height, width, &mut mask)?;
            Array::new(&[1, height, width], &mask).map_err(from_plugin)
        }
        FieldDecoder::DEPTH => {
            let scale = extra["scale"].as_f64().unwrap_or(1.0);
            depth(bytes, scale, fill)
        }
        FieldDecoder::RGB_IDS => rgb_ids(bytes),
        other => Err(Error::usage(format!(
            "the task plugin requests {other:?}, which this version can't decode"
        ))
        .with_help("update cvhost")),
    }
}

/// An image with one channel of integers.
struct Plane {
    width: u64,
    height: u64,
    values: Vec<u16>,
}

impl Plane {
    fn map_to<T: cvhost_plugin_api::data::Element>(&self, convert: impl Fn(u16) -> T) -> Result<Array> {
        let values: Vec<T> = self.values.iter().map(|v| convert(*v)).collect();
        Array::new(&[self.height, self.width], &values).map_err(from_plugin)
    }
}

fn checked_size(width: u64, height: u64) -> Result<usize> {
    width
        .checked_mul(height)
        .filter(|pixels| *pixels <= MAX_PIXELS)
        .map(|pixels| pixels as usize)
        .ok_or_else(|| {
            Error::input(format!("a map of {width}x{height} pixels is too large"))
                .with_expected(format!("at most {MAX_PIXELS} pixels"))
        })
}

/// The stored values of a PNG: no palette is applied and no bit depth is expanded.
fn stored_png(bytes: &[u8]) -> Result<(png::OutputInfo, Vec<u8>)> {
    let broken = |e: png::DecodingError| Error::input(format!("damaged PNG: {e}"));
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width, reader.info().height);
    checked_size(width.into(), height.into())?;
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| Error::input(format!("a PNG of {width}x{height} is too large")))?;
    let mut buffer = vec![0u8; size];
    let info = reader.next_frame(&mut buffer).map_err(broken)?;
    buffer.truncate(info.buffer_size());
    Ok((info, buffer))
}

fn grey_png(bytes: &[u8]) -> Result<Plane> {
    let (info, buffer) = stored_png(bytes)?;
    if !matches!(
        info.color_type,
        png::ColorType::Grayscale | png::ColorType::Indexed
    ) {
        return Err(Error::input(format!("a PNG with {:?} pixels", info.color_type))
            .with_expected("a greyscale or palette PNG, whose values are labels"));
    }
    let width = info.width as usize;
    let mut values = Vec::with_capacity(width * info.height as usize);
    for row in buffer
        .chunks_exact(info.line_size.max(1))
        .take(info.height as usize)
    {
        match info.bit_depth {
            png::BitDepth::Sixteen => {
                let pairs = row.as_chunks::<2>().0;
                values.extend(pairs.iter().map(|pair| u16::from_be_bytes(*pair)));
            }
            png::BitDepth::Eight => values.extend(row.iter().map(|v| u16::from(*v))),
            depth => {
                let bits = depth as usize;
                let per_byte = 8 / bits;
                values.extend((0..width).map(|x| {
                    let byte = row.get(x / per_byte).copied().unwrap_or(0);
                    let shift = 8 - bits * (x % per_byte + 1);
                    u16::from(byte >> shift & ((1 << bits) - 1))
                }));
            }
        }
    }
    Ok(Plane {
        width: info.width.into(),
        height: info.height.into(),
        values,
    })
}

fn rgb_ids(bytes: &[u8]) -> Result<Array> {
    let (info, buffer) = stored_png(bytes)?;
    let channels = match (info.color_type, info.bit_depth) {
        (png::ColorType::Rgb, png::BitDepth::Eight) => 3,
        (png::ColorType::Rgba, png::BitDepth::Eight) => 4,
        (colours, depth) => {
            return Err(Error::input(format!(
                "a PNG with {colours:?} pixels with a bit depth of {depth:?}"
            ))
            .with_expected("an 8-bit colour PNG, whose colours are segment ids"));
        }
    };
    let ids: Vec<i64> = buffer
        .chunks_exact(channels)
        .map(|p| match p {
            [r, g, b, ..] => i64::from(*r) + 256 * i64::from(*g) + 65536 * i64::from(*b),
            _ => 0,
        })
        .collect();
    Array::new(&[info.height.into(), info.width.into()], &ids).map_err(from_plugin)
}

fn depth(bytes: &[u8], scale: f64, fill: f64) -> Result<Array> {
    let measured = |value: f64| {
        if value == 0.0 {
            fill as f32
        } else {
            (value * scale) as f32
        }
    };
    if bytes.starts_with(b"\x89PNG") {
        return grey_png(bytes)?.map_to(|value| measured(value.into()));
    }
    let broken = |e: tiff::TiffError| Error::input(format!("damaged TIFF: {e}"));
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(broken)?;
    let (width, height) = decoder.dimensions().map_err(broken)?;
    checked_size(width.into(), height.into())?;
    let values: Vec<f32> = match decoder.read_image().map_err(broken)? {
        DecodingResult::U8(values) => values.into_iter().map(|v| measured(v.into())).collect(),
        DecodingResult::U16(values) => values.into_iter().map(|v| measured(v.into())).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|v| measured(v.into())).collect(),
        DecodingResult::F32(values) => values.into_iter().map(|v| measured(v.into())).collect(),
        DecodingResult::F64(values) => values.into_iter().map(measured).collect(),
        _ => {
            return Err(Error::input("a TIFF with signed values")
                .with_expected("unsigned values of 8, 16 or 32 bits, or floats"));
        }
    };
    Array::new(&[height.into(), width.into()], &values).map_err(|_| {
        Error::input(format!("a TIFF of {width}x{height} with {} values", values.len()))
            .with_expected("one channel")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn png_of(colours: png::ColorType, depth: png::BitDepth, size: (u32, u32), data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(colours);
        encoder.set_depth(depth);
        if colours == png::ColorType::Indexed {
            encoder.set_palette([7u8; 48].to_vec());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    fn loaded(role: Role, source: FieldSource) -> Result<Field> {
        let mut fields = Fields::new().and(Field::lazy("f", role, source).filled_with(-1.0));
        load_fields(&mut fields)?;
        let field = fields.items.into_iter().next().unwrap();
        assert!(field.source.is_none());
        Ok(field)
    }

    #[test]
    fn label_maps_are_the_stored_values_of_every_bit_depth() {
        use png::{BitDepth, ColorType};
        for (colours, depth, data, expected) in [
            (
                ColorType::Grayscale,
                BitDepth::Eight,
                &[3u8, 255, 0][..],
                [3, 255, 0],
            ),
            (ColorType::Indexed, BitDepth::Four, &[0x1f, 0x20], [1, 15, 2]),
            (ColorType::Grayscale, BitDepth::One, &[0b1010_0000], [1, 0, 1]),
            (
                ColorType::Grayscale,
                BitDepth::Sixteen,
                &[1, 0, 0, 2, 255, 255],
                [256, 2, 65535],
            ),
        ] {
            let bytes = png_of(colours, depth, (3, 1), data);
            let field = loaded(
                Role::LABEL_MAP,
                FieldSource::encoded(bytes, FieldDecoder::LABEL_MAP),
            )
            .unwrap();
            assert_eq!(field.array.dims(), [1, 3]);
            assert_eq!(
                field.array.values::<i64>().unwrap(),
                expected,
                "{colours:?} {depth:?}"
            );
        }
        let rgb = png_of(ColorType::Rgb, BitDepth::Eight, (1, 1), &[1, 2, 3]);
        let error = loaded(
            Role::LABEL_MAP,
            FieldSource::encoded(rgb.clone(), FieldDecoder::LABEL_MAP),
        );
        assert!(error.unwrap_err().to_string().contains("field `f`"));
        let ids = loaded(Role::LABEL_MAP, FieldSource::encoded(rgb, FieldDecoder::RGB_IDS)).unwrap();
        assert_eq!(ids.array.values::<i64>().unwrap(), [1 + 2 * 256 + 3 * 65536]);
    }

    #[test]
    fn masks_come_from_png_and_run_lengths() {
        let bytes = png_of(
            png::ColorType::Grayscale,
            png::BitDepth::Eight,
            (2, 2),
            &[0, 9, 0, 255],
        );
        let mask = loaded(Role::MASKS, FieldSource::encoded(bytes, FieldDecoder::MASK)).unwrap();
        assert_eq!(mask.array.dims(), [1, 2, 2]);
        assert_eq!(mask.array.values::<u8>().unwrap(), [0, 1, 0, 1]);
        let counts = cvhost_rle::compress(&[2, 2]);
        let source = FieldSource::encoded(counts.clone().into_bytes(), FieldDecoder::RUN_LENGTHS);
        let rle = loaded(Role::MASKS, source.clone().with_extra(&json!({"size": [2, 2]}))).unwrap();
        assert_eq!(rle.array, mask.array);
        assert!(loaded(Role::MASKS, source.clone()).is_err());
        assert!(loaded(Role::MASKS, source.with_extra(&json!({"size": [2, 3]}))).is_err());
        let mut fields = Fields::new().and(Field::run_lengths("m", [2, 2], &[&counts, &counts]));
        dense_masks(&mut fields).unwrap();
        assert_eq!(fields.items[0].role, Role::MASKS);
        assert_eq!(
            fields.require("m").unwrap().values::<u8>().unwrap(),
            [0, 1, 0, 1, 0, 1, 0, 1]
        );
    }

    #[test]
    fn depth_is_scaled_and_missing_measurements_are_filled() {
        let bytes = png_of(
            png::ColorType::Grayscale,
            png::BitDepth::Sixteen,
            (2, 1),
            &[0, 0, 3, 232],
        );
        let source = FieldSource::encoded(bytes, FieldDecoder::DEPTH).with_extra(&json!({"scale": 0.001}));
        let field = loaded(Role::DENSE_MAP, source).unwrap();
        assert_eq!(field.array.values::<f32>().unwrap(), [-1.0, 1.0]);
        let mut tiff = Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut tiff).unwrap();
        encoder
            .write_image::<tiff::encoder::colortype::Gray32Float>(2, 1, &[2.5, 0.0])
            .unwrap();
        let source = FieldSource::encoded(tiff.into_inner(), FieldDecoder::DEPTH);
        let field = loaded(Role::DENSE_MAP, source).unwrap();
        assert_eq!(field.array.values::<f32>().unwrap(), [2.5, -1.0]);
    }

    #[test]
    fn loading_errors_name_the_file_and_the_field() {
        let missing = FieldSource::file("/no/such/map.png", FieldDecoder::LABEL_MAP);
        let error = loaded(Role::LABEL_MAP, missing).unwrap_err().to_string();
        assert!(
            error.contains("map.png") && error.contains("field `f`"),
            "{error}"
        );
        let later = FieldSource::encoded(vec![1], FieldDecoder(77));
        let error = loaded(Role::LABEL_MAP, later).unwrap_err().to_string();
        assert!(error.contains("decoder 77"), "{error}");
        let truncated = FieldSource::encoded(b"\x89PNG\r\n".to_vec(), FieldDecoder::DEPTH);
        assert!(loaded(Role::DENSE_MAP, truncated).is_err());
    }
}
