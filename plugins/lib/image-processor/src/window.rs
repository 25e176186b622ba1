//! The part of a resized image that a model sees.

use std::ops::Range;

/// The part of one side of a resized image that is shown. It may reach over the image's border.
pub(crate) struct Window {
    /// Positions of the input before the image begins.
    pub(crate) before: usize,
    /// The image's positions that are shown.
    pub(crate) shown: Range<usize>,
}

impl Window {
    /// The middle `crop` of a side of `size`. Where a half is left over it is before an image that is too small, and after
    /// a part.
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
