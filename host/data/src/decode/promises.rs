//! Invariants of decoding arbitrary bytes, for the fuzz target and its corpus.

use super::{decode_bytes, header::Header, recycle};
use cvhost_plugin_api::data::Image;

/// Decodes bytes in every way and checks the invariants: the size equals the one in the header, the
/// pixels fill the image, and a scaled image is at least as large as requested. Bytes that aren't
/// an image violate none.
///
/// # Errors
/// A description of the violated invariant.
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
        return Err(format!(
            "decoded size {size:?}, but the header says {announced:?}"
        ));
    }
    recycle(decoded.image);
    let least = (size.0 / 3, size.1 / 3);
    match decode_bytes(bytes, Some(least)) {
        Ok(scaled) => {
            full(&scaled.image)?;
            let (width, height) = (scaled.image.width, scaled.image.height);
            if width < least.0 || height < least.1 || scaled.original != size {
                return Err(format!(
                    "{width}x{height} of {size:?}, but at least {least:?} was requested"
                ));
            }
            recycle(scaled.image);
            Ok(())
        }
        Err(error) => Err(format!("decoded in full, but not scaled: {error}")),
    }
}
