//! Random augmentation of training samples. Images are changed as configured, targets by their
//! roles alone: a box is mirrored because it is a box, regardless of its task.
//!
//! Augmentations are applied in this order: combination of four images (`mosaic`), pasted objects
//! (`copy_paste`), one geometric transformation that combines all keys for geometry, blending with
//! another image (`mixup`), colours, blur.
//!
//! Coordinates are continuous: (0, 0) is the top left corner of the first pixel, and (width,
//! height) is the bottom right corner of the last one.

mod blur;
mod colour;
mod copy_paste;
mod filter;
mod geometry;
mod join;
mod kernels;
mod map;
mod masks;
mod matrix;
mod mixup;
mod mosaic;
mod pixels;
mod polygons;
mod rows;
mod shrunk;
mod spare;
mod targets;
mod warp;

use crate::random::Random;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::Sample;
use filter::Filter;

pub use cvhost::config::{Augmentations, ColorJitter};
pub use shrunk::shrunk;
pub use targets::moves;

/// Range of the blur's sigma in pixels.
const BLUR: [f64; 2] = [0.1, 2.0];

/// The environment for augmenting one sample.
pub struct Context<'a> {
    /// The shortest edge of the model's input for an image of the given width and height, in
    /// pixels.
    pub input_edge: &'a dyn Fn(u32, u32) -> Result<u64>,
    /// Returns another record of the same split, decoded but not augmented; which one depends only
    /// on `Random`.
    pub partner: &'a dyn Fn(&mut Random) -> Result<Sample>,
}

/// Augments `sample` at random. The result depends only on `random`.
///
/// A random resize in pixels refers to the model's input, since the adapter resizes every image
/// afterwards. Resizing therefore keeps the canvas size: enlarged contents are cropped at a random
/// position, and shrunk contents are placed on grey. `multi_scale` and `off_last_epochs` are
/// handled by the loader.
///
/// Instances are removed, with all their columns, if too little of them remains in the image. An
/// image without instances is a valid sample.
///
/// # Errors
/// If the images of one sample differ in size and a geometric transformation is configured, a field
/// doesn't have its role's shape, or samples must be combined whose fields don't support it.
pub fn apply(
    sample: &mut Sample,
    augmentations: &Augmentations,
    random: &mut Random,
    context: &Context<'_>,
) -> Result<()> {
    if sample.images.is_empty() {
        return Ok(());
    }
    let filter = Filter::of(augmentations);
    if random.probability(augmentations.mosaic.value()) {
        mosaic::apply(sample, &filter, random, context)?;
    }
    if random.probability(augmentations.copy_paste.value()) {
        copy_paste::apply(sample, &filter, random, context)?;
    }
    geometry::apply(sample, augmentations, &filter, random, context)?;
    if random.probability(augmentations.mixup.value()) {
        mixup::apply(sample, &filter, random, context)?;
    }
    let steps = colour::Step::random(augmentations, random);
    let sigma = random
        .probability(augmentations.blur.value())
        .then(|| random.uniform(BLUR[0], BLUR[1]));
    for image in &mut sample.images {
        colour::apply(&steps, image.pixels.as_mut_slice().as_chunks_mut().0);
        if let Some(sigma) = sigma {
            blur::blur(image, sigma);
        }
    }
    Ok(())
}

/// The common size of the sample's images.
fn size_of(sample: &Sample) -> Result<[u32; 2]> {
    let mut sizes = sample.images.iter().map(|p| [p.width, p.height]);
    let first = sizes.next().unwrap_or_default();
    match sizes.find(|&size| size != first) {
        None => Ok(first),
        Some(other) => Err(Error::input(format!(
            "the record's images differ in size: {}x{} and {}x{}",
            first[0], first[1], other[0], other[1]
        ))
        .with_help(
            "turn off the augmentations that move pixels: flips, rotation, perspective, \
             random_crop, random_resize",
        )),
    }
}

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod join_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
