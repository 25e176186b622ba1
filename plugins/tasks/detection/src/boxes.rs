//! Invalid annotated boxes and how they are handled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a box may extend beyond the image before it counts as invalid, in pixels: annotation
/// tools round.
const ROUNDING: f64 = 0.5;
/// The same for boxes in fractions of the image's sides, whose size isn't known: half a pixel of
/// 500.
const RELATIVE_ROUNDING: f64 = 0.001;

/// How invalid boxes are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoxPolicy {
    Error,
    #[default]
    Clip,
    Drop,
}

/// The defect of an invalid box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BoxFault {
    /// Contains NaN, an infinity or null.
    NotFinite,
    NegativeSize,
    NoArea,
    /// Entirely outside the image.
    Elsewhere,
    PartlyOutside,
}

impl fmt::Display for BoxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BoxFault::NotFinite => "not a finite number",
            BoxFault::NegativeSize => "negative width or height",
            BoxFault::NoArea => "no area",
            BoxFault::Elsewhere => "entirely outside the image",
            BoxFault::PartlyOutside => "extends beyond the image",
        })
    }
}

/// The bounds that an image's boxes are checked against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    right: f64,
    bottom: f64,
    rounding: f64,
}

impl Frame {
    /// For boxes in pixels of an image of `(width, height)`, 0 if unknown.
    pub fn pixels((width, height): (u32, u32)) -> Self {
        let edge = |side: u32| if side == 0 { f64::INFINITY } else { f64::from(side) };
        Frame {
            right: edge(width),
            bottom: edge(height),
            rounding: ROUNDING,
        }
    }

    /// For boxes in fractions of the image's sides.
    pub fn relative() -> Self {
        Frame {
            right: 1.0,
            bottom: 1.0,
            rounding: RELATIVE_ROUNDING,
        }
    }
}

/// Checks the box `[x, y, width, height]`.
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

/// The box as a training target under a policy: `[x1, y1, x2, y2]` inside the image, in the box's
/// own unit, or `None` if it is dropped.
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
    // A thin sliver can vanish by rounding.
    (clipped[2] > clipped[0] && clipped[3] > clipped[1]).then_some(clipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::pixels((100, 50))
    }

    #[test]
    fn all_kinds_of_invalid_boxes_are_distinguished() {
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
    fn relative_boxes_are_checked_against_the_whole_side() {
        let frame = Frame::relative();
        assert_eq!(fault([0.5, 0.5, 0.5004, 0.5], frame), None);
        assert_eq!(fault([0.5, 0.5, 0.6, 0.5], frame), Some(BoxFault::PartlyOutside));
        assert_eq!(fault([1.0, 0.5, 0.6, 0.5], frame), Some(BoxFault::Elsewhere));
        let clipped = target([0.5, 0.5, 0.6, 0.5], frame, BoxPolicy::Clip);
        assert_eq!(clipped, Some([0.5, 0.5, 1.0, 1.0]));
    }

    #[test]
    fn clip_crops_boxes_and_drop_removes_them() {
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
