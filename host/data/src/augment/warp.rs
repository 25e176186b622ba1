//! Geometric transformation of images and maps.

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

/// The fill colour for areas outside of the source image: the mean colour of ImageNet, which most
/// models' normalization maps to about 0.
pub const FILL: [u8; 3] = [124, 116, 104];

/// Below this scale, bilinear interpolation of four neighbours would alias, so the image is first
/// shrunk with a filter that covers all pixels.
const MIN_BILINEAR_SCALE: f64 = 0.75;

/// Transforms an image. Mirroring and crops by whole pixels copy pixels; all other transformations
/// interpolate (bilinear, with antialiasing if the image is shrunk considerably).
pub fn image(source: &Image, map: &Map) -> Result<Image> {
    let mut canvas = spare::image(map.to[0], map.to[1]);
    if !covers(map) {
        fill(&mut canvas);
    }
    image_onto(&mut canvas, source, map)?;
    Ok(canvas)
}

/// Fills an image with [`FILL`].
pub fn fill(image: &mut Image) {
    let pitch = 3 * image.width as usize;
    let mut rows = image.pixels.as_mut_slice().chunks_exact_mut(pitch.max(1));
    if let Some(first) = rows.next() {
        first.as_chunks_mut().0.fill(FILL);
        rows.for_each(|row| row.copy_from_slice(first));
    }
}

/// Whether every pixel of the new image is covered by the old image or its border.
fn covers(map: &Map) -> bool {
    // The general case writes every pixel of the window.
    let whole = map.window == [0, 0, map.to[0], map.to[1]];
    whole && (AxisAligned::of(map).is_none_or(|s| s.covered() == map.window))
}

/// Like [`image`], but writes to the window of a canvas. Where the map shows nothing of `source`,
/// the canvas is left unchanged if the map has no rotation, shear or perspective; otherwise it is
/// filled.
pub fn image_onto(canvas: &mut Image, source: &Image, map: &Map) -> Result<()> {
    let target: &mut [[u8; 3]] = canvas.pixels.as_mut_slice().as_chunks_mut().0;
    let pixels: &[[u8; 3]] = source.pixels.as_slice().as_chunks().0;
    match AxisAligned::of(map) {
        Some(aligned) if aligned.moves_whole_pixels() => {
            move_rows(pixels, target, map, &aligned);
            Ok(())
        }
        Some(aligned) => resized_onto(target, source, map, &aligned),
        None => warped_onto(target, source, map),
    }
}

/// A map without rotation and shear whose content ends at whole pixels of the new image or outside
/// its window.
struct AxisAligned {
    scale: [f64; 2],
    offset: [f64; 2],
    /// The range written along x and along y: start, end.
    spans: [[u32; 2]; 2],
}

impl AxisAligned {
    fn of(map: &Map) -> Option<Self> {
        let (scale, offset) = map.forward.as_scale_translate()?;
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
        Some(AxisAligned { scale, offset, spans })
    }

    fn covered(&self) -> [u32; 4] {
        let [[left, right], [top, bottom]] = self.spans;
        [left, top, right, bottom]
    }

    fn moves_whole_pixels(&self) -> bool {
        self.scale.iter().all(|s| s.abs() == 1.0) && self.offset.iter().all(|o| o.fract() == 0.0)
    }

    /// The range of the old image that is visible along x (0) or y (1): its start and length.
    fn shown(&self, axis: usize) -> [f64; 2] {
        let pick = |values: [f64; 2]| values.get(axis).copied().unwrap_or_default();
        let (scale, offset) = (pick(self.scale), pick(self.offset));
        let span = self.spans.get(axis).copied().unwrap_or_default().map(f64::from);
        let ends = span.map(|at| (at - offset) / scale);
        [ends[0].min(ends[1]), (ends[1] - ends[0]).abs()]
    }
}

/// Mirrors a whole image in place and returns true, if the map does nothing else; otherwise leaves
/// it unchanged and returns false.
pub fn mirrored_in_place(image: &mut Image, map: &Map) -> bool {
    let size = [image.width, image.height];
    let aligned = AxisAligned::of(map).filter(|s| s.moves_whole_pixels());
    let whole =
        |s: &AxisAligned| map.from == size && map.to == size && s.covered() == [0, 0, size[0], size[1]];
    let Some(aligned) = aligned.filter(whole) else {
        return false;
    };
    let pitch = (image.width as usize).max(1);
    let pixels: &mut [[u8; 3]] = image.pixels.as_mut_slice().as_chunks_mut().0;
    if aligned.scale[0] < 0.0 {
        let mut before = vec![[0; 3]; pitch];
        for row in pixels.chunks_exact_mut(pitch) {
            before.copy_from_slice(row);
            kernels::reversed(&before, row);
        }
    }
    if aligned.scale[1] < 0.0 {
        let mut rows = pixels.chunks_exact_mut(pitch);
        while let (Some(upper), Some(lower)) = (rows.next(), rows.next_back()) {
            upper.swap_with_slice(lower);
        }
    }
    true
}

/// Copies pixels of a row-major plane, shifted and mirrored.
fn move_rows(source: &[[u8; 3]], target: &mut [[u8; 3]], map: &Map, aligned: &AxisAligned) {
    for_rows(source, target, map, aligned, |from, to, mirrored| {
        if mirrored {
            kernels::reversed(from, to);
        } else {
            to.copy_from_slice(from);
        }
    });
}

