//! Geometric transformation of a sample: drawn as several transformations, applied as one.

use super::filter::{Filter, passes};
use super::map::{Change, Map};
use super::rows::{about, instances};
use super::targets::{moved_box, transform};
use super::{Augmentations, Context, masks, polygons, size_of, spare, warp};
use crate::random::Random;
use cvhost::config::RandomResize;
use cvhost::error::Result;
use cvhost_plugin_api::data::{Fields, Region, Role, Sample};

/// A random crop retains at least this fraction of each side.
const MIN_CROP: f64 = 0.5;
/// Maximum number of attempts to draw a crop that retains an instance.
const CROP_TRIES: usize = 10;
/// A perspective transformation moves each corner inwards by up to this fraction of width and
/// height.
const PERSPECTIVE: f64 = 0.1;

/// Draws the configured transformation and applies it.
pub fn apply(
    sample: &mut Sample,
    augmentations: &Augmentations,
    filter: &Filter,
    random: &mut Random,
    context: &Context<'_>,
) -> Result<()> {
    let (before, after) = draw(sample, augmentations, random, context)?;
    let cropped = random.probability(augmentations.random_crop.value());
    if !cropped && before.is_empty() && after.is_empty() {
        return Ok(());
    }
    let size = size_of(sample)?;
    let map_with = |crop: Option<Change>| {
        let changes: Vec<Change> = before
            .iter()
            .copied()
            .chain(crop)
            .chain(after.iter().copied())
            .collect();
        Map::of(&changes, size)
    };
    let crop = if cropped {
        crop_with_instance(&sample.fields, size, filter, random, |crop| map_with(Some(crop)))?
    } else {
        None
    };
    let map = map_with(crop);
    let fields = transform(&sample.fields, &map, filter)?;
    // The crop was chosen by boxes; a mask may lie elsewhere in its box.
    if crop.is_some() && instances(&fields)? == 0 && instances(&sample.fields)? > 0 {
        return change(sample, &map_with(None), filter);
    }
    finish(sample, &map, fields)
}

/// The transformations before and after a crop.
fn draw(
    sample: &Sample,
    augmentations: &Augmentations,
    random: &mut Random,
    context: &Context<'_>,
) -> Result<(Vec<Change>, Vec<Change>)> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    if let Some(pair) = augmentations.random_resize {
        let [width, height] = size_of(sample)?;
        let factor = match RandomResize::from_pair(pair) {
            RandomResize::Factor(low, high) => random.uniform(low, high),
            RandomResize::ShortestEdge(low, high) => {
                random.uniform(low, high) / (context.input_edge)(width, height)?.max(1) as f64
            }
        };
        let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
        before.push(Change::zoom(width, height, factor, places));
    }
    if augmentations.rotation > 0.0 {
        let degrees = random.uniform(-augmentations.rotation, augmentations.rotation);
        after.push(Change::Rotate {
            radians: degrees.to_radians(),
        });
    }
    if random.probability(augmentations.perspective.value()) {
        let mut inward = || random.uniform(0.0, PERSPECTIVE);
        let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let moved = corners.map(|corner| corner.map(|v: f64| (v - inward()).abs()));
        after.push(Change::Perspective { corners: moved });
    }
    if random.probability(augmentations.horizontal_flip.value()) {
        after.push(Change::MirrorX);
    }
    if random.probability(augmentations.vertical_flip.value()) {
        after.push(Change::MirrorY);
    }
    Ok((before, after))
}

/// A crop that retains at least one instance, if there is any; `None` if none was found in a few
/// attempts.
fn crop_with_instance(
    fields: &Fields,
    size: [u32; 2],
    filter: &Filter,
    random: &mut Random,
    map_with: impl Fn(Change) -> Map,
) -> Result<Option<Change>> {
    let extents = extents(fields)?;
    for _ in 0..CROP_TRIES {
        let mut part = |side: u32| {
            let length = (f64::from(side) * random.uniform(MIN_CROP, 1.0))
                .ceil()
                .clamp(1.0, f64::from(side.max(1))) as u32;
            (
                random.below(side.saturating_sub(length) as usize + 1) as u32,
                length,
            )
        };
        let ((left, width), (top, height)) = (part(size[0]), part(size[1]));
        let crop = Change::Crop {
            left,
            top,
            width,
            height,
        };
        let map = map_with(crop);
        if extents.is_empty() || extents.iter().any(|e| passes(&moved_box(*e, &map).1, filter)) {
            return Ok(Some(crop));
        }
    }
    Ok(None)
}

/// The bounding boxes (xyxy) of the instances, from the first suitable field.
fn extents(fields: &Fields) -> Result<Vec<[f64; 4]>> {
    let by_role = |role: Role| fields.items.iter().find(|f| f.role == role);
    if let Some(field) = by_role(Role::BOXES) {
        return field.array.to_rows::<4>().map_err(|e| about(field, e));
    }
    if let Some(field) = by_role(Role::POLYGONS) {
        let rows = field.array.to_rows::<4>().map_err(|e| about(field, e))?;
        let bounds = polygons::bounds(&rows, instances(fields)?);
        return Ok(bounds.into_iter().flatten().collect());
    }
    if let Some(field) = by_role(Role::MASKS) {
        let values = field.array.values::<u8>().map_err(|e| about(field, e))?;
        let &[_, height, width] = field.array.dims() else {
            return Ok(Vec::new());
        };
        let planes = values.chunks_exact(((height * width) as usize).max(1));
        let bounds = planes.filter_map(|plane| masks::bounds(plane, width as usize));
        return Ok(bounds.map(|b| b.map(f64::from)).collect());
    }
    if let Some(field) = by_role(Role::KEYPOINTS) {
        let values = field.array.to_f64().map_err(|e| about(field, e))?;
        let visible = values.as_chunks::<3>().0.iter().filter(|p| p[2] > 0.0);
        // One pixel around each point: an instance is retained by any of its points.
        return Ok(visible
            .map(|p| [p[0] - 0.5, p[1] - 0.5, p[0] + 0.5, p[1] + 0.5])
            .collect());
    }
    Ok(Vec::new())
}

/// Applies one transformation to the whole sample.
pub fn change(sample: &mut Sample, map: &Map, filter: &Filter) -> Result<()> {
    let fields = transform(&sample.fields, map, filter)?;
    finish(sample, map, fields)
}

fn finish(sample: &mut Sample, map: &Map, fields: Fields) -> Result<()> {
    for image in &mut sample.images {
        if !warp::mirrored_in_place(image, map) {
            let new = warp::image(image, map)?;
            spare::give(std::mem::replace(image, new));
        }
    }
    sample.fields = fields;
    sample.region = sample
        .region
        .into_option()
        .map(|region| moved_region(region, map))
        .into();
    Ok(())
}

/// A region moves with its centre and is mirrored. It isn't rotated with the image: the adapter
/// then crops a rotated view, whereas rotating the region would cancel the rotation. Regions may
/// extend outside of the image.
fn moved_region(region: Region, map: &Map) -> Region {
    let before = [region.x + region.width / 2.0, region.y + region.height / 2.0];
    let Some(centre) = map.forward.point(before) else {
        return region;
    };
    let [scale_x, scale_y] = map.scales(before);
    let (width, height) = (region.width * scale_x, region.height * scale_y);
    Region {
        x: centre[0] - width / 2.0,
        y: centre[1] - height / 2.0,
        width,
        height,
        angle: if map.mirrors() {
            -region.angle
        } else {
            region.angle
        },
    }
}
