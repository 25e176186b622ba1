//! Draws the targets of a sample onto its image.

use cvhost::error::Result;
use cvhost::plugin_error::from_plugin;
use cvhost_draw::{Lettering, blend, colour, ramp};
use cvhost_plugin_api::data::{Array, DType, Field, Fields, LabelSpec, Region, Role};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_filled_circle_mut, draw_line_segment_mut};

/// The maximum number of objects that get their name drawn; more would hide the image.
const MAX_NAMES: usize = 24;
const LETTERS: f32 = 12.0;
/// Opacity of masks and maps.
const OPACITY: f64 = 0.45;

/// Draws targets onto an image that has been scaled by `scale`: outlines of boxes, polygons and the
/// region; masks and maps as tints; keypoints as discs. If an integer column holds labels, objects
/// have the colour and name of their label.
pub fn draw(
    image: &mut RgbImage,
    scale: f64,
    fields: &Fields,
    region: Option<&Region>,
    spec: &LabelSpec,
) -> Result<()> {
    let labels = labels(fields, spec);
    let hue = |object: usize| {
        let label = labels.as_ref().and_then(|l| l.get(object).copied());
        colour(label.unwrap_or(object as i64))
    };
    for field in &fields.items {
        match field.role {
            Role::MASKS => masks(image, scale, &field.array, &hue)?,
            Role::LABEL_MAP => map(image, scale, field, |value, _| colour(value as i64))?,
            Role::DENSE_MAP => map(image, scale, field, |_, fraction| ramp(fraction))?,
            _ => {}
        }
    }
    let mut tags = Vec::new();
    for field in &fields.items {
        match field.role {
            Role::BOXES => {
                let rows = field.array.to_rows::<4>().map_err(from_plugin)?;
                for (object, [x1, y1, x2, y2]) in rows.into_iter().enumerate() {
                    let corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
                    outline(image, scale, &corners, hue(object));
                    let inside = |v: f64, side: u32| (v * scale).clamp(0.0, f64::from(side)) as i32;
                    tags.push((object, inside(x1, image.width()), inside(y1, image.height())));
                }
            }
            Role::POLYGONS => polygons(image, scale, &field.array, &hue)?,
            Role::KEYPOINTS => keypoints(image, scale, &field.array, &hue)?,
            _ => {}
        }
    }
    if let Some(region) = region {
        outline(image, scale, &corners_of(region), [255, 255, 255]);
    }
    if let Some(labels) = labels.filter(|_| tags.len() <= MAX_NAMES) {
        let letters = Lettering::new(LETTERS).map_err(from_plugin)?;
        for (object, x, y) in tags {
            if let Some(label) = labels.get(object) {
                let above = y - letters.height() as i32 - 1;
                letters.draw_tag_inside(image, x, above, &spec.name(*label), colour(*label));
            }
        }
    }
    Ok(())
}

/// Image-level targets as text: the classes of a distribution, and texts.
pub fn caption(fields: &Fields, spec: &LabelSpec) -> String {
    let mut parts = Vec::new();
    for field in &fields.items {
        match field.role {
            Role::DISTRIBUTION if field.array.count() == spec.names.len() => {
                let fractions = field.array.to_f64().unwrap_or_default();
                for (label, fraction) in fractions
                    .iter()
                    .enumerate()
                    .filter(|(_, fraction)| **fraction > 0.0)
                {
                    let name = spec.name(label as i64);
                    parts.push(match *fraction < 1.0 {
                        true => format!("{name} {fraction:.2}"),
                        false => name,
                    });
                }
            }
            Role::TEXT => parts.extend(field.array.as_text().ok().map(str::to_owned)),
            Role::TEXTS => parts.extend(field.array.as_texts().unwrap_or_default()),
            _ => {}
        }
    }
    parts.join(", ")
}

/// The label of each object: the first integer column whose values are all valid labels. Flags are
/// bytes, so they are never taken for labels.
fn labels(fields: &Fields, spec: &LabelSpec) -> Option<Vec<i64>> {
    let classes = spec.names.len() as i64;
    let of_labels = |field: &Field| {
        let array = &field.array;
        let whole = array.dtype() == DType::I64 || array.dtype() == DType::I32;
        if field.role != Role::COLUMN || !whole || array.dims().len() != 1 {
            return None;
        }
        let labels: Vec<i64> = array.to_f64().ok()?.into_iter().map(|v| v as i64).collect();
        labels.iter().all(|l| (0..classes).contains(l)).then_some(labels)
    };
    fields.items.iter().find_map(of_labels)
}

