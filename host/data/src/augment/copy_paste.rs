//! Pastes objects of another image (Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data
//! Augmentation Method for Instance Segmentation").

use super::filter::{Filter, Remainder, passes};
use super::join::{self, Key, Part, Place};
use super::map::{Change, Map};
use super::rows::{about, instances, select, with_dtype};
use super::targets::transform;
use super::{Context, masks, polygons, size_of, spare, warp};
use crate::random::Random;
use cvhost::error::Result;
use cvhost_plugin_api::data::{Array, Fields, Role, Sample};
use std::sync::Once;

/// Pastes each object of a partner with probability 0.5, but at least one if there is any. The
/// partner fills the canvas, and is mirrored with probability 0.5.
///
/// Areas covered by pasted objects are removed from the masks of the objects below, and their boxes
/// are recomputed from the masks. Polygons, and boxes without masks, retain their whole extent.
/// Objects of which too little remains visible are removed. Covered keypoints are labelled, but not
/// visible: their visibility becomes 1. Records with boxes alone remain unchanged, with a single
/// warning.
pub fn apply(sample: &mut Sample, filter: &Filter, random: &mut Random, context: &Context<'_>) -> Result<()> {
    join::check(sample, Key::CopyPaste)?;
    if !has_outlines(&sample.fields) {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "`data.augmentations.copy_paste` has no effect: the records have neither masks \
                 nor polygons, and pasting whole boxes would include their backgrounds"
            );
        });
        return Ok(());
    }
    let size = size_of(sample)?;
    let partner = join::partner(random, context, Key::CopyPaste)?;
    let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
    let mut map = Map::cover(size_of(&partner)?, size, [0, 0, size[0], size[1]], places);
    if random.probability(0.5) {
        let mirror = Map::of(&[Change::MirrorX], size);
        map = Map::new(map.forward.then(&mirror.forward), map.from, map.to, map.window);
    }
    let in_partner = |e: cvhost::error::Error| e.within(partner.name.as_str());
    let moved = transform(&partner.fields, &map, filter).map_err(in_partner)?;
    let count = instances(&moved)?;
    if count == 0 {
        return Ok(());
    }
    let mut chosen: Vec<bool> = (0..count).map(|_| random.probability(0.5)).collect();
    let one = random.below(count);
    if !chosen.contains(&true)
        && let Some(first) = chosen.get_mut(one)
    {
        *first = true;
    }
    let pasted = select(&moved, &chosen)?;
    let outlines = outlines(&pasted, size).map_err(in_partner)?;
    let mut covered = vec![0u8; size[0] as usize * size[1] as usize];
    for outline in &outlines {
        covered.iter_mut().zip(outline).for_each(|(c, o)| *c |= *o);
    }
    if let Some((own, other)) = sample.images.first_mut().zip(partner.images.first()) {
        let moved = warp::image(other, &map)?;
        let own: &mut [[u8; 3]] = own.pixels.as_mut_slice().as_chunks_mut().0;
        let other: &[[u8; 3]] = moved.pixels.as_slice().as_chunks().0;
        for ((own, other), covered) in own.iter_mut().zip(other).zip(&covered) {
            if *covered != 0 {
                *own = *other;
            }
        }
        spare::give(moved);
    }
    let below = occluded(&sample.fields, &covered, size, filter)?;
    let part = |fields, fraction, place| Part {
        fields,
        fraction,
        place,
    };
    let parts = [
        part(below, 1.0, Place::Window([0, 0, size[0], size[1]])),
        part(pasted, 0.0, Place::Pixels(&covered)),
    ];
    sample.fields = join::fields(&parts, size).map_err(in_partner)?;
    Ok(())
}

fn has_outlines(fields: &Fields) -> bool {
    fields
        .items
        .iter()
        .any(|f| matches!(f.role, Role::MASKS | Role::POLYGONS))
}

/// Each instance as a plane of the image's size with value 1 inside: from its mask, or else from
/// its polygons.
fn outlines(fields: &Fields, size: [u32; 2]) -> Result<Vec<Vec<u8>>> {
    let plane = size[0] as usize * size[1] as usize;
    if let Some(field) = fields.items.iter().find(|f| f.role == Role::MASKS) {
        let values = field.array.values::<u8>().map_err(|e| about(field, e))?;
        let planes = values.chunks_exact(plane.max(1));
        return Ok(planes
            .map(|p| p.iter().map(|v| u8::from(*v != 0)).collect())
            .collect());
    }
    let Some(field) = fields.items.iter().find(|f| f.role == Role::POLYGONS) else {
        return Ok(Vec::new());
    };
    let rows = field.array.to_rows::<4>().map_err(|e| about(field, e))?;
    let drawn = |instance: usize| {
        let mut outline = vec![0u8; plane];
        polygons::draw(&rows, instance, &mut outline, size[0] as usize);
        outline
    };
    Ok((0..instances(fields)?).map(drawn).collect())
}

/// The fields of the objects below pasted ones, which are where `covered` isn't 0.
fn occluded(fields: &Fields, covered: &[u8], size: [u32; 2], filter: &Filter) -> Result<Fields> {
    let width = size[0] as usize;
    let seen: Vec<(Vec<u8>, Remainder)> = outlines(fields, size)?
        .into_iter()
        .map(|mut outline| {
            let area = |plane: &[u8]| plane.iter().map(|v| u64::from(*v)).sum::<u64>() as f64;
            let before = area(&outline);
            outline
                .iter_mut()
                .zip(covered)
                .for_each(|(o, c)| *o &= 1 - (*c & 1));
            let after = area(&outline);
            (outline, Remainder::of_areas(before, before, after))
        })
        .collect();
    let by_masks = fields.items.iter().any(|f| f.role == Role::MASKS);
    let mut below = fields.clone();
    for field in &mut below.items {
        let array = match field.role {
            Role::MASKS => {
                let values: Vec<u8> = seen.iter().flat_map(|(plane, _)| plane).copied().collect();
                Array::new(field.array.dims(), &values)
            }
            Role::BOXES if by_masks => field.array.to_rows::<4>().and_then(|mut boxes| {
                for (b, (plane, remainder)) in boxes.iter_mut().zip(&seen) {
                    if remainder.fraction < 1.0
                        && let Some(bounds) = masks::bounds(plane, width)
                    {
                        *b = bounds.map(f64::from);
                    }
                }
                with_dtype(field.array.dtype(), field.array.dims(), boxes.as_flattened())
            }),
            Role::KEYPOINTS => field.array.to_f64().and_then(|mut values| {
                for [x, y, visibility] in values.as_chunks_mut::<3>().0 {
                    let inside =
                        (0.0..f64::from(size[0])).contains(x) && (0.0..f64::from(size[1])).contains(y);
                    let under = || {
                        covered
                            .get(*y as usize * width + *x as usize)
                            .is_some_and(|c| *c != 0)
                    };
                    if inside && *visibility > 1.0 && under() {
                        *visibility = 1.0;
                    }
                }
                with_dtype(field.array.dtype(), field.array.dims(), &values)
            }),
            _ => continue,
        };
        field.array = array.map_err(|e| about(field, e))?;
    }
    let keep: Vec<bool> = seen
        .iter()
        .map(|(_, remainder)| passes(remainder, filter))
        .collect();
    select(&below, &keep)
}
