//! What holds for any bytes, checked on bytes that nobody chose: for the fuzz target and its corpus.

use super::{decode_bytes, header::Header, recycle};
use cvhost_plugin_api::data::Picture;

/// Decodes bytes in every way, and says which promise is broken: a size as the header announced, pixels that fill the picture, a
/// scaled picture that isn't smaller than asked for. That the bytes are no picture breaks none.
pub fn check_promises(bytes: &[u8]) -> Result<(), String> {
    let mut head = bytes;
    let announced = Header::read(&mut head).map(|header| header.upright_size());
    let full = |picture: &Picture| {
        let expected = picture.width as usize * picture.height as usize * 3;
        if picture.pixels.len() == expected {
            Ok(())
        } else {
            Err(format!("{picture:?} has {} bytes", picture.pixels.len()))
        }
    };
    let Ok(decoded) = decode_bytes(bytes, None) else {
        return Ok(());
    };
    full(&decoded.picture)?;
    let size = (decoded.picture.width, decoded.picture.height);
    if announced.as_ref().ok() != Some(&size) || decoded.original != size {
        return Err(format!("{size:?} decoded, {announced:?} announced"));
    }
    recycle(decoded.picture);
    let least = (size.0 / 3, size.1 / 3);
    match decode_bytes(bytes, Some(least)) {
        Ok(scaled) => {
            full(&scaled.picture)?;
            let (width, height) = (scaled.picture.width, scaled.picture.height);
            if width < least.0 || height < least.1 || scaled.original != size {
                return Err(format!(
                    "{width}x{height} of {size:?}, at least {least:?} asked for"
                ));
            }
            recycle(scaled.picture);
            Ok(())
        }
        Err(error) => Err(format!("decoded in full, but not scaled: {error}")),
    }
}