/// Draws a closed line, two pixels wide, through points in pixels of the unscaled image.
fn outline(image: &mut RgbImage, scale: f64, points: &[[f64; 2]], colour: [u8; 3]) {
    // Clamped, since a line to a point far outside would take very long to draw. NaN can't be
    // drawn.
    let reach = 4.0 * f64::from(image.width().max(image.height()));
    let place = |v: f64| (v * scale).clamp(-reach, reach) as f32;
    if points.iter().flatten().any(|v| !v.is_finite()) {
        return;
    }
    let last = points.last().into_iter();
    for ([x1, y1], [x2, y2]) in last.chain(points).zip(points) {
        for offset in [0.0, -1.0] {
            let at = |v: f64, side: u32| {
                // Edges on the right and bottom border are drawn inside the image.
                let v = place(v);
                if v >= side as f32 && v <= side as f32 + 1.0 {
                    side as f32 - 1.0 + offset
                } else {
                    v + offset
                }
            };
            let (width, height) = image.dimensions();
            let from = (at(*x1, width), at(*y1, height));
            let to = (at(*x2, width), at(*y2, height));
            draw_line_segment_mut(image, from, to, Rgb(colour));
        }
    }
}

/// The corners of a region, rotated counter-clockwise about its centre.
fn corners_of(region: &Region) -> [[f64; 2]; 4] {
    let (half_width, half_height) = (region.width / 2.0, region.height / 2.0);
    let (x, y) = (region.x + half_width, region.y + half_height);
    let (sin, cos) = region.angle.sin_cos();
    [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(|(right, down)| {
        let (dx, dy) = (right * half_width, down * half_height);
        [x + dx * cos + dy * sin, y - dx * sin + dy * cos]
    })
}

fn polygons(image: &mut RgbImage, scale: f64, rows: &Array, hue: &dyn Fn(usize) -> [u8; 3]) -> Result<()> {
    let rows = rows.to_rows::<4>().map_err(from_plugin)?;
    for ring in rows.chunk_by(|a, b| a[..2] == b[..2]) {
        let points: Vec<[f64; 2]> = ring.iter().map(|[_, _, x, y]| [*x, *y]).collect();
        let object = ring.first().map_or(0.0, |[object, ..]| *object);
        outline(image, scale, &points, hue(object as usize));
    }
    Ok(())
}

fn keypoints(image: &mut RgbImage, scale: f64, points: &Array, hue: &dyn Fn(usize) -> [u8; 3]) -> Result<()> {
    let values = points.to_f64().map_err(from_plugin)?;
    let each = points.dims().get(1).map_or(1, |k| *k as usize).max(1);
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    for (number, point) in values.chunks_exact(3).enumerate() {
        let &[x, y, visible] = point else {
            continue;
        };
        let (x, y) = (x * scale, y * scale);
        if visible > 0.0 && (0.0..width).contains(&x) && (0.0..height).contains(&y) {
            let centre = (x as i32, y as i32);
            draw_filled_circle_mut(image, centre, 3, Rgb([0, 0, 0]));
            draw_filled_circle_mut(image, centre, 2, Rgb(hue(number / each)));
        }
    }
    Ok(())
}

/// Tints the pixels of `[N, H, W]` masks.
fn masks(image: &mut RgbImage, scale: f64, masks: &Array, hue: &dyn Fn(usize) -> [u8; 3]) -> Result<()> {
    let values = masks.values::<u8>().map_err(from_plugin)?;
    let &[count, height, width] = masks.dims() else {
        return Ok(());
    };
    let (width, height) = (width as usize, height as usize);
    for object in 0..count as usize {
        let mask = values.get(object * width * height..).unwrap_or_default();
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let inside = at(x, y, scale, width, height).and_then(|at| mask.get(at));
            if inside.is_some_and(|v| *v > 0) {
                pixel.0 = blend(pixel.0, hue(object), OPACITY);
            }
        }
    }
    Ok(())
}

/// Tints all pixels of a `[H, W]` map except those without a value. `paint` receives the value and
/// its relative position between the minimum and the maximum, in 0–1.
fn map(image: &mut RgbImage, scale: f64, field: &Field, paint: impl Fn(f64, f64) -> [u8; 3]) -> Result<()> {
    let values = field.array.to_f64().map_err(from_plugin)?;
    let &[height, width] = field.array.dims() else {
        return Ok(());
    };
    let has_value = |v: &f64| v.is_finite() && *v != field.fill;
    let known = values.iter().copied().filter(has_value);
    let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let value = at(x, y, scale, width as usize, height as usize).and_then(|at| values.get(at));
        if let Some(value) = value.copied().filter(has_value) {
            let fraction = (value - low) / (high - low).max(f64::MIN_POSITIVE);
            pixel.0 = blend(pixel.0, paint(value, fraction), OPACITY);
        }
    }
    Ok(())
}

