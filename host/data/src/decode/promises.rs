//! What holds for any bytes, checked on bytes that nobody chose: for the fuzz target and its corpus.

use super::{decode_bytes, header::Header, recycle};
use cvhost_plugin_api::data::Image;

/// Decodes bytes in every way, and says which promise is broken: a size as the header announced, pixels that fill the image, a
/// scaled image that isn't smaller than asked for. That the bytes are no image breaks none.
pub fn check_promises(bytes: &[u8]) -> Result<(), String> {
    let mut head = bytes;
    let announced = Header::read(&mut head).map(|header| header.upright_size());
    let full = |image: &Image| {
        let expected = image.width as usize * image.height as usize * 3;
        if image.pixels.len() == expected {
            Ok(())
        } else {
            Err(format!("{image:?} has {} bytes", image.pixels.len()))
        }
    };
    let Ok(decoded) = decode_bytes(bytes, None) else {
        return Ok(());
    };
    full(&decoded.image)?;
    let size = (decoded.image.width, decoded.image.height);
    if announced.as_ref().ok() != Some(&size) || decoded.original != size {
        return Err(format!("{size:?} decoded, {announced:?} announced"));
    }
    recycle(decoded.image);
    let least = (size.0 / 3, size.1 / 3);
    match decode_bytes(bytes, Some(least)) {
        Ok(scaled) => {
            full(&scaled.image)?;
            let (width, height) = (scaled.image.width, scaled.image.height);
            if width < least.0 || height < least.1 || scaled.original != size {
                return Err(format!(
                    "{width}x{height} of {size:?}, at least {least:?} asked for"
                ));
            }
            recycle(scaled.image);
            Ok(())
        }
        Err(error) => Err(format!("decoded in full, but not scaled: {error}")),
    }
}
