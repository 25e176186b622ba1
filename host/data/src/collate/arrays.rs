//! Combines the arrays of all samples into one item by a collate rule: stacked, padded with a mask,
//! or ragged (concatenated).

use crate::HostItem;
use crate::buffer::{Buffer, strides};
use crate::pool::Pool;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Array, Collate, CollateRule, DType, Role};
use std::sync::Arc;

/// The item of a rule, and its mask if the rule names one.
pub(super) fn combine(
    rule: &CollateRule,
    arrays: &[&Array],
    names: &[String],
    role: Option<Role>,
    pool: &Arc<Pool>,
) -> Result<Vec<HostItem>> {
    if rule.collate == Collate::RAGGED {
        return Ok(vec![concatenated(rule, arrays, names, role)?]);
    }
    let shapes: Vec<&[u64]> = arrays.iter().map(|a| a.dims()).collect();
    let block = common_dims(rule, &shapes, names)?;
    let dtype = arrays.first().map_or(DType::F32, |a| a.dtype());
    let mut data = Buffer::filled(dtype, batch_count(names, &block)?, rule.fill)?;
    let size = dtype.size().unwrap_or(1);
    for (block_bytes, array) in data
        .bytes_mut()
        .chunks_mut((block.iter().product::<u64>() as usize * size).max(1))
        .zip(arrays)
    {
        copy_into(block_bytes, &block, array.bytes(), array.dims(), size);
    }
    let mut items = vec![HostItem {
        name: rule.name.to_string(),
        dims: with_count(names, &block),
        data,
        offsets: Vec::new(),
        role,
    }];
    if !rule.mask.is_empty() {
        items.push(mask_of(rule, &shapes, &block, pool)?);
    }
    Ok(items)
}

/// Copies an array to the top left of a larger block, row by row; `size` is the element size in
/// bytes.
fn copy_into(block: &mut [u8], block_dims: &[u64], array: &[u8], dims: &[u64], size: usize) {
    let row = dims.last().map_or(size, |&d| d as usize * size);
    if row == 0 {
        return;
    }
    let strides = strides(block_dims);
    for (number, values) in array.chunks_exact(row).enumerate() {
        // The row's index in every dimension except the last one, least significant first.
        let (mut remaining, mut offset) = (number as u64, 0);
        for (&dim, &stride) in dims.iter().zip(&strides).rev().skip(1) {
            offset += remaining % dim * stride;
            remaining /= dim;
        }
        let start = offset as usize * size;
        if let Some(target) = block.get_mut(start..start + row) {
            target.copy_from_slice(values);
        }
    }
}

/// Concatenates the rows of all samples, with offsets.
fn concatenated(
    rule: &CollateRule,
    arrays: &[&Array],
    names: &[String],
    role: Option<Role>,
) -> Result<HostItem> {
    let inner = |a: &Array| a.dims().get(1..).map(<[u64]>::to_vec);
    let Some(row) = arrays.first().and_then(|a| inner(a)) else {
        return Err(Error::failed(format!(
            "`{}` is a single value and can't be concatenated",
            rule.name
        )));
    };
    let mut offsets = vec![0u64];
    for array in arrays {
        if inner(array).as_ref() != Some(&row) {
            let shapes: Vec<&[u64]> = arrays.iter().map(|a| a.dims()).collect();
            return Err(shapes_differ(rule, &shapes, names, "rows of the same shape"));
        }
        let rows = array.dims().first().copied().unwrap_or(0);
        offsets.push(offsets.last().copied().unwrap_or(0) + rows);
    }
    let total = offsets.last().copied().unwrap_or(0);
    let dtype = arrays.first().map_or(DType::F32, |a| a.dtype());
    let mut data = Buffer::filled(dtype, total * row.iter().product::<u64>(), 0.0)?;
    let mut rest = data.bytes_mut();
    for array in arrays {
        let (here, after) = rest.split_at_mut(array.bytes().len().min(rest.len()));
        here.copy_from_slice(array.bytes().get(..here.len()).unwrap_or_default());
        rest = after;
    }
    let mut dims = vec![total];
    dims.extend(row);
    Ok(HostItem {
        name: rule.name.to_string(),
        dims,
        data,
        offsets,
        role,
    })
}

