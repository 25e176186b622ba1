//! Annotated boxes that aren't right, and what is done about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a box may reach over the image's edge before it counts as wrong, in pixels: annotation tools round.
const ROUNDING: f64 = 0.5;
/// The same where boxes are in parts of the image's sides and its size isn't known: half a pixel of 500.
const RELATIVE_ROUNDING: f64 = 0.001;

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
    /// No part of it is inside the image.
    Elsewhere,
    PartlyOutside,
}

impl fmt::Display for BoxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BoxFault::NotFinite => "not a number in it",
            BoxFault::NegativeSize => "negative width or height",
            BoxFault::NoArea => "no area",
            BoxFault::Elsewhere => "wholly outside the image",
            BoxFault::PartlyOutside => "reaches out of the image",
        })
    }
}

/// What boxes of an image are measured by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    right: f64,
    bottom: f64,
    rounding: f64,
}

impl Frame {
    /// Boxes in pixels of an image of `(width, height)`, 0 where unknown.
    pub fn pixels((width, height): (u32, u32)) -> Self {
        let edge = |side: u32| if side == 0 { f64::INFINITY } else { f64::from(side) };
        Frame {
            right: edge(width),
            bottom: edge(height),
            rounding: ROUNDING,
        }
    }

    /// Boxes in parts of the image's sides.
    pub fn relative() -> Self {
        Frame {
            right: 1.0,
            bottom: 1.0,
            rounding: RELATIVE_ROUNDING,
        }
    }
}

/// What is wrong with the box `[x, y, width, height]`.
pub fn fault([x, y, w, h]: [f64; 4], frame: Frame) -> Option<BoxFault> {
    if ![x, y, w, h].iter().all(|v| v.is_finite()) {
        return Some(BoxFault::NotFinite);
    }
    if w < 0.0 || h < 0.0 {
        return Some(BoxFault::NegativeSize);
    }
    if w == 0.0 || h == 0.0 {
        return Some(BoxFault::NoArea);
    }
    let Frame {
        right,
        bottom,
        rounding,
    } = frame;
    if x >= right || y >= bottom || x + w <= 0.0 || y + h <= 0.0 {
        return Some(BoxFault::Elsewhere);
    }
    let outside = x < -rounding || y < -rounding || x + w > right + rounding || y + h > bottom + rounding;
    outside.then_some(BoxFault::PartlyOutside)
}

/// The box as a training target under a policy: `[x1, y1, x2, y2]` inside the image, in the box's own unit, or `None` where
/// it is left out.
pub fn target(xywh: [f64; 4], frame: Frame, policy: BoxPolicy) -> Option<[f64; 4]> {
    match (fault(xywh, frame), policy) {
        (None, _) | (Some(BoxFault::PartlyOutside), BoxPolicy::Clip) => {}
        _ => return None,
    }
    let [x, y, w, h] = xywh;
    let clipped = [
        x.max(0.0),
        y.max(0.0),
        (x + w).min(frame.right),
        (y + h).min(frame.bottom),
    ];
    // A sliver can vanish in rounding.
    (clipped[2] > clipped[0] && clipped[3] > clipped[1]).then_some(clipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::pixels((100, 50))
    }

    #[test]
    fn every_kind_of_wrong_box_is_told_apart() {
        assert_eq!(fault([10.0, 10.0, 20.0, 20.0], frame()), None);
        assert_eq!(fault([80.0, 10.0, 20.0, 40.0], frame()), None);
        assert_eq!(
            fault([f64::NAN, 10.0, 20.0, 20.0], frame()),
            Some(BoxFault::NotFinite)
        );
        assert_eq!(
            fault([10.0, 10.0, -20.0, 20.0], frame()),
            Some(BoxFault::NegativeSize)
        );
        assert_eq!(fault([10.0, 10.0, 0.0, 20.0], frame()), Some(BoxFault::NoArea));
        assert_eq!(fault([100.0, 10.0, 5.0, 5.0], frame()), Some(BoxFault::Elsewhere));
        assert_eq!(
            fault([-5.0, 10.0, 10.0, 5.0], frame()),
            Some(BoxFault::PartlyOutside)
        );
        assert_eq!(fault([90.0, 10.0, 20.0, 5.0], Frame::pixels((0, 0))), None);
        assert_eq!(fault([90.0, 10.0, 10.3, 5.0], frame()), None);
    }

    #[test]
    fn relative_boxes_are_measured_by_the_whole_side() {
        let frame = Frame::relative();
        assert_eq!(fault([0.5, 0.5, 0.5004, 0.5], frame), None);
        assert_eq!(fault([0.5, 0.5, 0.6, 0.5], frame), Some(BoxFault::PartlyOutside));
        assert_eq!(fault([1.0, 0.5, 0.6, 0.5], frame), Some(BoxFault::Elsewhere));
        let clipped = target([0.5, 0.5, 0.6, 0.5], frame, BoxPolicy::Clip);
        assert_eq!(clipped, Some([0.5, 0.5, 1.0, 1.0]));
    }

    #[test]
    fn clip_cuts_and_drop_leaves_out() {
        let out = [90.0, 40.0, 20.0, 20.0];
        assert_eq!(
            target(out, frame(), BoxPolicy::Clip),
            Some([90.0, 40.0, 100.0, 50.0])
        );
        assert_eq!(target(out, frame(), BoxPolicy::Drop), None);
        assert_eq!(target([1.0, 1.0, 0.0, 0.0], frame(), BoxPolicy::Clip), None);
        assert_eq!(
            target([90.0, 10.0, 10.3, 5.0], frame(), BoxPolicy::Drop),
            Some([90.0, 10.0, 100.0, 15.0])
        );
    }
}
