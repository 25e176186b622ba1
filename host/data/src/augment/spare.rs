//! Thread-local reuse of the memory of images, because fresh memory costs a page fault per 4 KB,
//! which takes about as long as the augmentation itself.

use cvhost_plugin_api::data::Image;
use fast_image_resize::Resizer;
use std::cell::RefCell;

/// Maximum size of a retained image, in bytes.
const MAX_SIZE: usize = 64 << 20;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// An image of this size with arbitrary contents.
pub fn image(width: u32, height: u32) -> Image {
    let mut pixels = SPARE.with_borrow_mut(std::mem::take);
    pixels.resize(width as usize * height as usize * 3, 0);
    Image::rgb8(width, height, pixels)
}

/// Retains the memory of an unused image.
pub fn give(image: Image) {
    let pixels = image.pixels.into_vec();
    if pixels.capacity() <= MAX_SIZE {
        SPARE.with_borrow_mut(|spare| {
            if spare.capacity() < pixels.capacity() {
                *spare = pixels;
            }
        });
    }
}

/// Calls `f` with this thread's resizer, which has internal buffers.
pub fn with_resizer<R>(f: impl FnOnce(&mut Resizer) -> R) -> R {
    RESIZER.with_borrow_mut(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused_for_any_size() {
        give(Image::filled(10, 10, [7; 3]));
        for (width, height) in [(5, 5), (20, 20), (0, 3)] {
            let image = image(width, height);
            assert_eq!(image.pixels.len() as u32, width * height * 3);
            give(image);
        }
    }
}
