//! Changes of geometry: where points go, and how pictures and maps follow.

use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Picture;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// What pictures are filled with where nothing was: the mean colour of ImageNet, which most models' normalisation takes to
/// about 0.
const FILL: [u8; 3] = [124, 116, 104];

/// One change of geometry of a picture.
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
}

/// `x' = xx·x + xy·y + x0`, `y' = yx·x + yy·y + y0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    xx: f64,
    xy: f64,
    x0: f64,
    yx: f64,
    yy: f64,
    y0: f64,
}

impl Affine {
    /// Without rotation or shear.
    fn straight(scale: [f64; 2], offset: [f64; 2]) -> Self {
        Affine {
            xx: scale[0],
            xy: 0.0,
            x0: offset[0],
            yx: 0.0,
            yy: scale[1],
            y0: offset[1],
        }
    }

    pub fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            self.xx * x + self.xy * y + self.x0,
            self.yx * x + self.yy * y + self.y0,
        ]
    }

    /// How much longer lines along x and along y get.
    pub fn scales(&self) -> [f64; 2] {
        [self.xx.hypot(self.yx), self.xy.hypot(self.yy)]
    }

    /// How many times as large areas get.
    pub fn area_factor(&self) -> f64 {
        (self.xx * self.yy - self.xy * self.yx).abs()
    }

    /// Whether the map makes a mirror image.
    pub fn mirrors(&self) -> bool {
        self.xx * self.yy - self.xy * self.yx < 0.0
    }

    fn is_straight(&self) -> bool {
        self.xy == 0.0 && self.yx == 0.0
    }

    /// The way back. All maps here can be undone; a flat one would give infinities, which lie outside every picture.
    fn inverse(&self) -> Self {
        let det = self.xx * self.yy - self.xy * self.yx;
        let (xx, xy, yx, yy) = (self.yy / det, -self.xy / det, -self.yx / det, self.xx / det);
        Affine {
            xx,
            xy,
            x0: -(xx * self.x0 + xy * self.y0),
            yx,
            yy,
            y0: -(yx * self.x0 + yy * self.y0),
        }
    }
}

/// Where everything goes in one change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Map {
    pub forward: Affine,
    /// Width and height before, in pixels.
    pub from: [u32; 2],
    /// Width and height after.
    pub to: [u32; 2],
    /// Whether something may leave the picture.
    pub cuts: bool,
    /// Whether a box stays as tight around its object as it was.
    pub upright: bool,
}

impl Change {
    /// Content `factor` times as large on a canvas of the picture's own size. `places` from 0 to 1 say where, along x and
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

    /// Where this change takes points of a picture of that size.
    pub fn map(&self, width: u32, height: u32) -> Map {
        let size = [width, height];
        let [w, h] = size.map(f64::from);
        let (forward, to) = match *self {
            Change::MirrorX => (Affine::straight([-1.0, 1.0], [w, 0.0]), size),
            Change::MirrorY => (Affine::straight([1.0, -1.0], [0.0, h]), size),
            Change::Crop {
                left,
                top,
                width,
                height,
            } => (
                Affine::straight([1.0, 1.0], [-f64::from(left), -f64::from(top)]),
                [width, height],
            ),
            Change::Zoom {
                width,
                height,
                left,
                top,
            } => {
                let scale = [f64::from(width) / w.max(1.0), f64::from(height) / h.max(1.0)];
                (Affine::straight(scale, [left, top]), size)
            }
            Change::Rotate { radians } => {
                let (sin, cos) = radians.sin_cos();
                let (cx, cy) = (w / 2.0, h / 2.0);
                let x0 = cx - cos * cx - sin * cy;
                let y0 = cy + sin * cx - cos * cy;
                (
                    Affine {
                        xx: cos,
                        xy: sin,
                        x0,
                        yx: -sin,
                        yy: cos,
                        y0,
                    },
                    size,
                )
            }
        };
        let cuts = !matches!(self, Change::MirrorX | Change::MirrorY);
        Map {
            forward,
            from: size,
            to,
            cuts,
            upright: !matches!(self, Change::Rotate { .. }),
        }
    }

    /// The picture afterwards. Resizing and turning interpolate; the rest moves pixels.
    pub fn picture(&self, picture: &Picture, map: &Map) -> Result<Picture> {
        let pixels: &[[u8; 3]] = bytemuck::cast_slice(picture.pixels.as_slice());
        let moved = match *self {
            Change::Zoom {
                width,
                height,
                left,
                top,
            } => return zoomed(picture, [width, height], [left, top]),
            Change::Rotate { .. } => bilinear(pixels, map),
            _ => nearest(pixels, map, FILL),
        };
        Ok(Picture {
            width: map.to[0],
            height: map.to[1],
            pixels: bytemuck::cast_slice(&moved).to_vec().into(),
        })
    }
}

