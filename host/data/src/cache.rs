//! Decoded images cached in memory, so that later epochs need not decode them.

use crate::decode::Scaled;
use cvhost::error::Result;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Caches the first images it sees until its budget is used up. Every epoch reads every image, so
/// any selection is as good as any other, and nothing is ever evicted.
pub struct ImageCache {
    /// Maximum size of the cached pixels, in bytes.
    budget: usize,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    images: HashMap<(usize, usize), Arc<Scaled>>,
    bytes: usize,
}

impl ImageCache {
    pub fn new(budget: usize) -> Self {
        ImageCache {
            budget,
            kept: RwLock::default(),
        }
    }

    /// The image with that key (record, number of the image within the record); calls `decode` if
    /// it isn't cached.
    pub fn get(&self, key: (usize, usize), decode: impl FnOnce() -> Result<Scaled>) -> Result<Scaled> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let found = kept.images.get(&key).cloned();
        drop(kept);
        if let Some(image) = found {
            return Ok(Scaled::clone(&image));
        }
        let image = decode()?;
        let size = image.image.pixels.len();
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + size <= self.budget && !kept.images.contains_key(&key) {
            kept.bytes += size;
            kept.images.insert(key, Arc::new(image.clone()));
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::Image;
    use std::cell::Cell;

    #[test]
    fn cached_images_are_decoded_once_and_others_each_time() {
        let cache = ImageCache::new(2 * 4 * 4 * 3);
        let decoded = Cell::new(0);
        for _ in 0..3 {
            for record in 0..3 {
                let image = cache
                    .get((record, 0), || {
                        decoded.set(decoded.get() + 1);
                        Ok(Scaled {
                            image: Image::filled(4, 4, [record as u8; 3]),
                            original: (8, 8),
                        })
                    })
                    .unwrap();
                assert_eq!(image.original, (8, 8));
                assert_eq!(image.image.pixel(0, 0), Some([record as u8; 3]));
            }
        }
        assert_eq!(decoded.get(), 2 + 3);
    }
}
