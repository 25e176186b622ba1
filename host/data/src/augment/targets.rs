//! Targets under a change of geometry, by their roles.

use super::geometry::{Map, nearest};
use super::polygons;
use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::data::{Array, DType, Element, Field, Fields, Role};

/// An instance leaves when it got smaller than this, in square pixels.
const MIN_AREA: f64 = 25.0;
/// An instance leaves when less than this part of it is left.
const MIN_VISIBLE: f64 = 0.1;

/// The fields of a picture after `map`. Boxes, polygons, masks, keypoints, label maps and dense maps move; instances of which
/// too little is left leave all per-instance fields together; fields of any other role stay as they are. Element types
/// stay.
///
/// A box around a cut or turned object is the bounding box of what is left of its mask or polygon, if there is one, and
/// otherwise the box around its own turned corners, clipped. Fails where an array doesn't have the shape of its role.
pub fn transform(fields: &Fields, map: &Map) -> Result<Fields> {
    let count = instances(fields)?;
    let mut moved = Vec::with_capacity(fields.items.len());
    for field in &fields.items {
        moved.push(moved_field(field, map, count).map_err(|e| about(field, e))?);
    }
    if map.cuts {
        tighten(&mut moved, map, count);
    }
    let keep = if map.cuts {
        staying(fields, &moved, map, count)?
    } else {
        vec![true; count]
    };

    let mut result = Fields::new();
    for (field, moved) in fields.items.iter().zip(moved) {
        let array = rebuilt(field, moved, map, &keep).map_err(|e| about(field, e))?;
        result.items.push(Field {
            array,
            ..field.clone()
        });
    }
    Ok(result)
}

/// A field after the change, before instances leave.
enum Moved {
    /// Not clipped yet as `whole`, clipped as `visible`, each xyxy.
    Boxes {
        whole: Vec<[f64; 4]>,
        visible: Vec<[f64; 4]>,
    },
    Polygons {
        whole: Vec<[f64; 4]>,
        visible: Vec<[f64; 4]>,
    },
    /// `[N, H', W']`, plane by plane.
    Masks(Vec<Vec<u8>>),
    /// `[N, K, 3]`, flat, and K.
    Keypoints(Vec<[f64; 3]>, usize),
    Plane(Array),
    Same,
}

fn about(field: &Field, error: PluginError) -> Error {
    from_plugin(error).within(format!("field `{}` ({:?})", field.name, field.role))
}

/// How many instances the per-instance fields have; polygons alone count by their highest number.
fn instances(fields: &Fields) -> Result<usize> {
    let mut found: Option<(&Field, u64)> = None;
    for field in fields.items.iter().filter(|f| f.role.per_instance()) {
        let count = field.array.dims().first().copied().unwrap_or(0);
        match found {
            None => found = Some((field, count)),
            Some((other, first)) if first != count => {
                return Err(Error::failed(format!(
                    "field `{}` has {count} instances, and `{}` has {first}",
                    field.name, other.name
                ))
                .with_expected("the same instances in all per-instance fields of a record"));
            }
            Some(_) => {}
        }
    }
    let mut highest = 0;
    for field in fields.items.iter().filter(|f| f.role == Role::POLYGONS) {
        for row in field.array.to_rows::<4>().map_err(|e| about(field, e))? {
            let valid = row[0] >= 0.0 && row[0].fract() == 0.0 && row[0] < f64::from(u32::MAX);
            if !valid || found.is_some_and(|(_, count)| row[0] >= count as f64) {
                let message = format!("instance {} of {}", row[0], found.map_or(0, |(_, count)| count));
                return Err(about(field, PluginError::failed(message)));
            }
            highest = highest.max(row[0] as usize + 1);
        }
    }
    Ok(found.map_or(highest, |(_, count)| count as usize))
}

