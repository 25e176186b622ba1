//! PNG encoding.

use cvhost_plugin_api::error::{PluginError, Result};
use png::{BitDepth, ColorType, Encoder};

/// An 8-bit RGB image of `width` x `height` pixels, row-major.
pub fn rgb(width: u32, height: u32, pixels: &[u8]) -> Result<Vec<u8>> {
    encode(width, height, ColorType::Rgb, BitDepth::Eight, pixels)
}

/// A 16-bit grayscale image.
pub fn gray16(width: u32, height: u32, values: &[u16]) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    encode(width, height, ColorType::Grayscale, BitDepth::Sixteen, &bytes)
}

fn encode(width: u32, height: u32, colour: ColorType, depth: BitDepth, data: &[u8]) -> Result<Vec<u8>> {
    let failed =
        |e: png::EncodingError| PluginError::failed(format!("cannot encode a PNG of {width}x{height}: {e}"));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(data).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
