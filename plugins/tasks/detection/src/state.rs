//! Serialization of an evaluator's state, sent between ranks.
//!
//! Magic, the length of the matcher's state, that state, and the stored predictions: 0 for none, or
//! 1, the number of images, and the images. An image: id, count, and for each prediction the label
//! and the bits of x, y, width, height, score. All u64, little-endian.

use crate::evaluate::{Detected, Kept};
use cvhost_plugin_api::{PluginError, Result};

const MAGIC: &[u8; 8] = b"CVHDET01";

pub fn write(matcher: &[u8], kept: Option<&Kept>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut put = |value: u64| out.extend_from_slice(&value.to_le_bytes());
    put(matcher.len() as u64);
    out.extend_from_slice(matcher);
    let mut put = |value: u64| out.extend_from_slice(&value.to_le_bytes());
    put(u64::from(kept.is_some()));
    if let Some(kept) = kept {
        put(kept.len() as u64);
    }
    for (&image, predictions) in kept.into_iter().flatten() {
        put(image);
        put(predictions.len() as u64);
        for Detected { label, xywh, score } in predictions.iter() {
            put(u64::from(*label));
            xywh.iter().for_each(|v| put(v.to_bits()));
            put(score.to_bits());
        }
    }
    out
}

/// The matcher's state and the stored predictions. Fails for bytes that weren't produced by
/// [`write`].
pub fn read(bytes: &[u8]) -> Result<(&[u8], Option<Kept>)> {
    let mut rest = bytes;
    read_parts(&mut rest).filter(|_| rest.is_empty()).ok_or_else(|| {
        PluginError::failed("the state to merge was not written by this version of the evaluator")
    })
}

fn read_parts<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<Kept>)> {
    if take(rest, MAGIC.len())? != MAGIC {
        return None;
    }
    let length = usize::try_from(number(rest)?).ok()?;
    let matcher = take(rest, length)?;
    if number(rest)? == 0 {
        return Some((matcher, None));
    }
    let mut kept = Kept::new();
    for _ in 0..number(rest)? {
        let image = number(rest)?;
        let count = number(rest)?;
        let mut predictions = Vec::new();
        for _ in 0..count {
            let label = u32::try_from(number(rest)?).ok()?;
            let mut numbers = [0.0; 5];
            for slot in &mut numbers {
                *slot = f64::from_bits(number(rest)?);
            }
            let [x, y, w, h, score] = numbers;
            predictions.push(Detected {
                label,
                xywh: [x, y, w, h],
                score,
            });
        }
        kept.insert(image, predictions.into());
    }
    Some((matcher, Some(kept)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8)?.try_into().ok().map(u64::from_le_bytes)
}