/// The shape of one sample in the batch: for STACK, the shape that all samples share; for PAD, the
/// largest extent in every dimension, with height and width rounded up to the rule's multiple.
pub(super) fn common_dims(rule: &CollateRule, shapes: &[&[u64]], names: &[String]) -> Result<Vec<u64>> {
    let first = shapes.first().copied().unwrap_or_default();
    match rule.collate {
        Collate::STACK if shapes.iter().all(|s| *s == first) => Ok(first.to_vec()),
        Collate::STACK => Err(shapes_differ(
            rule,
            shapes,
            names,
            "the same shape, since the rule stacks them",
        )),
        Collate::PAD if shapes.iter().all(|s| s.len() == first.len()) => {
            let mut dims = first.to_vec();
            for (i, dim) in dims.iter_mut().enumerate() {
                *dim = shapes.iter().filter_map(|s| s.get(i)).max().copied().unwrap_or(0);
                if i + 2 >= first.len() {
                    *dim = dim
                        .div_ceil(rule.multiple.max(1))
                        .saturating_mul(rule.multiple.max(1));
                }
            }
            Ok(dims)
        }
        Collate::PAD => Err(shapes_differ(
            rule,
            shapes,
            names,
            "the same number of dimensions",
        )),
        other => Err(
            Error::failed(format!("`{}` can't be collated by {other:?}", rule.name))
                .with_expected("STACK or PAD; for fields other than the main input, also RAGGED"),
        ),
    }
}

/// The mask `[N, H, W]` of a padded item: 1 on the sample, 0 on the padding. H and W are the last
/// two dimensions.
pub(super) fn mask_of(
    rule: &CollateRule,
    shapes: &[&[u64]],
    block: &[u64],
    pool: &Arc<Pool>,
) -> Result<HostItem> {
    let plane = |dims: &[u64]| {
        dims.get(dims.len().saturating_sub(2)..)
            .unwrap_or_default()
            .to_vec()
    };
    let sides = plane(block);
    let size = sides.iter().product::<u64>() as usize;
    let mut data = Buffer::pooled(pool, DType::U8, (size * shapes.len()) as u64)?;
    let width = sides.last().copied().unwrap_or(1).max(1) as usize;
    for (mask, dims) in data.elements_mut::<u8>().chunks_mut(size.max(1)).zip(shapes) {
        let inside = plane(dims);
        let columns = inside.last().copied().unwrap_or(1) as usize;
        let rows = if inside.len() > 1 {
            inside.first().copied().unwrap_or(1) as usize
        } else {
            1
        };
        for (number, row) in mask.chunks_mut(width).enumerate() {
            let used = if number < rows { columns } else { 0 };
            let (image, padding) = row.split_at_mut(used.min(row.len()));
            image.fill(1);
            padding.fill(0);
        }
    }
    let mut dims = vec![shapes.len() as u64];
    dims.extend(sides);
    Ok(HostItem {
        name: rule.mask.to_string(),
        dims,
        data,
        offsets: Vec::new(),
        role: None,
    })
}

pub(super) fn with_count(names: &[String], block: &[u64]) -> Vec<u64> {
    let mut dims = vec![names.len() as u64];
    dims.extend(block);
    dims
}

/// The number of elements of the whole batch.
pub(super) fn batch_count(names: &[String], block: &[u64]) -> Result<u64> {
    let dims = with_count(names, block);
    dims.iter()
        .try_fold(1u64, |product, &d| product.checked_mul(d))
        .ok_or_else(|| Error::failed(format!("a batch of shape {dims:?} doesn't fit into memory")))
}

pub(super) fn types_differ(name: &str, first: DType, here: DType, sample: &str) -> Error {
    Error::failed(format!(
        "`{name}` is {first:?} in the first sample of the batch, but {here:?} in this one"
    ))
    .within(sample)
}

fn shapes_differ(rule: &CollateRule, shapes: &[&[u64]], names: &[String], expected: &str) -> Error {
    let details = shapes
        .iter()
        .zip(names)
        .map(|(shape, name)| format!("{shape:?}: {name}"))
        .collect();
    Error::failed(format!(
        "the samples' shapes of `{}` can't be combined in a batch",
        rule.name
    ))
    .with_details(details)
    .with_expected(expected)
}