fn moved_field(field: &Field, map: &Map, count: usize) -> Result<Moved, PluginError> {
    let [width, height] = map.to.map(f64::from);
    let array = &field.array;
    Ok(match field.role {
        Role::BOXES => {
            let whole: Vec<[f64; 4]> = array
                .to_rows::<4>()?
                .into_iter()
                .map(|b| moved_box(b, map))
                .collect();
            let visible = if map.cuts {
                whole.iter().map(|b| clipped(*b, width, height)).collect()
            } else {
                whole.clone()
            };
            Moved::Boxes { whole, visible }
        }
        Role::POLYGONS => {
            let to = |[instance, ring, x, y]: [f64; 4]| {
                let [x, y] = map.forward.point([x, y]);
                [instance, ring, x, y]
            };
            let whole: Vec<[f64; 4]> = array.to_rows::<4>()?.into_iter().map(to).collect();
            let visible = if map.cuts {
                polygons::clip(&whole, width, height)
            } else {
                whole.clone()
            };
            Moved::Polygons { whole, visible }
        }
        Role::MASKS => {
            let plane = check_plane(array, map, 1)?;
            let values = array.values::<u8>()?;
            let plane_of = |i: usize| values.get(i * plane..(i + 1) * plane).unwrap_or_default();
            Moved::Masks((0..count).map(|i| nearest(plane_of(i), map, 0)).collect())
        }
        Role::KEYPOINTS => {
            let &[_, points, 3] = array.dims() else {
                return Err(PluginError::failed(format!(
                    "expected [N, K, 3], got {:?}",
                    array.dims()
                )));
            };
            let flat = array.to_f64()?;
            let to = |p: &[f64; 3]| moved_keypoint(*p, map);
            let mut moved: Vec<[f64; 3]> = flat.as_chunks::<3>().0.iter().map(to).collect();
            if map.forward.mirrors() {
                moved = swapped(&moved, &field.mirror, points as usize)?;
            }
            Moved::Keypoints(moved, points as usize)
        }
        Role::LABEL_MAP | Role::DENSE_MAP => Moved::Plane(moved_plane(array, map, field.fill)?),
        _ => Moved::Same,
    })
}

/// The box around a box's corners after the change.
fn moved_box([x1, y1, x2, y2]: [f64; 4], map: &Map) -> [f64; 4] {
    let corners = [[x1, y1], [x2, y1], [x1, y2], [x2, y2]].map(|corner| map.forward.point(corner));
    corners.iter().fold(
        [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY],
        |b, [x, y]| [b[0].min(*x), b[1].min(*y), b[2].max(*x), b[3].max(*y)],
    )
}

fn clipped([x1, y1, x2, y2]: [f64; 4], width: f64, height: f64) -> [f64; 4] {
    [
        x1.clamp(0.0, width),
        y1.clamp(0.0, height),
        x2.clamp(0.0, width),
        y2.clamp(0.0, height),
    ]
}

fn area([x1, y1, x2, y2]: [f64; 4]) -> f64 {
    (x2 - x1).max(0.0) * (y2 - y1).max(0.0)
}

/// A keypoint that has left the picture gets the visibility 0, and with it no place, as one that was never labelled.
fn moved_keypoint([x, y, visibility]: [f64; 3], map: &Map) -> [f64; 3] {
    if visibility <= 0.0 {
        return [x, y, visibility];
    }
    let [x, y] = map.forward.point([x, y]);
    let [width, height] = map.to.map(f64::from);
    let inside = (0.0..=width).contains(&x) && (0.0..=height).contains(&y);
    if inside || !map.cuts {
        [x, y, visibility]
    } else {
        [0.0; 3]
    }
}

/// The keypoints of each instance in the places that they have in a mirror image: left and right change their names.
fn swapped(points: &[[f64; 3]], mirror: &[u64], each: usize) -> Result<Vec<[f64; 3]>, PluginError> {
    if mirror.is_empty() {
        return Ok(points.to_vec());
    }
    let mut sorted: Vec<u64> = mirror.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..each as u64) {
        return Err(PluginError::failed(format!(
            "the mirror indices {mirror:?} are no order of its {each} keypoints"
        )));
    }
    let of_instance = |points: &[[f64; 3]]| -> Vec<[f64; 3]> {
        let at = |&i: &u64| points.get(i as usize).copied().unwrap_or_default();
        mirror.iter().map(at).collect()
    };
    Ok(points.chunks(each.max(1)).flat_map(of_instance).collect())
}

/// Checks that the dimensions after the first `skip` are the picture's height and width; gives their product.
fn check_plane(array: &Array, map: &Map, skip: usize) -> Result<usize, PluginError> {
    let [width, height] = map.from.map(u64::from);
    if array.dims().len() != skip + 2 || array.dims().get(skip..) != Some(&[height, width]) {
        let leading = if skip == 1 { "N, " } else { "" };
        return Err(PluginError::failed(format!(
            "expected [{leading}{height}, {width}], the picture's size, got {:?}",
            array.dims()
        )));
    }
    Ok((width * height) as usize)
}

