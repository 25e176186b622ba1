//! Geometric transformations: where the points of an image move, and what remains visible.

use super::matrix::Matrix;

/// One geometric transformation of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Swaps left and right.
    MirrorX,
    /// Swaps top and bottom.
    MirrorY,
    /// Crops to a rectangle in whole pixels.
    Crop {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
    },
    /// Resizes the content to `width` x `height`, and places its top left corner at (`left`, `top`)
    /// of a canvas of the original size.
    Zoom {
        width: u32,
        height: u32,
        left: f64,
        top: f64,
    },
    /// Rotates counter-clockwise around the centre; the canvas size is unchanged.
    Rotate { radians: f64 },
    /// Maps a quadrilateral to the whole canvas, whose size is unchanged. Its corners become, in
    /// this order, the new top left, top right, bottom right and bottom left corners; they are
    /// fractions (0 to 1) of width and height.
    Perspective { corners: [[f64; 2]; 4] },
}

impl Change {
    /// Scales the content by `factor` on a canvas of the image's own size. `places`, from 0 to 1,
    /// determine its position along x and y among all positions where it fits into the canvas or
    /// covers it.
    pub fn zoom(width: u32, height: u32, factor: f64, places: [f64; 2]) -> Self {
        let scaled = |side: u32| (f64::from(side) * factor).round().clamp(1.0, f64::from(u32::MAX)) as u32;
        let (new_width, new_height) = (scaled(width), scaled(height));
        // Negative if the content is larger than the canvas.
        let place = |side: u32, new: u32, place: f64| ((f64::from(side) - f64::from(new)) * place).round();
        Change::Zoom {
            width: new_width,
            height: new_height,
            left: place(width, new_width, places[0]),
            top: place(height, new_height, places[1]),
        }
    }

    /// The transformation of points for an image of this size, and the size afterwards.
    fn matrix(&self, size: [u32; 2]) -> (Matrix, [u32; 2]) {
        let [w, h] = size.map(f64::from);
        let matrix = match *self {
            Change::MirrorX => Matrix::scale_translate([-1.0, 1.0], [w, 0.0]),
            Change::MirrorY => Matrix::scale_translate([1.0, -1.0], [0.0, h]),
            Change::Crop {
                left,
                top,
                width,
                height,
            } => {
                let shift = Matrix::scale_translate([1.0, 1.0], [-f64::from(left), -f64::from(top)]);
                return (shift, [width, height]);
            }
            Change::Zoom {
                width,
                height,
                left,
                top,
            } => {
                let scale = [f64::from(width) / w.max(1.0), f64::from(height) / h.max(1.0)];
                Matrix::scale_translate(scale, [left, top])
            }
            Change::Rotate { radians } => Matrix::rotation(radians, [w / 2.0, h / 2.0]),
            Change::Perspective { corners } => {
                Matrix::to_quad([w, h], corners.map(|[x, y]| [x * w, y * h])).inverse()
            }
        };
        (matrix, size)
    }
}

/// The complete geometric transformation of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map {
    pub forward: Matrix,
    pub back: Matrix,
    /// Width and height of the old image, in pixels.
    pub from: [u32; 2],
    /// Width and height of the new image, in pixels.
    pub to: [u32; 2],
    /// The area of the new image that may be written: left, top, right, bottom. The rest is
    /// clipped.
    pub window: [u32; 4],
    /// Whether parts of the old image may be clipped.
    pub clips: bool,
    /// Whether axes are preserved, so that boxes remain as tight as before.
    pub axis_aligned: bool,
}

impl Map {
    /// Combines consecutive transformations into a single map for an image of `size`.
    pub fn of(changes: &[Change], size: [u32; 2]) -> Self {
        let mut forward = Matrix::IDENTITY;
        let mut to = size;
        for change in changes {
            let (matrix, after) = change.matrix(to);
            forward = forward.then(&matrix);
            to = after;
        }
        Map::new(forward, size, to, [0, 0, to[0], to[1]])
    }

    pub fn new(forward: Matrix, from: [u32; 2], to: [u32; 2], window: [u32; 4]) -> Self {
        let map = Map {
            forward,
            back: forward.inverse(),
            from,
            to,
            window,
            clips: false,
            axis_aligned: forward.as_scale_translate().is_some(),
        };
        let [w, h] = from.map(f64::from);
        let [left, top, right, bottom] = window.map(f64::from);
        // Rounding doesn't count as clipping.
        let slack = 1e-9 * (right + bottom);
        let stays = |corner: [f64; 2]| {
            forward.point(corner).is_some_and(|[x, y]| {
                (left - slack..=right + slack).contains(&x) && (top - slack..=bottom + slack).contains(&y)
            })
        };
        let clips = ![[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]].into_iter().all(stays);
        Map { clips, ..map }
    }

    /// Fits the image into the rectangle `window` of a canvas: it fills the window with its aspect
    /// ratio preserved, and the excess is cropped. `places`, from 0 to 1, determine which part
    /// remains.
    pub fn cover(from: [u32; 2], canvas: [u32; 2], window: [u32; 4], places: [f64; 2]) -> Self {
        let [left, top, right, bottom] = window.map(f64::from);
        let [w, h] = from.map(|side| f64::from(side.max(1)));
        let scale = ((right - left) / w).max((bottom - top) / h);
        let shift = |start: f64, end: f64, side: f64, place: f64| {
            let space = end - start - side * scale;
            // The side that determines the scale fits, up to rounding.
            if space > -1e-9 {
                start
            } else {
                start + space * place
            }
        };
        let offset = [shift(left, right, w, places[0]), shift(top, bottom, h, places[1])];
        Map::new(
            Matrix::scale_translate([scale, scale], offset),
            from,
            canvas,
            window,
        )
    }

    /// Whether the map is the identity.
    pub fn is_identity(&self) -> bool {
        self.forward == Matrix::IDENTITY && self.from == self.to && self.whole_window()
    }

    /// Whether instances may be removed, clipped or get looser boxes; true for all transformations
    /// except mirroring.
    pub fn may_drop_instances(&self) -> bool {
        let mirror = |scale: [f64; 2]| scale.map(f64::abs) == [1.0, 1.0];
        self.clips
            || !self
                .forward
                .as_scale_translate()
                .is_some_and(|(scale, _)| mirror(scale))
    }

    fn whole_window(&self) -> bool {
        self.window == [0, 0, self.to[0], self.to[1]]
    }

    /// Whether the map mirrors the image.
    pub fn mirrors(&self) -> bool {
        self.area_factor_signed() < 0.0
    }

    /// The factors by which lengths along x and y change at a point of the old image.
    pub fn scales(&self, point: [f64; 2]) -> [f64; 2] {
        let [[xx, xy], [yx, yy]] = self.forward.jacobian(point);
        [xx.hypot(yx), xy.hypot(yy)]
    }

    /// The factor by which areas change at the centre of the image.
    pub fn area_factor(&self) -> f64 {
        self.area_factor_signed().abs()
    }

    fn area_factor_signed(&self) -> f64 {
        let centre = self.from.map(|side| f64::from(side) / 2.0);
        let [[xx, xy], [yx, yy]] = self.forward.jacobian(centre);
        xx * yy - xy * yx
    }

    /// Whether a point of the new image is in its window, including the edges.
    pub fn shows(&self, [x, y]: [f64; 2]) -> bool {
        let [left, top, right, bottom] = self.window.map(f64::from);
        (left..=right).contains(&x) && (top..=bottom).contains(&y)
    }
}
