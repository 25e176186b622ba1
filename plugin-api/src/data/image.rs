//! Images, decoded and not yet decoded.

use super::containers::{List, Text};
use abi_stable::StableAbi;
use std::fmt;

/// What the channels of an image mean.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct ColourSpace(pub u32);

impl ColourSpace {
    /// Three channels: sRGB red, green, blue.
    pub const RGB: Self = Self(1);
    /// One channel of luminance.
    pub const GREY: Self = Self(2);
    /// Four channels: sRGB with straight alpha.
    pub const RGBA: Self = Self(3);
    /// Any number of channels whose meaning `Image::extra` describes, such as spectral bands.
    pub const CHANNELS: Self = Self(4);
}

impl fmt::Debug for ColourSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::RGB => "RGB",
            Self::GREY => "grey",
            Self::RGBA => "RGBA",
            Self::CHANNELS => "channels",
            Self(other) => return write!(f, "colour space {other}"),
        })
    }
}

/// A decoded image `[height, width, channels]`, row-major with interleaved channels.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq)]
pub struct Image {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    pub channels: u32,
    /// Bits of one channel of one pixel: 8 or 16.
    pub bits: u32,
    pub colour_space: ColourSpace,
    /// `height * width * channels` samples; with 16 bits two bytes each in native byte order.
    pub pixels: List<u8>,
    /// More about the image, as JSON text; empty for none.
    pub extra: Text,
}

impl Default for Image {
    /// An RGB image without pixels.
    fn default() -> Self {
        Image::rgb8(0, 0, Vec::new())
    }
}

impl Image {
    /// An 8-bit RGB image of `height * width * 3` bytes.
    pub fn rgb8(width: u32, height: u32, pixels: impl Into<List<u8>>) -> Self {
        Image {
            width,
            height,
            channels: 3,
            bits: 8,
            colour_space: ColourSpace::RGB,
            pixels: pixels.into(),
            extra: Text::new(),
        }
    }

    /// An 8-bit RGB image of one colour.
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Self {
        let count = width as usize * height as usize;
        Image::rgb8(width, height, rgb.repeat(count))
    }

    /// Whether the pixels are 8-bit RGB, which the accessors of this type read and write.
    pub fn is_rgb8(&self) -> bool {
        self.colour_space == ColourSpace::RGB && self.channels == 3 && self.bits == 8
    }

    /// The pixel of an 8-bit RGB image at column `x` and row `y`; `None` outside, and for other
    /// images.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        let start = self.start_of(x, y)?;
        self.pixels.get(start..start + 3)?.try_into().ok()
    }

    /// Sets the pixel of an 8-bit RGB image at column `x` and row `y`. Does nothing outside, and
    /// for other images.
    pub fn set_pixel(&mut self, x: u32, y: u32, rgb: [u8; 3]) {
        let Some(start) = self.start_of(x, y) else {
            return;
        };
        if let Some(pixel) = self.pixels.get_mut(start..start + 3) {
            pixel.copy_from_slice(&rgb);
        }
    }

    fn start_of(&self, x: u32, y: u32) -> Option<usize> {
        let inside = x < self.width && y < self.height && self.is_rgb8();
        inside.then(|| (y as usize * self.width as usize + x as usize) * 3)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image {}x{}", self.width, self.height)?;
        if !self.is_rgb8() {
            write!(
                f,
                " {:?}, {} x {} bits",
                self.colour_space, self.channels, self.bits
            )?;
        }
        Ok(())
    }
}

/// Where an image comes from. The host opens and decodes it.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct ImageSource {
    /// A file, or empty.
    pub path: Text,
    /// The bytes of an encoded image, or empty.
    pub bytes: List<u8>,
    /// An image that is decoded already (of a synthetic data set), or one of width 0.
    pub decoded: Image,
    /// What the image is to be decoded to. The host refuses what it can't decode to.
    pub colour_space: ColourSpace,
    /// Bits per channel to decode to: 8 or 16.
    pub bits: u32,
    /// More about the source, as JSON text; empty for none.
    pub extra: Text,
}

impl Default for ImageSource {
    /// No image, to be decoded to 8-bit RGB.
    fn default() -> Self {
        ImageSource {
            path: Text::new(),
            bytes: List::new(),
            decoded: Image::default(),
            colour_space: ColourSpace::RGB,
            bits: 8,
            extra: Text::new(),
        }
    }
}

impl ImageSource {
    /// The image in a file.
    pub fn file(path: impl Into<String>) -> Self {
        ImageSource {
            path: path.into().into(),
            ..Default::default()
        }
    }

    /// An encoded image in memory.
    pub fn encoded(bytes: Vec<u8>) -> Self {
        ImageSource {
            bytes: bytes.into(),
            ..Default::default()
        }
    }

    /// An image that is decoded already.
    pub fn decoded(image: Image) -> Self {
        ImageSource {
            colour_space: image.colour_space,
            bits: image.bits,
            decoded: image,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessors_read_and_write_8_bit_rgb_only() {
        let mut image = Image::filled(2, 1, [1, 2, 3]);
        image.set_pixel(1, 0, [7, 8, 9]);
        image.set_pixel(2, 0, [0, 0, 0]);
        assert_eq!(image.pixel(1, 0), Some([7, 8, 9]));
        assert_eq!(image.pixel(0, 1), None);
        let mut deep = Image {
            bits: 16,
            pixels: vec![0; 12].into(),
            ..image
        };
        deep.set_pixel(0, 0, [5, 5, 5]);
        assert_eq!((deep.pixel(0, 0), deep.pixels.iter().sum::<u8>()), (None, 0));
        assert_eq!(format!("{deep:?}"), "Image 2x1 RGB, 3 x 16 bits");
    }
}
