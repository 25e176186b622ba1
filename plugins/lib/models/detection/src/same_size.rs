//! Images of a batch grouped by size, without padding; see [`Padding`](crate::Padding).

use crate::forms::PIXEL_VALUES;
use cvhost_plugin_api::data::Meta;
use cvhost_plugin_api::error::{PluginError, Result};
use tch::Tensor;

/// Images of equal size.
pub struct Group {
    /// Their indices in the batch.
    samples: Vec<i64>,
    /// `[samples, 3, height, width]`, without padding.
    pub pixel_values: Tensor,
}

/// Whether any image is smaller than the batch `pixel_values` `[N, 3, H, W]`. Decided by the metas:
/// reading the mask would wait for the device.
///
/// # Errors
/// `pixel_values` of another shape.
pub fn is_padded(pixel_values: &Tensor, metas: &[Meta]) -> Result<bool> {
    let size = batch_size(pixel_values, metas)?;
    Ok(metas.iter().any(|meta| input_size(meta) != size))
}

/// Splits `pixel_values` `[N, 3, H, W]` by the images' input sizes, in order of first appearance.
///
/// # Errors
/// `pixel_values` of another shape; an image that is larger than the batch, or that has a side of
/// less than `smallest` pixels.
pub fn groups(pixel_values: &Tensor, metas: &[Meta], smallest: i64) -> Result<Vec<Group>> {
    let (height, width) = batch_size(pixel_values, metas)?;
    let mut sizes: Vec<((i64, i64), Vec<i64>)> = Vec::new();
    for (sample, meta) in metas.iter().enumerate() {
        let size = input_size(meta);
        if size.0 > height || size.1 > width {
            return Err(PluginError::failed(format!(
                "sample {sample} has an input of {}x{} in a batch of {width}x{height}",
                size.1, size.0
            )));
        }
        if size.0 < smallest || size.1 < smallest {
            return Err(PluginError::data(format!(
                "an input of {}x{} pixels is too small: the model needs at least {smallest}x{smallest}",
                size.1, size.0
            ))
            .with_help("set a larger `data.image_size`"));
        }
        match sizes.iter_mut().find(|(known, _)| *known == size) {
            Some((_, samples)) => samples.push(sample as i64),
            None => sizes.push((size, vec![sample as i64])),
        }
    }
    let single = sizes.len() == 1;
    Ok(sizes
        .into_iter()
        .map(|((rows, columns), samples)| {
            let chosen = match single {
                true => pixel_values.shallow_clone(),
                false => pixel_values.index_select(0, &index(&samples, pixel_values)),
            };
            Group {
                samples,
                pixel_values: chosen.narrow(2, 0, rows).narrow(3, 0, columns),
            }
        })
        .collect())
}

/// Each group's tensors per layer, `[samples, …]`, to one tensor per layer, `[N, …]`, in batch
/// order.
pub fn by_layer(groups: &[Group], states: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    let layers = states.first().map_or(0, Vec::len);
    let mut states: Vec<_> = states.into_iter().map(Vec::into_iter).collect();
    (0..layers)
        .map(|_| {
            let parts: Vec<Tensor> = states.iter_mut().filter_map(Iterator::next).collect();
            in_batch_order(groups, &parts)
        })
        .collect()
}

fn in_batch_order(groups: &[Group], parts: &[Tensor]) -> Tensor {
    let samples: Vec<i64> = groups.iter().flat_map(|g| g.samples.iter().copied()).collect();
    let joined = Tensor::cat(parts, 0);
    if samples.is_sorted() {
        return joined;
    }
    let mut places: Vec<i64> = (0..samples.len() as i64).collect();
    places.sort_by_key(|&place| samples.get(place as usize));
    joined.index_select(0, &index(&places, &joined))
}

/// Height and width of the batch `pixel_values`.
fn batch_size(pixel_values: &Tensor, metas: &[Meta]) -> Result<(i64, i64)> {
    match pixel_values.size().as_slice() {
        &[n, 3, height, width] if n == metas.len() as i64 && n > 0 => Ok((height, width)),
        other => Err(PluginError::failed(format!(
            "`{PIXEL_VALUES}`: expected [{}, 3, H, W], got {other:?}",
            metas.len()
        ))),
    }
}

/// Height and width of an image in the input.
fn input_size(meta: &Meta) -> (i64, i64) {
    (i64::from(meta.input_height), i64::from(meta.input_width))
}

fn index(values: &[i64], like: &Tensor) -> Tensor {
    Tensor::from_slice(values).to_device(like.device())
}
