//! Computes the size that an image is resized to.

use cvhost_plugin_api::error::{PluginError, Result};

/// The maximum side length accepted anywhere, in pixels.
pub(crate) const MAX_SIDE: u32 = 16384;

/// The rule for the size of a model's input, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// Keeps the aspect ratio: the shorter side becomes `shortest`, unless the longer one would
    /// exceed `longest`.
    Edges { shortest: u32, longest: u32 },
    /// Keeps the aspect ratio: the shorter side becomes `edge`.
    Shortest { edge: u32 },
    /// ConvNeXT's rule. For an `edge` below 384, the shorter side becomes edge / crop_pct, and the
    /// image is center-cropped to a square of `edge`. From 384 on, the image is warped to a square
    /// of `edge`, regardless of its aspect ratio.
    ConvNext { edge: u32, crop_pct: f64 },
    /// Exactly this size, regardless of the image's aspect ratio.
    Exact { height: u32, width: u32 },
    /// Keeps the aspect ratio: as large as fits into `height` × `width`.
    Within { height: u32, width: u32 },
}

/// From this edge on, ConvNeXT's rule warps instead of cropping.
const CONV_NEXT_WARPS: u32 = 384;

impl Size {
    /// Height and width of the center crop that the rule takes of a resized image.
    pub(crate) fn crop(self) -> Option<[u32; 2]> {
        match self {
            Size::ConvNext { edge, .. } if edge < CONV_NEXT_WARPS => Some([edge, edge]),
            _ => None,
        }
    }
}

/// The width and height that an image is resized to. Sides from `Size::Edges` are rounded down to a
/// multiple of `multiple`; then all sides are rounded up to a multiple of `divisor`.
pub(crate) fn target(size: Size, multiple: u32, divisor: u32, width: u32, height: u32) -> Result<(u32, u32)> {
    let (target_width, target_height) = match size {
        Size::Exact { height, width } => (u64::from(width), u64::from(height)),
        Size::Within {
            height: most_height,
            width: most_width,
        } => {
            let scale =
                (f64::from(most_height) / f64::from(height)).min(f64::from(most_width) / f64::from(width));
            (int(f64::from(width) * scale), int(f64::from(height) * scale))
        }
        Size::Shortest { edge } => by_shortest(u64::from(edge), width, height),
        Size::ConvNext { edge, .. } if edge >= CONV_NEXT_WARPS => (u64::from(edge), u64::from(edge)),
        Size::ConvNext { edge, crop_pct } => by_shortest(int(f64::from(edge) / crop_pct), width, height),
        Size::Edges { shortest, longest } => {
            let (w, h) = by_edges(shortest, longest, multiple, width, height);
            let multiple = u64::from(multiple.max(1));
            (w - w % multiple, h - h % multiple)
        }
    };
    // A side of an extremely elongated image would become 0; it gets the smallest possible size
    // instead.
    let least = if matches!(size, Size::Edges { .. }) {
        u64::from(multiple.max(1))
    } else {
        1
    };
    let rounded = |side: u64| {
        side.max(least)
            .checked_next_multiple_of(u64::from(divisor.max(1)))
    };
    let side = |side: u64| {
        let side = rounded(side).and_then(|side| u32::try_from(side).ok());
        side.filter(|&s| s <= MAX_SIDE)
    };
    match (side(target_width), side(target_height)) {
        (Some(w), Some(h)) => Ok((w, h)),
        _ => Err(PluginError::data(format!(
            "an image of {width}x{height} pixels would be resized to {target_width}x{target_height}; \
             the longest side may be at most {MAX_SIDE}"
        ))
        .with_help("give `data.image_size` as [height, width]")),
    }
}

/// DETR's rule. If the longer side would exceed `longest`, the shorter one becomes longest · short
/// / long, rounded half to even, and the longer one is computed from the unrounded value and
/// truncated.
fn by_edges(shortest: u32, longest: u32, multiple: u32, width: u32, height: u32) -> (u64, u64) {
    let (w, h) = (f64::from(width), f64::from(height));
    let (short, long) = (w.min(h), w.max(h));
    let too_long = long / short * f64::from(shortest) > f64::from(longest);
    let exact = if too_long {
        f64::from(longest) * short / long
    } else {
        f64::from(shortest)
    };
    let side = exact.round_ties_even();

    // YOLOS, the family with a multiple, leaves only a landscape or square image unchanged.
    let stays = short == side && (multiple <= 1 || w >= h);
    if stays {
        (u64::from(width), u64::from(height))
    } else if w < h {
        (side as u64, int(exact * h / w))
    } else {
        (int(exact * w / h), side as u64)
    }
}

