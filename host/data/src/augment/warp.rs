//! Images and maps under a change of geometry.

use super::kernels;
use super::map::Map;
use super::matrix::Matrix;
use super::pixels::Row;
use super::spare;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Image;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

/// What images are filled with where nothing was: the mean colour of ImageNet, which most models' normalisation takes to
/// about 0.
pub const FILL: [u8; 3] = [124, 116, 104];

/// Below this scale, four neighbours are too few for a pixel: the image is made smaller first, by a filter that sees all.
const SHRINKS: f64 = 0.75;

/// The image afterwards. Mirror images and cuts in whole pixels move pixels; all else interpolates (bilinear, with antialias
/// where the image shrinks much).
pub fn image(source: &Image, map: &Map) -> Result<Image> {
    let mut canvas = spare::image(map.to[0], map.to[1]);
    if !covers(map) {
        fill(&mut canvas);
    }
    image_onto(&mut canvas, source, map)?;
    Ok(canvas)
}

/// Makes all of an image [`FILL`].
pub fn fill(image: &mut Image) {
    let pitch = 3 * image.width as usize;
    let mut rows = image.pixels.as_mut_slice().chunks_exact_mut(pitch.max(1));
    if let Some(first) = rows.next() {
        first.as_chunks_mut().0.fill(FILL);
        rows.for_each(|row| row.copy_from_slice(first));
    }
}

/// Whether every pixel of the new image gets a value from the old one's area or its border.
fn covers(map: &Map) -> bool {
    // The general way writes every pixel of the window.
    let whole = map.window == [0, 0, map.to[0], map.to[1]];
    whole && (Straight::of(map).is_none_or(|s| s.covered() == map.window))
}

/// As [`image`], onto the window of a canvas. Where the map shows nothing of `source`, the canvas keeps what it has, if the map
/// is without rotation, shear and perspective; else it is filled.
pub fn image_onto(canvas: &mut Image, source: &Image, map: &Map) -> Result<()> {
    let target: &mut [[u8; 3]] = canvas.pixels.as_mut_slice().as_chunks_mut().0;
    let pixels: &[[u8; 3]] = source.pixels.as_slice().as_chunks().0;
    match Straight::of(map) {
        Some(straight) if straight.moves_whole_pixels() => {
            move_rows(pixels, target, map, &straight);
            Ok(())
        }
        Some(straight) => resized_onto(target, source, map, &straight),
        None => warped_onto(target, source, map),
    }
}

/// A map without rotation and shear, whose content ends on whole pixels of the new image or outside its window.
struct Straight {
    scale: [f64; 2],
    offset: [f64; 2],
    /// What is drawn to along x and along y: from, to.
    spans: [[u32; 2]; 2],
}

impl Straight {
    fn of(map: &Map) -> Option<Self> {
        let (scale, offset) = map.forward.as_straight()?;
        let [left, top, right, bottom] = map.window;
        let span = |from: u32, scale: f64, offset: f64, window: [u32; 2]| {
            let ends = [offset, offset + scale * f64::from(from)];
            let [low, high] = window.map(f64::from);
            let (start, end) = (ends[0].min(ends[1]).max(low), ends[0].max(ends[1]).min(high));
            let whole = |v: f64| (v - v.round()).abs() < 1e-6;
            let span = if start < end {
                [start.round() as u32, end.round() as u32]
            } else {
                [window[0]; 2]
            };
            (start >= end || (whole(start) && whole(end))).then_some(span)
        };
        let spans = [
            span(map.from[0], scale[0], offset[0], [left, right])?,
            span(map.from[1], scale[1], offset[1], [top, bottom])?,
        ];
        Some(Straight { scale, offset, spans })
    }

    fn covered(&self) -> [u32; 4] {
        let [[left, right], [top, bottom]] = self.spans;
        [left, top, right, bottom]
    }

    fn moves_whole_pixels(&self) -> bool {
        self.scale.iter().all(|s| s.abs() == 1.0) && self.offset.iter().all(|o| o.fract() == 0.0)
    }

    /// The part of the old image that a span along x (0) or y (1) shows: its start and length.
    fn shown(&self, axis: usize) -> [f64; 2] {
        let pick = |values: [f64; 2]| values.get(axis).copied().unwrap_or_default();
        let (scale, offset) = (pick(self.scale), pick(self.offset));
        let span = self.spans.get(axis).copied().unwrap_or_default().map(f64::from);
        let ends = span.map(|at| (at - offset) / scale);
        [ends[0].min(ends[1]), (ends[1] - ends[0]).abs()]
    }
}