/// A row-major plane afterwards, each pixel from the one that its centre comes from; `fill` where that is outside.
pub fn nearest<T: Copy>(source: &[T], map: &Map, fill: T) -> Vec<T> {
    let back = map.forward.inverse();
    let [from_width, from_height] = map.from.map(|side| side as usize);
    let [width, height] = map.to.map(|side| side as usize);
    let inside = |at: f64, side: usize| (at >= 0.0 && at < side as f64).then_some(at as usize);
    let mut moved = Vec::with_capacity(width * height);
    if back.is_straight() {
        let column = |x: usize| inside(back.point([x as f64 + 0.5, 0.0])[0], from_width);
        let columns: Vec<Option<usize>> = (0..width).map(column).collect();
        for y in 0..height {
            let row = inside(back.point([0.0, y as f64 + 0.5])[1], from_height)
                .and_then(|y| source.get(y * from_width..(y + 1) * from_width))
                .unwrap_or_default();
            moved.extend(
                columns
                    .iter()
                    .map(|c| c.and_then(|c| row.get(c)).copied().unwrap_or(fill)),
            );
        }
        return moved;
    }
    for y in 0..height {
        for x in 0..width {
            let [at_x, at_y] = back.point([x as f64 + 0.5, y as f64 + 0.5]);
            let value = inside(at_x, from_width)
                .zip(inside(at_y, from_height))
                .and_then(|(x, y)| source.get(y * from_width + x));
            moved.push(value.copied().unwrap_or(fill));
        }
    }
    moved
}

/// A picture afterwards, each pixel mixed from the four around where its centre comes from.
fn bilinear(source: &[[u8; 3]], map: &Map) -> Vec<[u8; 3]> {
    let back = map.forward.inverse();
    let [from_width, from_height] = map.from.map(i64::from);
    let pixel = |x: i64, y: i64| -> [f32; 3] {
        let inside = (0..from_width).contains(&x) && (0..from_height).contains(&y);
        let found = if inside {
            source.get((y * from_width + x) as usize)
        } else {
            None
        };
        found.unwrap_or(&FILL).map(f32::from)
    };
    let mut moved = Vec::with_capacity(map.to[0] as usize * map.to[1] as usize);
    for y in 0..map.to[1] {
        for x in 0..map.to[0] {
            let [at_x, at_y] = back
                .point([f64::from(x) + 0.5, f64::from(y) + 0.5])
                .map(|v| v - 0.5);
            let (left, top) = (at_x.floor(), at_y.floor());
            let (right_part, bottom_part) = ((at_x - left) as f32, (at_y - top) as f32);
            let (left, top) = (left as i64, top as i64);
            let corners = [
                pixel(left, top),
                pixel(left + 1, top),
                pixel(left, top + 1),
                pixel(left + 1, top + 1),
            ];
            moved.push(std::array::from_fn(|c| {
                let [a, b, d, e] = corners.map(|corner| corner.get(c).copied().unwrap_or(0.0));
                let upper = a + (b - a) * right_part;
                let lower = d + (e - d) * right_part;
                (upper + (lower - upper) * bottom_part).round() as u8
            }));
        }
    }
    moved
}

/// The content resized to `size` with its top left corner at `offset` of a canvas as large as the picture.
fn zoomed(picture: &Picture, size: [u32; 2], offset: [f64; 2]) -> Result<Picture> {
    let [width, height] = [picture.width, picture.height];
    // The part of the canvas that is covered, in whole pixels, and the part of the picture that covers it.
    let side = |canvas: u32, size: u32, offset: f64| {
        let start = offset.max(0.0);
        let end = (offset + f64::from(size)).min(f64::from(canvas));
        let scale = f64::from(size) / f64::from(canvas.max(1));
        (
            start as u32,
            (end - start).max(0.0) as u32,
            (start - offset) / scale,
            (end - start) / scale,
        )
    };
    let (left, covered_width, from_left, from_width) = side(width, size[0], offset[0]);
    let (top, covered_height, from_top, from_height) = side(height, size[1], offset[1]);
    let bad = |e: &dyn std::fmt::Display| Error::failed(format!("cannot resize a picture: {e}"));

    // Typed, since the untyped call instantiates the resizer for every kind of pixel: minutes of compiling.
    let source =
        TypedImageRef::<U8x3>::from_buffer(width, height, picture.pixels.as_slice()).map_err(|e| bad(&e))?;
    let mut covered = vec![0u8; covered_width as usize * covered_height as usize * 3];
    let mut resized =
        TypedImage::<U8x3>::from_buffer(covered_width, covered_height, &mut covered).map_err(|e| bad(&e))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(
            from_left,
            from_top,
            from_width.min(f64::from(width) - from_left),
            from_height.min(f64::from(height) - from_top),
        );
    Resizer::new()
        .resize_typed(&source, &mut resized, &options)
        .map_err(|e| bad(&e))?;

    let mut canvas = Picture::filled(width, height, FILL);
    let (row, pitch) = (covered_width as usize * 3, width as usize * 3);
    let rows = canvas
        .pixels
        .as_mut_slice()
        .chunks_mut(pitch.max(1))
        .skip(top as usize);
    for (target, values) in rows.zip(covered.chunks_exact(row.max(1))) {
        if let Some(target) = target.get_mut(left as usize * 3..left as usize * 3 + row) {
            target.copy_from_slice(values);
        }
    }
    Ok(canvas)
}
