//! Geometric transformation of targets, by their roles.

use super::filter::{Filter, Remainder, passes};
use super::map::Map;
use super::rows::{about, instances, select, with_dtype};
use super::{masks, polygons, warp};
use cvhost::error::Result;
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::data::{Array, DType, Field, Fields, Role};

/// Transforms the fields of an image by `map`. Boxes, polygons, masks, keypoints, label maps and
/// dense maps move; instances of which too little remains according to `filter` are removed from
/// all per-instance fields; fields of other roles are unchanged. Element types are preserved.
///
/// The box of a clipped or rotated object is the bounding box of the visible part of its mask or
/// polygon, if there is one, and otherwise of the visible part of its own transformed corners.
///
/// # Errors
/// If an array doesn't have the shape required by its role.
pub fn transform(fields: &Fields, map: &Map, filter: &Filter) -> Result<Fields> {
    let count = instances(fields)?;
    let mut keep = vec![true; count];
    let mut moved = Vec::with_capacity(fields.items.len());
    for field in &fields.items {
        let (new, remainders) = moved_field(field, map, count).map_err(|e| about(field, e))?;
        if map.may_drop_instances() {
            remainders
                .iter()
                .zip(&mut keep)
                .for_each(|(remainder, keep)| *keep &= passes(remainder, filter));
        }
        moved.push(new);
    }
    if map.may_drop_instances() {
        tighten(&mut moved, map, count);
    }
    let mut result = Fields::new();
    for (field, moved) in fields.items.iter().zip(moved) {
        let array = array_of(field, moved, map, count).map_err(|e| about(field, e))?;
        result.items.push(Field {
            array,
            ..field.clone()
        });
    }
    if keep.contains(&false) {
        select(&result, &keep)
    } else {
        Ok(result)
    }
}

/// Whether `transform` moves arrays of this role.
pub fn moves(role: Role) -> bool {
    matches!(
        role,
        Role::BOXES
            | Role::POLYGONS
            | Role::MASKS
            | Role::KEYPOINTS
            | Role::LABEL_MAP
            | Role::DENSE_MAP
            | Role::RUN_LENGTHS // as masks
    )
}

/// A transformed field, before instances are removed.
enum Moved {
    /// The box (xyxy), and whether it was clipped.
    Boxes(Vec<([f64; 4], bool)>),
    /// The visible parts.
    Polygons(Vec<[f64; 4]>),
    /// Flattened `[N, H', W']`, and the bounding box (xyxy) of each mask.
    Masks(Vec<u8>, Vec<Option<[f64; 4]>>),
    /// Flattened `[N, K, 3]`, and K.
    Keypoints(Vec<[f64; 3]>, usize),
    Plane(Array),
    Same,
}

/// Transforms a field; returns it with the remainder of each instance, as far as the field shows
/// it.
fn moved_field(field: &Field, map: &Map, count: usize) -> Result<(Moved, Vec<Remainder>), PluginError> {
    let array = &field.array;
    Ok(match field.role {
        Role::BOXES => {
            let moved = array.to_rows::<4>()?.into_iter().map(|b| moved_box(b, map));
            let (boxes, remainders) = moved.unzip();
            (Moved::Boxes(boxes), remainders)
        }
        Role::POLYGONS => {
            let rows = array.to_rows::<4>()?;
            let (whole, visible) = polygons::moved(&rows, map);
            let [before, whole, after] = [&rows, &whole, &visible].map(|rows| polygons::areas(rows, count));
            let areas = before.into_iter().zip(whole).zip(after);
            let remainders = areas.map(|((before, whole), after)| Remainder::of_areas(before, whole, after));
            (Moved::Polygons(visible), remainders.collect())
        }
        Role::MASKS => {
            check_plane(array, map, 1)?;
            let (values, bounds, remainders) = masks::moved(array.values::<u8>()?, count, map);
            (Moved::Masks(values, bounds), remainders)
        }
        Role::KEYPOINTS => {
            let &[_, points, 3] = array.dims() else {
                return Err(PluginError::failed(format!(
                    "expected [N, K, 3], got {:?}",
                    array.dims()
                )));
            };
            let before = array.to_f64()?;
            let before = before.as_chunks::<3>().0;
            let mut after: Vec<[f64; 3]> = before.iter().map(|p| moved_keypoint(*p, map)).collect();
            if map.mirrors() {
                after = swapped(&after, &field.mirror, points as usize)?;
            }
            let visible = |points: &[[f64; 3]]| points.iter().any(|p| p[2] > 0.0);
            let each = (points as usize).max(1);
            let pairs = before.chunks(each).zip(after.chunks(each));
            let remainders = pairs
                .map(|(before, after)| Remainder::by_sight(visible(before), visible(after)))
                .collect();
            (Moved::Keypoints(after, points as usize), remainders)
        }
        Role::LABEL_MAP | Role::DENSE_MAP => (Moved::Plane(moved_plane(array, map, field.fill)?), Vec::new()),
        _ => (Moved::Same, Vec::new()),
    })
}

