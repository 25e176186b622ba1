//! Images, decoded and not yet decoded.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// A decoded image: 8-bit RGB, `[height, width, 3]`, row-major.
#[repr(C)]
#[derive(StableAbi, Clone, Default, PartialEq)]
pub struct Image {
    pub width: u32,
    pub height: u32,
    /// `height * width * 3` bytes.
    pub pixels: RVec<u8>,
}

impl Image {
    /// An image of one colour.
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Self {
        let count = width as usize * height as usize;
        Image {
            width,
            height,
            pixels: rgb.repeat(count).into(),
        }
    }

    /// The pixel at column `x` and row `y`, or `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        self.pixels.get(start..start + 3)?.try_into().ok()
    }

    /// Sets the pixel at column `x` and row `y`; outside nothing happens.
    pub fn set_pixel(&mut self, x: u32, y: u32, rgb: [u8; 3]) {
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        if let Some(pixel) = self.pixels.get_mut(start..start + 3) {
            pixel.copy_from_slice(&rgb);
        }
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image {}x{}", self.width, self.height)
    }
}

/// Where an image comes from. The host opens and decodes it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct ImageSource {
    /// A file, or empty.
    pub path: RString,
    /// The bytes of an encoded image, or empty.
    pub bytes: RVec<u8>,
    /// An image that is decoded already (a synthetic data set makes such), or one of width 0.
    pub decoded: Image,
}

impl ImageSource {
    pub fn file(path: impl Into<String>) -> Self {
        ImageSource {
            path: path.into().into(),
            ..Default::default()
        }
    }

    pub fn encoded(bytes: Vec<u8>) -> Self {
        ImageSource {
            bytes: bytes.into(),
            ..Default::default()
        }
    }

    pub fn decoded(image: Image) -> Self {
        ImageSource {
            decoded: image,
            ..Default::default()
        }
    }
}