fn moved_plane(array: &Array, map: &Map, fill: f64) -> Result<Array, PluginError> {
    check_plane(array, map, 0)?;
    let dims = [u64::from(map.to[1]), u64::from(map.to[0])];
    match array.dtype() {
        DType::U8 => Array::new(&dims, &nearest(array.values::<u8>()?, map, fill as u8)),
        DType::I32 => Array::new(&dims, &nearest(array.values::<i32>()?, map, fill as i32)),
        DType::I64 => Array::new(&dims, &nearest(array.values::<i64>()?, map, fill as i64)),
        DType::F32 => Array::new(&dims, &nearest(array.values::<f32>()?, map, fill as f32)),
        DType::F64 => Array::new(&dims, &nearest(array.values::<f64>()?, map, fill)),
        other => Err(PluginError::failed(format!(
            "an array of unknown element type {other:?}"
        ))),
    }
}

/// Brings the boxes of objects that were cut or turned to what is visible of their masks or polygons.
fn tighten(moved: &mut [Moved], map: &Map, count: usize) {
    let width = map.to[0] as usize;
    let outlines = moved.iter().find_map(|m| match m {
        Moved::Masks(planes) => Some(
            planes
                .iter()
                .map(|plane| mask_bounds(plane, width))
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    let outlines = outlines.or_else(|| {
        moved.iter().find_map(|m| match m {
            Moved::Polygons { visible, .. } => Some(polygons::bounds(visible, count)),
            _ => None,
        })
    });
    let Some(outlines) = outlines else { return };
    for m in moved {
        if let Moved::Boxes { whole, visible } = m {
            for ((whole, visible), outline) in whole.iter().zip(visible).zip(&outlines) {
                if let Some(outline) = outline.filter(|_| !map.upright || whole != visible) {
                    *visible = outline;
                }
            }
        }
    }
}

/// The bounding box xyxy of a mask's pixels; `None` for an empty mask.
fn mask_bounds(plane: &[u8], width: usize) -> Option<[f64; 4]> {
    let mut bounds: Option<[usize; 4]> = None;
    for (y, row) in plane.chunks_exact(width.max(1)).enumerate() {
        if let (Some(first), Some(last)) = (
            row.iter().position(|&v| v != 0),
            row.iter().rposition(|&v| v != 0),
        ) {
            let [x1, y1, x2, _] = bounds.unwrap_or([first, y, last + 1, y]);
            bounds = Some([x1.min(first), y1, x2.max(last + 1), y + 1]);
        }
    }
    bounds.map(|b| b.map(|v| v as f64))
}

/// Which instances stay: all fields that show where an instance is must agree. A crowd of columns without any such field
/// stays.
fn staying(fields: &Fields, moved: &[Moved], map: &Map, count: usize) -> Result<Vec<bool>> {
    let mut keep = vec![true; count];
    let factor = map.forward.area_factor();
    let mut judge = |i: usize, stays: bool| {
        if let Some(keep) = keep.get_mut(i) {
            *keep &= stays;
        }
    };
    for (field, moved) in fields.items.iter().zip(moved) {
        match moved {
            Moved::Boxes { whole, visible } => {
                let before = field.array.to_rows::<4>().map_err(|e| about(field, e))?;
                for (i, ((before, whole), visible)) in before.iter().zip(whole).zip(visible).enumerate() {
                    // A turned box is looser than before: what is left of it counts against the box around it.
                    let inside = clipped(*whole, f64::from(map.to[0]), f64::from(map.to[1]));
                    judge(
                        i,
                        enough(area(*before), area(*whole), area(inside)) && area(*visible) > 0.0,
                    );
                }
            }
            Moved::Polygons { whole, visible } => {
                let (all, left) = (polygons::areas(whole, count), polygons::areas(visible, count));
                for (i, (all, left)) in all.iter().zip(&left).enumerate() {
                    judge(i, *all == 0.0 || enough(all / factor, *all, *left));
                }
            }
            Moved::Masks(planes) => {
                let plane = map
                    .from
                    .map(|side| side as usize)
                    .iter()
                    .product::<usize>()
                    .max(1);
                let before = field.array.values::<u8>().map_err(|e| about(field, e))?;
                for (i, (before, after)) in before.chunks_exact(plane).zip(planes).enumerate() {
                    let [before, after] =
                        [before, after.as_slice()].map(|p| p.iter().filter(|&&v| v != 0).count() as f64);
                    judge(i, before == 0.0 || enough(before, before * factor, after));
                }
            }
            Moved::Keypoints(points, each) => {
                let before = field.array.to_f64().map_err(|e| about(field, e))?;
                let visible = |points: &[[f64; 3]]| points.iter().any(|p| p[2] > 0.0);
                let each = (*each).max(1);
                for (i, (before, after)) in before
                    .as_chunks::<3>()
                    .0
                    .chunks(each)
                    .zip(points.chunks(each))
                    .enumerate()
                {
                    judge(i, visible(after) || !visible(before));
                }
            }
            Moved::Plane(_) | Moved::Same => {}
        }
    }
    Ok(keep)
}

/// Whether enough of an instance is left: `before` is its area before the change, `whole` after it without the picture's
/// edge, `visible` inside the picture, all in square pixels.
fn enough(before: f64, whole: f64, visible: f64) -> bool {
    // Rounding of coordinates isn't shrinking.
    let shrunk = visible < before * (1.0 - 1e-9);
    visible > 0.0 && visible >= MIN_VISIBLE * whole && !(shrunk && visible < MIN_AREA)
}

fn rebuilt(field: &Field, moved: Moved, map: &Map, keep: &[bool]) -> Result<Array, PluginError> {
    let left = keep.iter().filter(|k| **k).count() as u64;
    let dtype = field.array.dtype();
    match moved {
        Moved::Boxes { visible, .. } => {
            let rows: Vec<f64> = kept(&visible, keep).flatten().copied().collect();
            with_dtype(dtype, &[left, 4], &rows)
        }
        Moved::Polygons { visible, .. } => {
            let mut numbers = Vec::with_capacity(keep.len());
            let mut next = 0.0;
            for stays in keep {
                numbers.push(stays.then_some(next));
                next += if *stays { 1.0 } else { 0.0 };
            }
            let renumbered = |&[instance, ring, x, y]: &[f64; 4]| {
                let number = numbers.get(instance as usize).copied().flatten()?;
                Some([number, ring, x, y])
            };
            let rows: Vec<[f64; 4]> = visible.iter().filter_map(renumbered).collect();
            with_dtype(dtype, &[rows.len() as u64, 4], rows.as_flattened())
        }
        Moved::Masks(planes) => {
            let values: Vec<u8> = kept(&planes, keep).flatten().copied().collect();
            Array::new(&[left, u64::from(map.to[1]), u64::from(map.to[0])], &values)
        }
        Moved::Keypoints(points, each) => {
            let chunks: Vec<&[[f64; 3]]> = points.chunks(each.max(1)).collect();
            let values: Vec<f64> = kept(&chunks, keep)
                .flat_map(|c| c.as_flattened())
                .copied()
                .collect();
            with_dtype(dtype, &[left, each as u64, 3], &values)
        }
        Moved::Plane(array) => Ok(array),
        Moved::Same if field.role.per_instance() && left < keep.len() as u64 => column(&field.array, keep),
        Moved::Same => Ok(field.array.clone()),
    }
}

fn kept<'a, T>(list: &'a [T], keep: &'a [bool]) -> impl Iterator<Item = &'a T> {
    list.iter()
        .zip(keep)
        .filter_map(|(value, keep)| keep.then_some(value))
}

fn with_dtype(dtype: DType, dims: &[u64], values: &[f64]) -> Result<Array, PluginError> {
    match dtype {
        DType::F64 => Array::new(dims, values),
        DType::F32 => Array::new(dims, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        DType::I64 => Array::new(
            dims,
            &values.iter().map(|&v| v.round() as i64).collect::<Vec<_>>(),
        ),
        DType::I32 => Array::new(
            dims,
            &values.iter().map(|&v| v.round() as i32).collect::<Vec<_>>(),
        ),
        other => Err(PluginError::failed(format!(
            "coordinates of type {other:?}; f64 or f32 is expected"
        ))),
    }
}

/// The rows of a column whose instances stay.
fn column(array: &Array, keep: &[bool]) -> Result<Array, PluginError> {
    fn rows<T: Element>(array: &Array, keep: &[bool]) -> Result<Array, PluginError> {
        let inner = array.dims().get(1..).unwrap_or_default();
        let size = inner.iter().product::<u64>() as usize;
        let chunks: Vec<&[T]> = array.values::<T>()?.chunks(size.max(1)).collect();
        let values: Vec<T> = kept(&chunks, keep).flat_map(|c| c.iter()).copied().collect();
        let mut dims = vec![keep.iter().filter(|k| **k).count() as u64];
        dims.extend(inner);
        Array::new(&dims, &values)
    }
    match array.dtype() {
        DType::U8 => rows::<u8>(array, keep),
        DType::I32 => rows::<i32>(array, keep),
        DType::I64 => rows::<i64>(array, keep),
        DType::F32 => rows::<f32>(array, keep),
        DType::F64 => rows::<f64>(array, keep),
        other => Err(PluginError::failed(format!(
            "an array of unknown element type {other:?}"
        ))),
    }
}