/// Transforms a box; returns the bounding box of its visible part, whether it was clipped, and its
/// remainder.
pub fn moved_box(b: [f64; 4], map: &Map) -> (([f64; 4], bool), Remainder) {
    let [x1, y1, x2, y2] = b;
    let before = (x2 - x1).max(0.0) * (y2 - y1).max(0.0);
    let corners = polygons::moved_ring(vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]], map);
    let whole = polygons::area(&corners);
    let around = polygons::bounds_of(corners.iter().copied()).unwrap_or_default();
    if !map.clips || corners.iter().all(|c| map.shows(*c)) {
        return ((around, false), Remainder::of_areas_or_gone(before, whole, whole));
    }
    let visible = polygons::clip(&corners, map);
    let remainder = Remainder::of_areas_or_gone(before, whole, polygons::area(&visible));
    // A box outside of the image is clamped to its edge.
    let edge = || {
        let [left, top, right, bottom] = map.window.map(f64::from);
        let clamped = |x: f64, y: f64| [x.clamp(left, right), y.clamp(top, bottom)];
        let ([x1, y1], [x2, y2]) = (clamped(around[0], around[1]), clamped(around[2], around[3]));
        [x1, y1, x2, y2]
    };
    let visible = polygons::bounds_of(visible).unwrap_or_else(edge);
    ((visible, true), remainder)
}

/// Transforms a keypoint. A keypoint outside of the image gets visibility 0 and coordinates 0, like
/// an unlabelled one.
fn moved_keypoint([x, y, visibility]: [f64; 3], map: &Map) -> [f64; 3] {
    if visibility <= 0.0 {
        return [x, y, visibility];
    }
    match map.forward.point([x, y]) {
        Some([x, y]) if !map.clips || map.shows([x, y]) => [x, y, visibility],
        _ => [0.0; 3],
    }
}

/// Reorders the keypoints of each instance for a mirrored image: left and right ones swap their
/// names.
fn swapped(points: &[[f64; 3]], mirror: &[u64], each: usize) -> Result<Vec<[f64; 3]>, PluginError> {
    if mirror.is_empty() {
        return Ok(points.to_vec());
    }
    let mut sorted: Vec<u64> = mirror.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..each as u64) {
        return Err(PluginError::failed(format!(
            "the mirror indices {mirror:?} are not a permutation of its {each} keypoints"
        )));
    }
    let of_instance = |points: &[[f64; 3]]| -> Vec<[f64; 3]> {
        let at = |&i: &u64| points.get(i as usize).copied().unwrap_or_default();
        mirror.iter().map(at).collect()
    };
    Ok(points.chunks(each.max(1)).flat_map(of_instance).collect())
}

/// Checks that the dimensions after the first `skip` ones are the image's height and width.
fn check_plane(array: &Array, map: &Map, skip: usize) -> Result<(), PluginError> {
    let [width, height] = map.from.map(u64::from);
    if array.dims().len() != skip + 2 || array.dims().get(skip..) != Some(&[height, width]) {
        let leading = if skip == 1 { "N, " } else { "" };
        return Err(PluginError::failed(format!(
            "expected [{leading}{height}, {width}], the image's size, got {:?}",
            array.dims()
        )));
    }
    Ok(())
}

fn moved_plane(array: &Array, map: &Map, fill: f64) -> Result<Array, PluginError> {
    check_plane(array, map, 0)?;
    let dims = [u64::from(map.to[1]), u64::from(map.to[0])];
    match array.dtype() {
        DType::U8 => Array::new(&dims, &warp::plane(array.values::<u8>()?, map, fill as u8)),
        DType::I32 => Array::new(&dims, &warp::plane(array.values::<i32>()?, map, fill as i32)),
        DType::I64 => Array::new(&dims, &warp::plane(array.values::<i64>()?, map, fill as i64)),
        DType::F32 => Array::new(&dims, &warp::plane(array.values::<f32>()?, map, fill as f32)),
        DType::F64 => Array::new(&dims, &warp::plane(array.values::<f64>()?, map, fill)),
        other => Err(PluginError::failed(format!(
            "an array with the unknown element type {other:?}"
        ))),
    }
}

/// Sets the boxes of clipped or rotated objects to the bounds of the visible parts of their masks
/// or polygons.
fn tighten(moved: &mut [Moved], map: &Map, count: usize) {
    let outlines = moved.iter().find_map(|m| match m {
        Moved::Masks(_, bounds) => Some(bounds.clone()),
        _ => None,
    });
    let outlines = outlines.or_else(|| {
        moved.iter().find_map(|m| match m {
            Moved::Polygons(visible) => Some(polygons::bounds(visible, count)),
            _ => None,
        })
    });
    let Some(outlines) = outlines else { return };
    for m in moved {
        if let Moved::Boxes(boxes) = m {
            for ((visible, clipped), outline) in boxes.iter_mut().zip(&outlines) {
                if let Some(outline) = outline.filter(|_| !map.axis_aligned || *clipped) {
                    *visible = outline;
                }
            }
        }
    }
}

fn array_of(field: &Field, moved: Moved, map: &Map, count: usize) -> Result<Array, PluginError> {
    let (dtype, count) = (field.array.dtype(), count as u64);
    match moved {
        Moved::Boxes(boxes) => {
            let rows: Vec<[f64; 4]> = boxes.into_iter().map(|(b, _)| b).collect();
            with_dtype(dtype, &[count, 4], rows.as_flattened())
        }
        Moved::Polygons(rows) => with_dtype(dtype, &[rows.len() as u64, 4], rows.as_flattened()),
        Moved::Masks(values, _) => Array::new(&[count, u64::from(map.to[1]), u64::from(map.to[0])], &values),
        Moved::Keypoints(points, each) => with_dtype(dtype, &[count, each as u64, 3], points.as_flattened()),
        Moved::Plane(array) => Ok(array),
        Moved::Same => Ok(field.array.clone()),
    }
}