/// Mirrors a whole image in its own memory, if that is all that the map does; else nothing happens, and it says so.
pub fn mirrored_in_place(image: &mut Image, map: &Map) -> bool {
    let size = [image.width, image.height];
    let straight = Straight::of(map).filter(|s| s.moves_whole_pixels());
    let whole = |s: &Straight| map.from == size && map.to == size && s.covered() == [0, 0, size[0], size[1]];
    let Some(straight) = straight.filter(whole) else {
        return false;
    };
    let pitch = (image.width as usize).max(1);
    let pixels: &mut [[u8; 3]] = image.pixels.as_mut_slice().as_chunks_mut().0;
    if straight.scale[0] < 0.0 {
        let mut before = vec![[0; 3]; pitch];
        for row in pixels.chunks_exact_mut(pitch) {
            before.copy_from_slice(row);
            kernels::reversed(&before, row);
        }
    }
    if straight.scale[1] < 0.0 {
        let mut rows = pixels.chunks_exact_mut(pitch);
        while let (Some(upper), Some(lower)) = (rows.next(), rows.next_back()) {
            upper.swap_with_slice(lower);
        }
    }
    true
}

/// Pixels of a row-major plane, moved and mirrored.
fn move_rows(source: &[[u8; 3]], target: &mut [[u8; 3]], map: &Map, straight: &Straight) {
    for_rows(source, target, map, straight, |from, to, mirrored| {
        if mirrored {
            kernels::reversed(from, to);
        } else {
            to.copy_from_slice(from);
        }
    });
}

/// Calls `f` with each row's part of the source and of the target, and whether it is to be reversed.
fn for_rows<T>(
    source: &[T],
    target: &mut [T],
    map: &Map,
    straight: &Straight,
    f: impl Fn(&[T], &mut [T], bool),
) {
    let [left, top, right, bottom] = straight.covered().map(|v| v as usize);
    let [start_x, length] = straight.shown(0).map(|v| v.round() as usize);
    let start_y = straight.shown(1)[0].round() as usize;
    let (from_width, to_width) = (map.from[0] as usize, map.to[0] as usize);
    for y in top..bottom {
        let from_y = if straight.scale[1] < 0.0 {
            start_y + (bottom - 1 - y)
        } else {
            start_y + (y - top)
        };
        let from = source.get(from_y * from_width + start_x..from_y * from_width + start_x + length);
        let to = target.get_mut(y * to_width + left..y * to_width + right);
        if let Some((from, to)) = from.zip(to)
            && from.len() == to.len()
        {
            f(from, to, straight.scale[0] < 0.0);
        }
    }
}

/// The content in another size, without rotation.
fn resized_onto(target: &mut [[u8; 3]], source: &Image, map: &Map, straight: &Straight) -> Result<()> {
    let [left, top, right, bottom] = straight.covered();
    let (width, height) = (right - left, bottom - top);
    if width == 0 || height == 0 {
        return Ok(());
    }
    if straight.scale.iter().all(|s| s.abs() >= SHRINKS) {
        return warped_rows(target, source, map, straight.covered(), true);
    }
    let part = resized(source, straight.shown(0), straight.shown(1), [width, height])?;
    let unscaled = Map::new(
        mirror_of(straight.scale, [width, height])
            .then(&Matrix::straight([1.0, 1.0], [f64::from(left), f64::from(top)])),
        [width, height],
        map.to,
        straight.covered(),
    );
    if let Some(moved) = Straight::of(&unscaled) {
        move_rows(part.pixels.as_slice().as_chunks().0, target, &unscaled, &moved);
    }
    spare::give(part);
    Ok(())
}

/// A mirror image for each axis whose scale is negative.
fn mirror_of(scale: [f64; 2], size: [u32; 2]) -> Matrix {
    let [x, y] = scale.map(f64::signum);
    let shift = |sign: f64, side: u32| if sign < 0.0 { f64::from(side) } else { 0.0 };
    Matrix::straight([x, y], [shift(x, size[0]), shift(y, size[1])])
}

/// A part of an image, given by start and length along x and y, in another size; with antialias.
fn resized(source: &Image, x: [f64; 2], y: [f64; 2], size: [u32; 2]) -> Result<Image> {
    let bad = |e: &dyn std::fmt::Display| Error::failed(format!("cannot resize an image: {e}"));
    let [width, height] = [source.width, source.height];
    let mut new = spare::image(size[0], size[1]);
    // Typed, since the untyped call instantiates the resizer for every kind of pixel: minutes of compiling.
    let from =
        TypedImageRef::<U8x3>::from_buffer(width, height, source.pixels.as_slice()).map_err(|e| bad(&e))?;
    let mut to =
        TypedImage::<U8x3>::from_buffer(size[0], size[1], new.pixels.as_mut_slice()).map_err(|e| bad(&e))?;
    // Rounding must not reach over the border.
    let span = |[start, length]: [f64; 2], side: u32| {
        let start = start.clamp(0.0, f64::from(side));
        (start, length.min(f64::from(side) - start))
    };
    let ((left, part_width), (top, part_height)) = (span(x, width), span(y, height));
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(left, top, part_width, part_height);
    spare::with_resizer(|resizer| resizer.resize_typed(&from, &mut to, &options)).map_err(|e| bad(&e))?;
    Ok(new)
}

