//! Blends two images and combines their objects (Zhang et al. 2018, "mixup"; for detection as in Ge
//! et al. 2021, "YOLOX").

use super::filter::Filter;
use super::join::{self, Key, Part, Place};
use super::map::Map;
use super::targets::transform;
use super::{Context, kernels, size_of, spare, warp};
use crate::random::Random;
use cvhost::error::Result;
use cvhost_plugin_api::data::Sample;

/// The weight of the partner is drawn from Beta(8, 8): mostly between 0.3 and 0.7.
const ALPHA: f64 = 8.0;

/// Blends a partner into the sample. The partner fills the canvas with its aspect ratio preserved,
/// and the excess is cropped.
pub fn apply(sample: &mut Sample, filter: &Filter, random: &mut Random, context: &Context<'_>) -> Result<()> {
    join::check(sample, Key::Mixup)?;
    let size = size_of(sample)?;
    // In 256ths, so that image and distributions have the same weight.
    let weight = (256.0 * random.beta(ALPHA)).round();
    let partner = join::partner(random, context, Key::Mixup)?;
    let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
    let window = [0, 0, size[0], size[1]];
    let map = Map::cover(size_of(&partner)?, size, window, places);
    if let Some((own, other)) = sample.images.first_mut().zip(partner.images.first()) {
        let moved = (!map.is_identity())
            .then(|| warp::image(other, &map))
            .transpose()?;
        let other = moved.as_ref().unwrap_or(other);
        kernels::blend(own.pixels.as_mut_slice(), other.pixels.as_slice(), weight as u16);
        moved.into_iter().for_each(spare::give);
    }
    let moved = transform(&partner.fields, &map, filter).map_err(|e| e.within(partner.name.as_str()))?;
    let part = |fields, fraction| Part {
        fields,
        fraction,
        place: Place::Window(window),
    };
    let fraction = weight / 256.0;
    let parts = [
        part(std::mem::take(&mut sample.fields), 1.0 - fraction),
        part(moved, fraction),
    ];
    sample.fields = join::fields(&parts, size).map_err(|e| e.within(format!("with {}", partner.name)))?;
    Ok(())
}
