//! Random changes of training samples. Pictures change by what the configuration asks for, targets by their roles alone: a
//! box is mirrored because it is a box, whatever task it belongs to.
//!
//! Coordinates are continuous: (0, 0) is the top left corner of the first pixel, (width, height) the bottom right corner of
//! the last.

mod colour;
mod geometry;
mod polygons;
mod targets;

use crate::random::Random;
use cvhost::config::RandomResize;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Picture, Region, Sample};
use geometry::{Change, Map};

pub use cvhost::config::{Augmentations, ColorJitter};

/// A random crop leaves at least this part of each side.
const LEAST_CROP: f64 = 0.5;

/// Changes `sample` at random. Which changes, and how far, `random` alone decides.
///
/// `input_edge` gives the shortest edge of the model's input for a picture of the given width and height, in pixels: a
/// random resize in pixels is meant there, since the adapter brings every picture to its own size afterwards. Resizing
/// therefore keeps the canvas: contents get larger and are cut out at a random place, or smaller and are put on grey.
///
/// Instances leave, with all their columns, when too little of them stays in the picture. Fails where pictures of one sample
/// differ in size and a change of geometry is asked for, or where a field doesn't have its role's shape.
pub fn apply(
    sample: &mut Sample,
    augmentations: &Augmentations,
    random: &mut Random,
    input_edge: &dyn Fn(u32, u32) -> Result<u64>,
) -> Result<()> {
    if sample.pictures.is_empty() {
        return Ok(());
    }
    if let Some(pair) = augmentations.random_resize {
        let (width, height) = size_of(sample)?;
        let factor = match RandomResize::from_pair(pair) {
            RandomResize::Factor(low, high) => random.uniform(low, high),
            RandomResize::ShortestEdge(low, high) => {
                random.uniform(low, high) / input_edge(width, height)?.max(1) as f64
            }
        };
        let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
        change(sample, Change::zoom(width, height, factor, places))?;
    }
    if random.chance(augmentations.random_crop.value()) {
        let (width, height) = size_of(sample)?;
        let mut part = |side: u32| {
            let length = (f64::from(side) * random.uniform(LEAST_CROP, 1.0))
                .ceil()
                .clamp(1.0, f64::from(side)) as u32;
            (random.below((side - length) as usize + 1) as u32, length)
        };
        let ((left, crop_width), (top, crop_height)) = (part(width), part(height));
        change(
            sample,
            Change::Crop {
                left,
                top,
                width: crop_width,
                height: crop_height,
            },
        )?;
    }
    if augmentations.rotation > 0.0 {
        let degrees = random.uniform(-augmentations.rotation, augmentations.rotation);
        change(
            sample,
            Change::Rotate {
                radians: degrees.to_radians(),
            },
        )?;
    }
    if random.chance(augmentations.horizontal_flip.value()) {
        change(sample, Change::MirrorX)?;
    }
    if random.chance(augmentations.vertical_flip.value()) {
        change(sample, Change::MirrorY)?;
    }
    recolour(sample, augmentations, random);
    Ok(())
}

/// The size that all pictures of the sample have.
fn size_of(sample: &Sample) -> Result<(u32, u32)> {
    let mut sizes = sample.pictures.iter().map(|p| (p.width, p.height));
    let first = sizes.next().unwrap_or_default();
    match sizes.find(|&size| size != first) {
        None => Ok(first),
        Some(other) => Err(Error::input(format!(
            "the record's pictures differ in size: {}x{} and {}x{}",
            first.0, first.1, other.0, other.1
        ))
        .with_help(
            "turn off the augmentations that move pixels: flips, rotation, random_crop, random_resize",
        )),
    }
}

/// Applies one change of geometry to all of a sample.
fn change(sample: &mut Sample, change: Change) -> Result<()> {
    let (width, height) = size_of(sample)?;
    let map = change.map(width, height);
    let fields = targets::transform(&sample.fields, &map)?;
    for picture in &mut sample.pictures {
        *picture = change.picture(picture, &map)?;
    }
    sample.fields = fields;
    sample.region = sample.region.map(|region| moved_region(region, &map));
    Ok(())
}

/// A region follows its centre and is mirrored. It does not turn with the picture: what the adapter cuts out is then a turned
/// view, where otherwise the turn would cancel out. What of it lies outside afterwards stays.
fn moved_region(region: Region, map: &Map) -> Region {
    let centre = map
        .forward
        .point([region.x + region.width / 2.0, region.y + region.height / 2.0]);
    let [scale_x, scale_y] = map.forward.scales();
    let (width, height) = (region.width * scale_x, region.height * scale_y);
    Region {
        x: centre[0] - width / 2.0,
        y: centre[1] - height / 2.0,
        width,
        height,
        angle: if map.forward.mirrors() {
            -region.angle
        } else {
            region.angle
        },
    }
}

/// Changes colours of all pictures of the sample alike.
fn recolour(sample: &mut Sample, augmentations: &Augmentations, random: &mut Random) {
    let mut steps: Vec<colour::Step> = Vec::new();
    if random.chance(augmentations.brightness_contrast.value()) {
        steps.push(colour::Step::random_tone(random));
    }
    if random.chance(augmentations.hue_saturation.value()) {
        steps.push(colour::Step::random_hsv(random));
    }
    if let Some(jitter) = &augmentations.color_jitter {
        steps.extend(colour::Step::random_jitter(jitter, random));
    }
    for picture in &mut sample.pictures {
        let picture: &mut Picture = picture;
        for step in &steps {
            step.apply(picture.pixels.as_mut_slice());
        }
    }
}

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;
