//! Mosaic of four images (Bochkovskiy et al. 2020, "YOLOv4").

use super::filter::Filter;
use super::join::{self, Key, Part, Place};
use super::map::Map;
use super::targets::transform;
use super::{Context, size_of, spare, warp};
use crate::random::Random;
use cvhost::error::Result;
use cvhost_plugin_api::data::Sample;

/// Range of the point where the four images meet, as fractions of each side.
const CENTRE_RANGE: [f64; 2] = [0.3, 0.7];

/// Arranges the sample and three partners around a random point of a canvas of the sample's size.
/// Each fills its quarter with its aspect ratio preserved, cropped at a random position. Images
/// with a side of one pixel remain unchanged.
pub fn apply(sample: &mut Sample, filter: &Filter, random: &mut Random, context: &Context<'_>) -> Result<()> {
    join::check(sample, Key::Mosaic)?;
    let size = size_of(sample)?;
    let [width, height] = size;
    if width < 2 || height < 2 {
        return Ok(());
    }
    let mut centre = |side: u32| {
        let at = (f64::from(side) * random.uniform(CENTRE_RANGE[0], CENTRE_RANGE[1])).round();
        (at as u32).clamp(1, side - 1)
    };
    let (x, y) = (centre(width), centre(height));
    let mut windows = [
        [0, 0, x, y],
        [x, 0, width, y],
        [0, y, x, height],
        [x, y, width, height],
    ];
    random.shuffle(&mut windows);

    let mut canvas = spare::image(width, height);
    warp::fill(&mut canvas);
    let mut parts = Vec::with_capacity(windows.len());
    for (number, window) in windows.into_iter().enumerate() {
        let partner = if number == 0 {
            None
        } else {
            Some(join::partner(random, context, Key::Mosaic)?)
        };
        let source: &Sample = partner.as_ref().unwrap_or(sample);
        let places = [random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)];
        let map = Map::cover(size_of(source)?, size, window, places);
        if let Some(image) = source.images.first() {
            warp::image_onto(&mut canvas, image, &map)?;
        }
        let fields = transform(&source.fields, &map, filter).map_err(|e| e.within(source.name.as_str()))?;
        let [left, top, right, bottom] = window.map(f64::from);
        parts.push(Part {
            fields,
            fraction: (right - left) * (bottom - top) / (f64::from(width) * f64::from(height)),
            place: Place::Window(window),
        });
    }
    sample.fields = join::fields(&parts, size)?;
    if let Some(image) = sample.images.first_mut() {
        spare::give(std::mem::replace(image, canvas));
    }
    Ok(())
}