/// Calls `f` with each row's range of the source and of the target, and whether to reverse it.
fn for_rows<T>(
    source: &[T],
    target: &mut [T],
    map: &Map,
    aligned: &AxisAligned,
    f: impl Fn(&[T], &mut [T], bool),
) {
    let [left, top, right, bottom] = aligned.covered().map(|v| v as usize);
    let [start_x, length] = aligned.shown(0).map(|v| v.round() as usize);
    let start_y = aligned.shown(1)[0].round() as usize;
    let (from_width, to_width) = (map.from[0] as usize, map.to[0] as usize);
    for y in top..bottom {
        let from_y = if aligned.scale[1] < 0.0 {
            start_y + (bottom - 1 - y)
        } else {
            start_y + (y - top)
        };
        let from = source.get(from_y * from_width + start_x..from_y * from_width + start_x + length);
        let to = target.get_mut(y * to_width + left..y * to_width + right);
        if let Some((from, to)) = from.zip(to)
            && from.len() == to.len()
        {
            f(from, to, aligned.scale[0] < 0.0);
        }
    }
}

/// Resizes the content, without rotation.
fn resized_onto(target: &mut [[u8; 3]], source: &Image, map: &Map, aligned: &AxisAligned) -> Result<()> {
    let [left, top, right, bottom] = aligned.covered();
    let (width, height) = (right - left, bottom - top);
    if width == 0 || height == 0 {
        return Ok(());
    }
    if aligned.scale.iter().all(|s| s.abs() >= MIN_BILINEAR_SCALE) {
        return warped_rows(target, source, map, aligned.covered(), true);
    }
    let part = resized(source, aligned.shown(0), aligned.shown(1), [width, height])?;
    let unscaled = Map::new(
        mirror_of(aligned.scale, [width, height]).then(&Matrix::scale_translate(
            [1.0, 1.0],
            [f64::from(left), f64::from(top)],
        )),
        [width, height],
        map.to,
        aligned.covered(),
    );
    if let Some(moved) = AxisAligned::of(&unscaled) {
        move_rows(part.pixels.as_slice().as_chunks().0, target, &unscaled, &moved);
    }
    spare::give(part);
    Ok(())
}

/// Mirrors each axis whose scale is negative.
fn mirror_of(scale: [f64; 2], size: [u32; 2]) -> Matrix {
    let [x, y] = scale.map(f64::signum);
    let shift = |sign: f64, side: u32| if sign < 0.0 { f64::from(side) } else { 0.0 };
    Matrix::scale_translate([x, y], [shift(x, size[0]), shift(y, size[1])])
}

/// Resizes a part of an image, given by start and length along x and y, with antialiasing.
fn resized(source: &Image, x: [f64; 2], y: [f64; 2], size: [u32; 2]) -> Result<Image> {
    let bad = |e: &dyn std::fmt::Display| Error::failed(format!("cannot resize an image: {e}"));
    let [width, height] = [source.width, source.height];
    let mut new = spare::image(size[0], size[1]);
    // Typed, since the untyped call instantiates the resizer for every pixel type, which takes
    // minutes to compile.
    let from =
        TypedImageRef::<U8x3>::from_buffer(width, height, source.pixels.as_slice()).map_err(|e| bad(&e))?;
    let mut to =
        TypedImage::<U8x3>::from_buffer(size[0], size[1], new.pixels.as_mut_slice()).map_err(|e| bad(&e))?;
    // Rounding must not exceed the border.
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

/// Applies an arbitrary map: each pixel of the window is interpolated from the four pixels around
/// its centre's preimage.
fn warped_onto(target: &mut [[u8; 3]], source: &Image, map: &Map) -> Result<()> {
    let scale = map.area_factor().sqrt();
    if scale >= MIN_BILINEAR_SCALE {
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
    let forward = Matrix::scale_translate(back, [0.0, 0.0]).then(&map.forward);
    let rest = Map::new(forward, [width, height], map.to, map.window);
    warped_rows(target, &smaller, &rest, map.window, false)?;
    spare::give(smaller);
    Ok(())
}

/// Warps a part of the window. `replicate_border` extends the border pixels outwards, which is
/// needed if the content ends with the part.
fn warped_rows(
    target: &mut [[u8; 3]],
    source: &Image,
    map: &Map,
    part: [u32; 4],
    replicate_border: bool,
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
        let inverse_row = Row {
            start,
            step,
            replicate_border,
        };
        kernels::warp_row(pixels, size, &inverse_row, FILL, row);
    }
    Ok(())
}

/// Transforms a row-major plane with nearest-neighbour sampling at pixel centres; `fill` is the
/// value outside of the source.
pub fn plane<T: Copy>(source: &[T], map: &Map, fill: T) -> Vec<T> {
    let mut moved = vec![fill; map.to[0] as usize * map.to[1] as usize];
    plane_onto(&mut moved, source, map, map.window);
    moved
}

/// Like [`plane`], but writes to a part of a plane of the new image's size, inside the map's
/// window. Pixels outside of the old image are left unchanged.
pub fn plane_onto<T: Copy>(target: &mut [T], source: &[T], map: &Map, part: [u32; 4]) {
    let aligned = AxisAligned::of(map).filter(|s| s.moves_whole_pixels() && part == map.window);
    if let Some(aligned) = aligned {
        return for_rows(source, target, map, &aligned, |from, to, mirrored| {
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