/// The index of a pixel of the scaled image in an array with the size of the unscaled one.
fn at(x: u32, y: u32, scale: f64, width: usize, height: usize) -> Option<usize> {
    let place = |v: u32| ((f64::from(v) + 0.5) / scale) as usize;
    let (x, y) = (place(x), place(y));
    (x < width && y < height).then_some(y * width + x)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: [u8; 3] = [90, 90, 90];

    fn drawn(fields: Fields) -> RgbImage {
        let mut image = RgbImage::from_pixel(100, 80, Rgb(GREY));
        let spec = LabelSpec {
            names: vec!["a".into(), "b".into(), "c".into()].into(),
            ..Default::default()
        };
        draw(&mut image, 0.5, &fields, None, &spec).unwrap();
        image
    }

    fn changed(image: &RgbImage, x: u32, y: u32) -> bool {
        image.get_pixel(x, y).0 != GREY
    }

    #[test]
    fn boxes_have_the_colour_of_their_label_and_polygons_of_their_object() {
        let boxes = Array::rows(&[[40.0, 60.0, 120.0, 140.0]]);
        let column = |label: i64| Array::vector(&[label]);
        let with = |label| {
            let fields = Fields::new()
                .with("iscrowd", Role::COLUMN, Array::vector(&[0u8]))
                .with("boxes", Role::BOXES, boxes.clone())
                .with("class_labels", Role::COLUMN, column(label));
            drawn(fields)
        };
        let image = with(2);
        assert_eq!(image.get_pixel(20, 50).0, colour(2));
        assert_eq!(image.get_pixel(40, 70).0, colour(2));
        assert!(!changed(&image, 40, 50));
        // A column without valid labels is ignored: the colour is that of the first object.
        assert_eq!(with(7).get_pixel(20, 50).0, colour(0));
        let rows = [
            [1.0, 0.0, 20.0, 20.0],
            [1.0, 0.0, 80.0, 20.0],
            [1.0, 0.0, 80.0, 80.0],
        ];
        let image = drawn(Fields::new().with("p", Role::POLYGONS, Array::rows(&rows)));
        assert_eq!(image.get_pixel(25, 10).0, colour(1));
        assert!(changed(&image, 20, 20), "the ring is closed");
    }

    #[test]
    fn masks_and_maps_tint_where_they_have_values() {
        let mut mask = vec![0u8; 160 * 200];
        mask[0] = 1;
        mask[1] = 1;
        mask[200] = 1;
        mask[201] = 1;
        let array = Array::new(&[1, 160, 200], &mask).unwrap();
        let image = drawn(Fields::new().with("m", Role::MASKS, array));
        assert!(changed(&image, 0, 0) && !changed(&image, 2, 2));
        let mut values = vec![255i64; 160 * 200];
        values[201] = 1;
        let array = Array::new(&[160, 200], &values).unwrap();
        let image = drawn(Fields::new().with("m", Role::LABEL_MAP, array));
        assert!(changed(&image, 0, 0) && !changed(&image, 2, 2));
    }

    #[test]
    fn invalid_targets_are_drawn_without_a_panic() {
        let huge = [
            [-1e30, -1e30, 1e30, 1e30],
            [f64::NAN, 0.0, 1.0, 1.0],
            [5.0, 5.0, 5.0, 5.0],
        ];
        let points = Array::new(&[1, 2, 3], &[f64::NAN, 1.0, 2.0, 1e12, 1e12, 1.0]).unwrap();
        let mut fields = Fields::new()
            .with("b", Role::BOXES, Array::rows(&huge))
            .with("class_labels", Role::COLUMN, Array::vector(&[0i64, 1, 2]))
            .with("k", Role::KEYPOINTS, points)
            .with("m", Role::MASKS, Array::new(&[1, 2, 2], &[1u8; 4]).unwrap())
            .with("d", Role::DENSE_MAP, Array::new(&[1, 1], &[f32::NAN]).unwrap());
        drawn(fields.clone());
        fields.set("b", Role::BOXES, Array::rows(&[[0u8; 3]]));
        let mut image = RgbImage::new(5, 5);
        assert!(draw(&mut image, 1.0, &fields, None, &LabelSpec::default()).is_err());
    }

    #[test]
    fn a_region_is_outlined_and_captions_name_classes_and_texts() {
        let mut image = RgbImage::new(50, 50);
        let region = Region {
            x: 10.0,
            y: 20.0,
            width: 20.0,
            height: 10.0,
            angle: 0.0,
        };
        draw(
            &mut image,
            1.0,
            &Fields::new(),
            Some(&region),
            &LabelSpec::default(),
        )
        .unwrap();
        assert_eq!(image.get_pixel(10, 25).0, [255; 3]);
        assert_eq!(image.get_pixel(20, 25).0, [0; 3]);
        let spec = LabelSpec {
            names: vec!["cat".into(), "dog".into()].into(),
            ..Default::default()
        };
        let fields = Fields::new()
            .with("c", Role::DISTRIBUTION, Array::vector(&[0.25f32, 1.0]))
            .with("t", Role::TEXT, Array::text("a word"));
        assert_eq!(caption(&fields, &spec), "cat 0.25, dog, a word");
    }
}
