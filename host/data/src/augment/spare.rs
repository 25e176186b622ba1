//! Memory of images that are done with, kept for the next one of the same thread: fresh memory costs a page fault for every 4 KB,
//! together about as much as the change itself.

use cvhost_plugin_api::data::Image;
use fast_image_resize::Resizer;
use std::cell::RefCell;

/// Images larger than this, in bytes, are not kept.
const LARGEST: usize = 64 << 20;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// An image of that size with any content.
pub fn image(width: u32, height: u32) -> Image {
    let mut pixels = SPARE.with_borrow_mut(std::mem::take);
    pixels.resize(width as usize * height as usize * 3, 0);
    Image::rgb8(width, height, pixels)
}

/// Takes an image that is done with.
pub fn give(image: Image) {
    let pixels = image.pixels.into_vec();
    if pixels.capacity() <= LARGEST {
        SPARE.with_borrow_mut(|spare| {
            if spare.capacity() < pixels.capacity() {
                *spare = pixels;
            }
        });
    }
}

/// This thread's resizer, which has memory of its own.
pub fn with_resizer<R>(f: impl FnOnce(&mut Resizer) -> R) -> R {
    RESIZER.with_borrow_mut(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_for_any_size() {
        give(Image::filled(10, 10, [7; 3]));
        for (width, height) in [(5, 5), (20, 20), (0, 3)] {
            let image = image(width, height);
            assert_eq!(image.pixels.len() as u32, width * height * 3);
            give(image);
        }
    }
}
