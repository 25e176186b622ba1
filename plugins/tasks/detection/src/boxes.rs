//! Annotated boxes that aren't right, and what is done about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a box may reach over the picture's edge before it counts as wrong, in pixels: annotation tools round.
const ROUNDING: f64 = 0.5;

/// What happens to boxes that aren't right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoxPolicy {
    Error,
    #[default]
    Clip,
    Drop,
}

/// What is wrong with a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BoxFault {
    /// NaN, infinite, or null.
    NotFinite,
    NegativeSize,
    NoArea,
    /// No part of it is inside the picture.
    Elsewhere,
    PartlyOutside,
}

impl fmt::Display for BoxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BoxFault::NotFinite => "not a number in it",
            BoxFault::NegativeSize => "negative width or height",
            BoxFault::NoArea => "no area",
            BoxFault::Elsewhere => "wholly outside the picture",
            BoxFault::PartlyOutside => "reaches out of the picture",
        })
    }
}

/// The right and bottom edge of a picture; none where its size isn't known.
fn edges((width, height): (u32, u32)) -> (f64, f64) {
    let edge = |side: u32| if side == 0 { f64::INFINITY } else { f64::from(side) };
    (edge(width), edge(height))
}

/// What is wrong with the box `[x, y, width, height]`, in pixels, of a picture of `(width, height)`, 0 where unknown.
pub fn fault([x, y, w, h]: [f64; 4], size: (u32, u32)) -> Option<BoxFault> {
    if ![x, y, w, h].iter().all(|v| v.is_finite()) {
        return Some(BoxFault::NotFinite);
    }
    if w < 0.0 || h < 0.0 {
        return Some(BoxFault::NegativeSize);
    }
    if w == 0.0 || h == 0.0 {
        return Some(BoxFault::NoArea);
    }
    let (right, bottom) = edges(size);
    if x >= right || y >= bottom || x + w <= 0.0 || y + h <= 0.0 {
        return Some(BoxFault::Elsewhere);
    }
    let outside = x < -ROUNDING || y < -ROUNDING || x + w > right + ROUNDING || y + h > bottom + ROUNDING;
    outside.then_some(BoxFault::PartlyOutside)
}

/// The box as a training target under a policy: `[x1, y1, x2, y2]` inside the picture, or `None` where it is left out.
pub fn target(xywh: [f64; 4], size: (u32, u32), policy: BoxPolicy) -> Option<[f64; 4]> {
    match (fault(xywh, size), policy) {
        (None, _) | (Some(BoxFault::PartlyOutside), BoxPolicy::Clip) => {}
        _ => return None,
    }
    let [x, y, w, h] = xywh;
    let (right, bottom) = edges(size);
    let clipped = [x.max(0.0), y.max(0.0), (x + w).min(right), (y + h).min(bottom)];
    // A sliver can vanish in rounding.
    (clipped[2] > clipped[0] && clipped[3] > clipped[1]).then_some(clipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (u32, u32) = (100, 50);

    #[test]
    fn every_kind_of_wrong_box_is_told_apart() {
        assert_eq!(fault([10.0, 10.0, 20.0, 20.0], SIZE), None);
        assert_eq!(fault([80.0, 10.0, 20.0, 40.0], SIZE), None);
        assert_eq!(
            fault([f64::NAN, 10.0, 20.0, 20.0], SIZE),
            Some(BoxFault::NotFinite)
        );
        assert_eq!(
            fault([10.0, 10.0, -20.0, 20.0], SIZE),
            Some(BoxFault::NegativeSize)
        );
        assert_eq!(fault([10.0, 10.0, 0.0, 20.0], SIZE), Some(BoxFault::NoArea));
        assert_eq!(fault([100.0, 10.0, 5.0, 5.0], SIZE), Some(BoxFault::Elsewhere));
        assert_eq!(
            fault([-5.0, 10.0, 10.0, 5.0], SIZE),
            Some(BoxFault::PartlyOutside)
        );
        assert_eq!(fault([90.0, 10.0, 20.0, 5.0], (0, 0)), None);
        assert_eq!(fault([90.0, 10.0, 10.3, 5.0], SIZE), None);
    }

    #[test]
    fn clip_cuts_and_drop_leaves_out() {
        let out = [90.0, 40.0, 20.0, 20.0];
        assert_eq!(
            target(out, SIZE, BoxPolicy::Clip),
            Some([90.0, 40.0, 100.0, 50.0])
        );
        assert_eq!(target(out, SIZE, BoxPolicy::Drop), None);
        assert_eq!(target([1.0, 1.0, 0.0, 0.0], SIZE, BoxPolicy::Clip), None);
        assert_eq!(
            target([90.0, 10.0, 10.3, 5.0], SIZE, BoxPolicy::Drop),
            Some([90.0, 10.0, 100.0, 15.0])
        );
    }
}