/// The shorter side becomes `edge`; the longer one keeps the aspect ratio and is truncated.
fn by_shortest(edge: u64, width: u32, height: u32) -> (u64, u64) {
    // Multiplies integers, then divides in floating point, like the reference.
    let longer = |long: u32, short: u32| int(edge.saturating_mul(u64::from(long)) as f64 / f64::from(short));
    if width <= height {
        (edge, longer(height, width))
    } else {
        (longer(width, height), edge)
    }
}

fn int(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (u32, u32, u32, u32, (u32, u32), (u32, u32));

    /// Width, height, shortest and longest edge, and the reference's (width, height) for DETR and
    /// for YOLOS.
    #[rustfmt::skip]
    const REFERENCE: [Case; 23] = [
        (640, 480, 800, 1333, (1066, 800), (1056, 800)),
        (480, 640, 800, 1333, (800, 1066), (800, 1056)),
        (800, 1334, 800, 1333, (799, 1333), (784, 1328)),
        (1334, 800, 800, 1333, (1333, 799), (1328, 784)),
        (400, 1334, 800, 1333, (400, 1334), (400, 1328)),
        (1334, 400, 800, 1333, (1334, 400), (1328, 400)),
        (1344, 300, 800, 1344, (1344, 300), (1344, 288)),
        (300, 1345, 800, 1344, (300, 1345), (288, 1344)),
        (1345, 300, 800, 1344, (1345, 300), (1344, 288)),
        (75, 100, 96, 160, (96, 128), (96, 128)),
        (100, 75, 96, 160, (128, 96), (128, 96)),
        (500, 375, 512, 864, (682, 512), (672, 512)),
        (1920, 1080, 800, 1333, (1333, 750), (1328, 736)),
        (1080, 1920, 480, 640, (360, 640), (352, 640)),
        (333, 333, 96, 160, (96, 96), (96, 96)),
        (96, 128, 96, 160, (96, 128), (96, 128)),
        (97, 300, 96, 160, (52, 160), (48, 160)),
        (1000, 667, 800, 1200, (1199, 800), (1184, 800)),
        (13, 11, 512, 853, (605, 512), (592, 512)),
        (2000, 333, 800, 1333, (1333, 222), (1328, 208)),
        (4000, 3000, 1333, 1333, (1333, 1000), (1328, 992)),
        (1280, 853, 750, 1125, (1125, 750), (1120, 736)),
        (641, 427, 800, 1201, (1200, 800), (1200, 800)),
    ];

    #[test]
    fn sizes_match_the_reference() {
        for (width, height, shortest, longest, detr, yolos) in REFERENCE {
            let size = Size::Edges { shortest, longest };
            assert_eq!(
                target(size, 1, 1, width, height).unwrap(),
                detr,
                "{width}x{height} by {shortest}, {longest}"
            );
            assert_eq!(
                target(size, 16, 1, width, height).unwrap(),
                yolos,
                "{width}x{height} by {shortest}, {longest}"
            );
        }
    }

    #[test]
    fn an_exact_size_ignores_the_image_and_the_multiple() {
        assert_eq!(
            target(
                Size::Exact {
                    height: 100,
                    width: 70
                },
                16,
                1,
                640,
                480
            )
            .unwrap(),
            (70, 100)
        );
    }

    #[test]
    fn within_keeps_the_aspect_ratio() {
        assert_eq!(
            target(
                Size::Within {
                    height: 50,
                    width: 50
                },
                1,
                1,
                200,
                100
            )
            .unwrap(),
            (50, 25)
        );
        assert_eq!(
            target(
                Size::Within {
                    height: 200,
                    width: 500
                },
                1,
                1,
                200,
                100
            )
            .unwrap(),
            (400, 200)
        );
    }

    #[test]
    fn an_elongated_image_keeps_at_least_one_patch() {
        let size = Size::Edges {
            shortest: 800,
            longest: 1333,
        };
        assert_eq!(target(size, 16, 1, 10_000, 4).unwrap(), (1328, 16));
        assert_eq!(target(size, 1, 1, 10_000, 1).unwrap(), (1333, 1));
    }

    #[test]
    fn a_divisor_rounds_sides_up() {
        let edges = Size::Edges {
            shortest: 800,
            longest: 1333,
        };
        assert_eq!(target(edges, 1, 32, 640, 480).unwrap(), (1088, 800));
        assert_eq!(target(edges, 1, 32, 1000, 8).unwrap(), (1344, 32));
        let exact = Size::Exact {
            height: 64,
            width: 65,
        };
        assert_eq!(target(exact, 1, 32, 9, 9).unwrap(), (96, 64));
        assert!(target(exact, 1, 20_000, 9, 9).is_err());
    }
}
