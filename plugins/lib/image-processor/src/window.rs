//! The part of a resized image that is visible to a model.

use std::ops::Range;

/// The visible part of one side of a resized image. It may extend beyond the image's border.
pub(crate) struct Window {
    /// Number of input positions before the image starts.
    pub(crate) before: usize,
    /// The visible positions of the image.
    pub(crate) shown: Range<usize>,
}

impl Window {
    /// The center crop of length `crop` of a side of length `size`. An odd remainder goes before an
    /// image that is smaller than the crop, and after the crop otherwise.
    pub(crate) fn middle(size: u32, crop: u32) -> Self {
        let (size, crop) = (i64::from(size), i64::from(crop));
        let start = (size - crop).div_euclid(2);
        Window {
            before: (-start).max(0) as usize,
            shown: start.max(0) as usize..(start + crop).min(size) as usize,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shown.len()
    }
}
