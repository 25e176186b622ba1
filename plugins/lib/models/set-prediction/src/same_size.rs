//! Which images of a batch run together.
//!
//! An image that is padded to its batch's size gives other boxes than alone, by several pixels: through attention where a
//! family has no mask, and through the backbone's border and a mask in whole features where it has one. So padding is cut off
//! again, and images of equal size run together.

use cvhost_plugin_api::data::Meta;
use cvhost_plugin_api::error::{PluginError, Result};
use tch::Tensor;

/// Images of one size.
pub struct Group {
    /// Their places in the batch.
    pub samples: Vec<i64>,
    /// `[samples, 3, height, width]`, without padding.
    pub pixel_values: Tensor,
}

/// Splits `pixel_values` `[N, 3, H, W]` by the images' sizes in the input, in order of first appearance.
///
/// # Errors
/// Where a meta's size doesn't fit the batch, or is less than `least`.
pub fn groups(pixel_values: &Tensor, metas: &[Meta], least: i64) -> Result<Vec<Group>> {
    let (height, width) = match pixel_values.size().as_slice() {
        &[n, 3, height, width] if n == metas.len() as i64 && n > 0 => (height, width),
        other => {
            let message = format!(
                "`pixel_values`: expected [{}, 3, H, W], got {other:?}",
                metas.len()
            );
            return Err(PluginError::failed(message));
        }
    };
    let mut sizes: Vec<((i64, i64), Vec<i64>)> = Vec::new();
    for (sample, meta) in metas.iter().enumerate() {
        let size = (i64::from(meta.input_height), i64::from(meta.input_width));
        if size.0 > height || size.1 > width {
            return Err(PluginError::failed(format!(
                "sample {sample} has an input of {}x{} in a batch of {width}x{height}",
                size.1, size.0
            )));
        }
        if size.0 < least || size.1 < least {
            return Err(PluginError::data(format!(
                "an input of {}x{} pixels is less than the {least}x{least} that the model needs",
                size.1, size.0
            ))
            .with_help("give a larger `data.image_size`"));
        }
        match sizes.iter_mut().find(|(known, _)| *known == size) {
            Some((_, samples)) => samples.push(sample as i64),
            None => sizes.push((size, vec![sample as i64])),
        }
    }
    let whole = sizes.len() == 1;
    Ok(sizes
        .into_iter()
        .map(|((rows, columns), samples)| {
            let chosen = match whole {
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

/// Puts what each group gave, `[samples, …]`, back into the batch's order, `[N, …]`.
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

fn index(values: &[i64], like: &Tensor) -> Tensor {
    Tensor::from_slice(values).to_device(like.device())
}

/// From states of each group's layers to states of each layer, all images in the batch's order.
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
