//! Random changes of training samples. Images change by what the configuration asks for, targets by their roles alone: a
//! box is mirrored because it is a box, whatever task it belongs to.
//!
//! The order: further images around (`mosaic`), objects pasted in (`copy_paste`), one change of geometry that all keys for it
//! make together, another image blended in (`mixup`), colours, blur.
//!
//! Coordinates are continuous: (0, 0) is the top left corner of the first pixel, (width, height) the bottom right corner of
//! the last.

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

/// From the weakest blur to the strongest: sigma in pixels.
const BLUR: [f64; 2] = [0.1, 2.0];

/// What a change of one sample needs from outside it.
pub struct Context<'a> {
    /// The shortest edge of the model's input for an image of the given width and height, in pixels.
    pub input_edge: &'a dyn Fn(u32, u32) -> Result<u64>,
    /// Another record of the same split, decoded and not changed; which one, `Random` alone decides.
    pub partner: &'a dyn Fn(&mut Random) -> Result<Sample>,
}

/// Changes `sample` at random. Which changes, and how far, `random` alone decides.
///
/// A random resize in pixels is meant on the model's input, since the adapter brings every image to its own size afterwards.
/// Resizing therefore keeps the canvas: contents get larger and are cut out at a random place, or smaller and are put on grey.
/// `multi_scale` and `off_last_epochs` are the loader's.
///
/// Instances leave, with all their columns, when too little of them stays in the image; an image without any is a valid
/// sample. Fails where images of one sample differ in size and a change of geometry is asked for, where a field doesn't have its
/// role's shape, and where samples are to be put together that have fields for which that can't be done.
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

/// The size that all images of the sample have.
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
            "turn off the augmentations that move pixels: flips, rotation, perspective, random_crop, random_resize",
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