/// Any map: each pixel of the window mixed from the four around where its centre comes from.
fn warped_onto(target: &mut [[u8; 3]], source: &Image, map: &Map) -> Result<()> {
    let scale = map.area_factor().sqrt();
    if scale >= SHRINKS {
        return warped_rows(target, source, map, map.window, false);
    }
    let [width, height] = map
        .from
        .map(|side| (f64::from(side) * scale).round().max(1.0) as u32);
    let all = |side: u32| [0.0, f64::from(side)];
    let smaller = resized(source, all(source.width), all(source.height), [width, height])?;
    let back = [
        f64::from(map.from[0]) / f64::from(width),
        f64::from(map.from[1]) / f64::from(height),
    ];
    let forward = Matrix::straight(back, [0.0, 0.0]).then(&map.forward);
    let rest = Map::new(forward, [width, height], map.to, map.window);
    warped_rows(target, &smaller, &rest, map.window, false)?;
    spare::give(smaller);
    Ok(())
}

/// The part of the window, warped. `goes_on` says that the border's pixels go on outside, as they do where the content ends with
/// the part.
fn warped_rows(
    target: &mut [[u8; 3]],
    source: &Image,
    map: &Map,
    part: [u32; 4],
    goes_on: bool,
) -> Result<()> {
    let [left, top, right, bottom] = part.map(|v| v as usize);
    let pixels: &[[u8; 3]] = source.pixels.as_slice().as_chunks().0;
    let size = [source.width as usize, source.height as usize];
    let step = map.back.steps().map(|v| v as f32);
    let width = map.to[0] as usize;
    for y in top..bottom {
        let row = target
            .get_mut(y * width + left..y * width + right)
            .unwrap_or_default();
        let start = map
            .back
            .weighted([left as f64 + 0.5, y as f64 + 0.5])
            .map(|v| v as f32);
        let way = Row { start, step, goes_on };
        kernels::warp_row(pixels, size, &way, FILL, row);
    }
    Ok(())
}

/// A row-major plane afterwards, each pixel from the one that its centre comes from; `fill` where that is outside.
pub fn plane<T: Copy>(source: &[T], map: &Map, fill: T) -> Vec<T> {
    let mut moved = vec![fill; map.to[0] as usize * map.to[1] as usize];
    plane_onto(&mut moved, source, map, map.window);
    moved
}

/// As [`plane`], onto a part of a plane of the new image's size that lies inside the map's window. What is outside the old
/// image stays.
pub fn plane_onto<T: Copy>(target: &mut [T], source: &[T], map: &Map, part: [u32; 4]) {
    let straight = Straight::of(map).filter(|s| s.moves_whole_pixels() && part == map.window);
    if let Some(straight) = straight {
        return for_rows(source, target, map, &straight, |from, to, mirrored| {
            if mirrored {
                to.iter_mut()
                    .zip(from.iter().rev())
                    .for_each(|(to, from)| *to = *from);
            } else {
                to.copy_from_slice(from);
            }
        });
    }
    let [left, top, right, bottom] = part.map(|v| v as usize);
    let [from_width, from_height] = map.from.map(|side| side as usize);
    let inside = |at: f64, side: usize| (at >= 0.0 && at < side as f64).then_some(at as usize);
    let [step_x, step_y, step_w] = map.back.steps();
    let width = map.to[0] as usize;
    for y in top..bottom {
        let row = target
            .get_mut(y * width + left..y * width + right)
            .unwrap_or_default();
        let [x0, y0, w0] = map.back.weighted([left as f64 + 0.5, y as f64 + 0.5]);
        for (number, value) in row.iter_mut().enumerate() {
            let along = |start: f64, step: f64| start + number as f64 * step;
            let weight = along(w0, step_w);
            let (x, y) = (along(x0, step_x) / weight, along(y0, step_y) / weight);
            let found = inside(x, from_width)
                .zip(inside(y, from_height))
                .filter(|_| weight > 0.0)
                .and_then(|(x, y)| source.get(y * from_width + x));
            if let Some(found) = found {
                *value = *found;
            }
        }
    }
}

#[cfg(test)]
mod tests;
