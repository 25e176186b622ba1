//! COCO's run-length encoding of masks: the lengths of alternating runs of 0 and 1, beginning with 0,
//! column by column.
//!
//! The compressed form is text. Each run from the fourth on is stored as its difference to the run two
//! before it. Each number is split into groups of 5 bits, lowest first; the sixth bit says that more
//! follow, and 48 is added to make a printable character (cocodataset/cocoapi, `maskApi.c`,
//! `rleToString` and `rleFrString`).

/// A mask of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rle {
    /// Pixels.
    pub height: u32,
    pub width: u32,
    /// Compressed.
    pub counts: Box<str>,
}

/// What is wrong with a compressed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A character outside of `0` to `o`, or a number that is truncated or too large.
    Text,
    /// A run with a negative length.
    Negative,
    /// Runs that don't add up to the mask's size.
    Size,
}

impl Rle {
    /// The lengths of the runs. Those of a valid mask add up to `height * width`.
    pub fn runs(&self) -> impl Iterator<Item = u32> {
        // What a reader has checked has no broken runs.
        Runs::new(&self.counts).map_while(Result::ok)
    }
}

/// Decodes runs one by one.
pub struct Runs<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// The run before the last one, and the last one.
    before: [i64; 2],
    count: usize,
}

impl<'a> Runs<'a> {
    pub fn new(text: &'a str) -> Self {
        Runs {
            bytes: text.as_bytes().iter(),
            before: [0; 2],
            count: 0,
        }
    }

    fn number(&mut self, first: u8) -> Result<i64, Broken> {
        let (mut value, mut shift, mut byte) = (0i64, 0u32, first);
        loop {
            let group = byte.checked_sub(48).filter(|g| *g < 64).ok_or(Broken::Text)?;
            // 7 groups hold every 32-bit length with its sign.
            if shift >= 35 {
                return Err(Broken::Text);
            }
            value |= i64::from(group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 == 0 {
                if group & 0x10 != 0 {
                    value |= -1 << shift;
                }
                return Ok(value);
            }
            byte = *self.bytes.next().ok_or(Broken::Text)?;
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<u32, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.bytes.next()?;
        let value = match self.number(first) {
            Ok(value) => value,
            Err(broken) => return Some(Err(broken)),
        };
        let run = if self.count > 2 {
            value + self.before[0]
        } else {
            value
        };
        self.count += 1;
        self.before = [self.before[1], run];
        Some(u32::try_from(run).map_err(|_| Broken::Negative))
    }
}

/// Runs as compressed text.
pub fn compress(runs: &[u32]) -> String {
    let mut text = String::with_capacity(runs.len() * 2);
    for (i, &run) in runs.iter().enumerate() {
        let before = i.checked_sub(2).filter(|_| i > 2).and_then(|b| runs.get(b));
        let mut value = i64::from(run) - before.map_or(0, |&b| i64::from(b));
        loop {
            let mut group = (value & 0x1f) as u8;
            value >>= 5;
            let more = if group & 0x10 != 0 {
                value != -1
            } else {
                value != 0
            };
            if more {
                group |= 0x20;
            }
            text.push(char::from(group + 48));
            if !more {
                break;
            }
        }
    }
    text
}

/// Writes a mask into `out`, row-major `[height, width]`, 0 or 1.
///
/// # Errors
/// A text that isn't valid, and runs that don't add up to `height * width`.
pub fn decode(counts: &str, height: usize, width: usize, out: &mut [u8]) -> Result<(), Broken> {
    let size = height
        .checked_mul(width)
        .filter(|size| *size == out.len())
        .ok_or(Broken::Size)?;
    out.fill(0);
    let (mut at, mut value) = (0usize, false);
    for run in Runs::new(counts) {
        let end = at.saturating_add(run? as usize);
        if end > size {
            return Err(Broken::Size);
        }
        if value {
            for position in at..end {
                let (column, row) = (position / height, position % height);
                if let Some(pixel) = out.get_mut(row * width + column) {
                    *pixel = 1;
                }
            }
        }
        (at, value) = (end, !value);
    }
    if at == size { Ok(()) } else { Err(Broken::Size) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_that_of_the_coco_tools() {
        // pycocotools.mask.frPyObjects({"counts": …, "size": […]})
        assert_eq!(compress(&[6, 1, 40, 4, 5, 4, 5, 4, 21]), "61X13mN000`0");
        assert_eq!(compress(&[0, 100_000]), "0PeQ3");
        let runs: Result<Vec<u32>, Broken> = Runs::new("61X13mN000`0").collect();
        assert_eq!(runs.unwrap(), [6, 1, 40, 4, 5, 4, 5, 4, 21]);
    }

    #[test]
    fn broken_text_is_an_error() {
        for (text, broken) in [
            ("p", Broken::Text),
            (" ", Broken::Text),
            ("P", Broken::Text),
            ("PPPPPPPP0", Broken::Text),
            ("O", Broken::Negative),
        ] {
            assert_eq!(Runs::new(text).find(Result::is_err), Some(Err(broken)), "{text}");
        }
    }

    #[test]
    fn a_mask_is_decoded_column_by_column() {
        // 2 rows, 3 columns: the lower left pixel and both of the last column.
        let mut mask = [9; 6];
        decode(&compress(&[1, 1, 2, 2]), 2, 3, &mut mask).unwrap();
        assert_eq!(mask, [0, 0, 1, 1, 0, 1]);
        for wrong in [&[1, 1][..], &[7], &[1, 1, 2, 3]] {
            assert_eq!(
                decode(&compress(wrong), 2, 3, &mut mask),
                Err(Broken::Size),
                "{wrong:?}"
            );
        }
        assert_eq!(decode("p", 2, 3, &mut mask), Err(Broken::Text));
    }

    proptest! {
        #[test]
        fn any_runs_come_back(runs in proptest::collection::vec(any::<u32>(), 0..50)) {
            let text = compress(&runs);
            let back: Result<Vec<u32>, Broken> = Runs::new(&text).collect();
            prop_assert_eq!(back.unwrap(), runs);
        }
    }
}
