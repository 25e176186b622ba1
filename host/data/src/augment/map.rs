//! Changes of geometry: where the points of an image go, and what of it stays in sight.

use super::matrix::Matrix;

/// One change of geometry of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Left and right change places.
    MirrorX,
    /// Top and bottom change places.
    MirrorY,
    /// A part is cut out, in whole pixels.
    Crop {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
    },
    /// The content is resized to `width` x `height`, and its top left corner put at (`left`, `top`) of a canvas of the old
    /// size.
    Zoom {
        width: u32,
        height: u32,
        left: f64,
        top: f64,
    },
    /// Counter-clockwise around the centre; the canvas stays.
    Rotate { radians: f64 },
    /// What is inside the quadrilateral fills the canvas, which stays. Its corners are, in this order, the new top left, top
    /// right, bottom right and bottom left ones, each as parts (0 to 1) of width and height.
    Perspective { corners: [[f64; 2]; 4] },
}

impl Change {
    /// Content `factor` times as large on a canvas of the image's own size. `places` from 0 to 1 say where, along x and
    /// y, among all places where it fits into the canvas, or covers it.
    pub fn zoom(width: u32, height: u32, factor: f64, places: [f64; 2]) -> Self {
        let scaled = |side: u32| (f64::from(side) * factor).round().clamp(1.0, f64::from(u32::MAX)) as u32;
        let (new_width, new_height) = (scaled(width), scaled(height));
        // Negative where the content is the larger one.
        let place = |side: u32, new: u32, place: f64| ((f64::from(side) - f64::from(new)) * place).round();
        Change::Zoom {
            width: new_width,
            height: new_height,
            left: place(width, new_width, places[0]),
            top: place(height, new_height, places[1]),
        }
    }

    /// The map of points of an image of that size, and the size afterwards.
    fn matrix(&self, size: [u32; 2]) -> (Matrix, [u32; 2]) {
        let [w, h] = size.map(f64::from);
        let matrix = match *self {
            Change::MirrorX => Matrix::straight([-1.0, 1.0], [w, 0.0]),
            Change::MirrorY => Matrix::straight([1.0, -1.0], [0.0, h]),
            Change::Crop {
                left,
                top,
                width,
                height,
            } => {
                let shift = Matrix::straight([1.0, 1.0], [-f64::from(left), -f64::from(top)]);
                return (shift, [width, height]);
            }
            Change::Zoom {
                width,
                height,
                left,
                top,
            } => {
                let scale = [f64::from(width) / w.max(1.0), f64::from(height) / h.max(1.0)];
                Matrix::straight(scale, [left, top])
            }
            Change::Rotate { radians } => Matrix::turn(radians, [w / 2.0, h / 2.0]),
            Change::Perspective { corners } => {
                Matrix::to_quad([w, h], corners.map(|[x, y]| [x * w, y * h])).inverse()
            }
        };
        (matrix, size)
    }
}

/// Where everything of an image goes, in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map {
    pub forward: Matrix,
    pub back: Matrix,
    /// Width and height before, in pixels.
    pub from: [u32; 2],
    /// Width and height after.
    pub to: [u32; 2],
    /// The part of the new image that may be drawn to: left, top, right, bottom. Whatever is outside it is cut off.
    pub window: [u32; 4],
    /// Whether something may leave the image.
    pub cuts: bool,
    /// Whether a box stays as tight around its object as it was.
    pub upright: bool,
}

impl Map {
    /// Several changes, one after the other, as a single map of an image of `size`.
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
            cuts: false,
            upright: forward.as_straight().is_some(),
        };
        let [w, h] = from.map(f64::from);
        let [left, top, right, bottom] = window.map(f64::from);
        // Rounding is no cut.
        let slack = 1e-9 * (right + bottom);
        let stays = |corner: [f64; 2]| {
            forward.point(corner).is_some_and(|[x, y]| {
                (left - slack..=right + slack).contains(&x) && (top - slack..=bottom + slack).contains(&y)
            })
        };
        let cuts = ![[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]].into_iter().all(stays);
        Map { cuts, ..map }
    }

    /// The image in the part `window` of a canvas, filling it with the image's own shape kept: what is too wide or too high
    /// is cut off. `places` from 0 to 1 say which part stays.
    pub fn cover(from: [u32; 2], canvas: [u32; 2], window: [u32; 4], places: [f64; 2]) -> Self {
        let [left, top, right, bottom] = window.map(f64::from);
        let [w, h] = from.map(|side| f64::from(side.max(1)));
        let scale = ((right - left) / w).max((bottom - top) / h);
        let shift = |start: f64, end: f64, side: f64, place: f64| {
            let room = end - start - side * scale;
            // The side that the scale comes from fits, up to rounding.
            if room > -1e-9 { start } else { start + room * place }
        };
        let offset = [shift(left, right, w, places[0]), shift(top, bottom, h, places[1])];
        Map::new(Matrix::straight([scale, scale], offset), from, canvas, window)
    }

    /// Whether nothing moves.
    pub fn is_identity(&self) -> bool {
        self.forward == Matrix::IDENTITY && self.from == self.to && self.whole_window()
    }

    /// Whether instances may leave, be cut or get looser boxes: by any change but mirror images.
    pub fn loses(&self) -> bool {
        let mirror = |scale: [f64; 2]| scale.map(f64::abs) == [1.0, 1.0];
        self.cuts || !self.forward.as_straight().is_some_and(|(scale, _)| mirror(scale))
    }

    fn whole_window(&self) -> bool {
        self.window == [0, 0, self.to[0], self.to[1]]
    }

    /// Whether the map makes a mirror image.
    pub fn mirrors(&self) -> bool {
        self.area_factor_signed() < 0.0
    }

    /// How much longer lines along x and along y get, at a point of the image before.
    pub fn scales(&self, point: [f64; 2]) -> [f64; 2] {
        let [[xx, xy], [yx, yy]] = self.forward.jacobian(point);
        [xx.hypot(yx), xy.hypot(yy)]
    }

    /// How many times as large areas get in the middle of the image.
    pub fn area_factor(&self) -> f64 {
        self.area_factor_signed().abs()
    }

    fn area_factor_signed(&self) -> f64 {
        let centre = self.from.map(|side| f64::from(side) / 2.0);
        let [[xx, xy], [yx, yy]] = self.forward.jacobian(centre);
        xx * yy - xy * yx
    }

    /// Whether a point of the new image lies in its window, edges included.
    pub fn shows(&self, [x, y]: [f64; 2]) -> bool {
        let [left, top, right, bottom] = self.window.map(f64::from);
        (left..=right).contains(&x) && (top..=bottom).contains(&y)
    }
}
