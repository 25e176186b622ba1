//! Samples to one batch, by the rules of the adapter's input side.

use super::buffer::{Buffer, strides};
use crate::error::from_plugin;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::abi_stable::std_types::ROption;
use cvhost_plugin_api::data::{
    Array, Batch, Collate, CollateRule, DType, Fields, Meta, Prepared, Role, Sample, Shape,
};
use cvhost_plugin_api::torch::batch_item;
use tch::{Device, Kind, Tensor};

/// One named array of a batch, in the host's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostItem {
    pub name: String,
    /// Stacked or padded: dimension 0 counts samples. Ragged: the samples' rows one after the other.
    pub dims: Vec<u64>,
    /// Row-major elements; their type is the item's.
    pub data: Buffer,
    /// Of a ragged item: sample `i` has rows `offsets[i]..offsets[i + 1]`. Empty otherwise.
    pub offsets: Vec<u64>,
    /// The role of a prepared field; none for the main input and for masks of padding.
    pub role: Option<Role>,
}

/// A batch that is ready except for the device. It crosses threads; tensors are made where the model runs.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    pub items: Vec<HostItem>,
    /// One a sample, with its index in the data set.
    pub metas: Vec<Meta>,
    /// The records' own fields in original pixels, as the evaluator wants them; no augmentation touches them.
    pub targets: Vec<Fields>,
    /// What messages call the samples.
    pub names: Vec<String>,
}

impl HostBatch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// The indices of the samples' records in their data set.
    pub fn indices(&self) -> Vec<u64> {
        self.metas.iter().map(|m| m.index).collect()
    }

    /// The batch as tensors on `device`. Fails as libtorch does: out of memory.
    pub fn to_batch(&self, device: Device) -> Result<Batch> {
        let mut batch = Batch {
            items: Default::default(),
            metas: self.metas.clone().into(),
        };
        for item in &self.items {
            let tensor = item.to_tensor(device).map_err(|e| {
                Error::failed(format!(
                    "cannot put `{}` of a batch on {device:?}: {e}",
                    item.name
                ))
            })?;
            batch
                .items
                .push(batch_item(&item.name, tensor, item.offsets.clone()));
        }
        Ok(batch)
    }
}

impl HostItem {
    fn to_tensor(&self, device: Device) -> Result<Tensor, tch::TchError> {
        let kind = match self.data.dtype() {
            DType::U8 => Kind::Uint8,
            DType::I32 => Kind::Int,
            DType::I64 => Kind::Int64,
            DType::F32 => Kind::Float,
            _ => Kind::Double,
        };
        let dims: Vec<i64> = self.dims.iter().map(|&d| d as i64).collect();
        Tensor::f_from_data_size(self.data.bytes(), &dims, kind)?.f_to(device)
    }
}

/// Prepares `samples` and puts them together. `targets` are the records' own fields, one a sample.
///
/// The adapter's first rule is the main input's: all shapes are asked for first, and each sample writes into its slot of
/// the batch. The further rules say which prepared fields are stacked, padded or laid end to end. A field that all samples
/// lack is left out when `predicting`; otherwise a missing one is an error, as are shapes that a rule can't bring together.
/// Errors name the samples.
pub fn collate(
    input: &InputBox,
    samples: &[Sample],
    targets: Vec<Fields>,
    predicting: bool,
) -> Result<HostBatch> {
    let rules = input.collate();
    let Some((main, further)) = rules.split_first() else {
        return Err(Error::failed(
            "the adapter's input has no collate rule for its main input",
        ));
    };
    let shapes = main_shapes(input, main, samples)?;
    let block = common_dims(
        main,
        &shapes.iter().map(|s| s.dims.as_slice()).collect::<Vec<_>>(),
        samples,
    )?;
    let dtype = shapes.first().map_or(DType::F32, |s| s.dtype);
    let mut data = Buffer::filled(dtype, batch_count(samples, &block)?, main.fill)?;
    let mut prepared = Vec::with_capacity(samples.len());
    for (i, (sample, shape)) in samples.iter().zip(&shapes).enumerate() {
        let slot = data.slot(i as u64, &block, &shape.dims)?;
        let mut one = input
            .prepare(sample, slot)
            .into_result()
            .map_err(|e| from_plugin(e).within(sample.name.as_str()))?;
        one.meta.index = sample.index;
        prepared.push(one);
    }

    let mut items = vec![HostItem {
        name: main.name.to_string(),
        dims: with_count(samples, &block),
        data,
        offsets: Vec::new(),
        role: None,
    }];
    if !main.mask.is_empty() {
        items.push(mask_of(
            main,
            &shapes.iter().map(|s| s.dims.as_slice()).collect::<Vec<_>>(),
            &block,
        )?);
    }
    for rule in further {
        if let Some(arrays) = arrays_of(rule, &prepared, samples, predicting)? {
            let role = role_of(rule, &prepared);
            items.extend(combine(rule, &arrays, samples, role)?);
        }
    }
    Ok(HostBatch {
        items,
        metas: prepared.into_iter().map(|p| p.meta).collect(),
        targets,
        names: samples.iter().map(|s| s.name.to_string()).collect(),
    })
}

/// The main input's shape of each sample, all of one name, type and rank.
fn main_shapes(input: &InputBox, rule: &CollateRule, samples: &[Sample]) -> Result<Vec<Shape>> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(samples.len());
    for sample in samples {
        let Some(picture) = sample.pictures.first() else {
            return Err(Error::input("the record has no picture").within(sample.name.as_str()));
        };
        // A region is what the adapter cuts out, so its size is the one that counts.
        let (width, height) = match &sample.region {
            ROption::RSome(region) => (whole_pixels(region.width), whole_pixels(region.height)),
            ROption::RNone => (picture.width, picture.height),
        };
        let shape = input
            .shape(width, height, sample.train)
            .into_result()
            .map_err(|e| from_plugin(e).within(sample.name.as_str()))?;
        if shape.name != rule.name {
            return Err(Error::failed(format!(
                "the adapter's main input is `{}`, and its first collate rule is for `{}`",
                shape.name, rule.name
            ))
            .with_expected("one name"));
        }
        if let Some(first) = shapes.first().filter(|f| f.dtype != shape.dtype) {
            return Err(types_differ(&shape.name, first.dtype, shape.dtype, &sample.name));
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// A side of a region in whole pixels, at least 1.
fn whole_pixels(side: f64) -> u32 {
    side.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

/// The prepared arrays of a rule, one a sample; `None` where a prediction has none.
fn arrays_of<'a>(
    rule: &CollateRule,
    prepared: &'a [Prepared],
    samples: &[Sample],
    predicting: bool,
) -> Result<Option<Vec<&'a Array>>> {
    let found: Vec<Option<&Array>> = prepared.iter().map(|p| p.fields.get(&rule.name)).collect();
    if predicting && found.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut arrays: Vec<&Array> = Vec::with_capacity(found.len());
    for ((array, sample), prepared) in found.into_iter().zip(samples).zip(prepared) {
        let Some(array) = array else {
            let there: Vec<&str> = prepared.fields.items.iter().map(|f| f.name.as_str()).collect();
            return Err(Error::failed(format!(
                "the adapter has a collate rule for `{}` and didn't prepare it; it prepared {there:?}",
                rule.name
            ))
            .within(sample.name.as_str()));
        };
        if let Some(first) = arrays.first().filter(|f| f.dtype() != array.dtype()) {
            return Err(types_differ(
                &rule.name,
                first.dtype(),
                array.dtype(),
                &sample.name,
            ));
        }
        arrays.push(array);
    }
    Ok(Some(arrays))
}

fn role_of(rule: &CollateRule, prepared: &[Prepared]) -> Option<Role> {
    let fields = &prepared.first()?.fields.items;
    fields.iter().find(|f| f.name == rule.name).map(|f| f.role)
}

/// The item of a rule, and its mask where the rule names one.
fn combine(
    rule: &CollateRule,
    arrays: &[&Array],
    samples: &[Sample],
    role: Option<Role>,
) -> Result<Vec<HostItem>> {
    if rule.collate == Collate::RAGGED {
        return Ok(vec![end_to_end(rule, arrays, samples, role)?]);
    }
    let shapes: Vec<&[u64]> = arrays.iter().map(|a| a.dims()).collect();
    let block = common_dims(rule, &shapes, samples)?;
    let dtype = arrays.first().map_or(DType::F32, |a| a.dtype());
    let mut data = Buffer::filled(dtype, batch_count(samples, &block)?, rule.fill)?;
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
        dims: with_count(samples, &block),
        data,
        offsets: Vec::new(),
        role,
    }];
    if !rule.mask.is_empty() {
        items.push(mask_of(rule, &shapes, &block)?);
    }
    Ok(items)
}

/// Copies an array to the top left of a larger block, row by row; `size` is of one element, in bytes.
fn copy_into(block: &mut [u8], block_dims: &[u64], array: &[u8], dims: &[u64], size: usize) {
    let row = dims.last().map_or(size, |&d| d as usize * size);
    if row == 0 {
        return;
    }
    let strides = strides(block_dims);
    for (number, values) in array.chunks_exact(row).enumerate() {
        // The row's index in every dimension but the last, least significant first.
        let (mut left, mut offset) = (number as u64, 0);
        for (&dim, &stride) in dims.iter().zip(&strides).rev().skip(1) {
            offset += left % dim * stride;
            left /= dim;
        }
        let start = offset as usize * size;
        if let Some(target) = block.get_mut(start..start + row) {
            target.copy_from_slice(values);
        }
    }
}

/// Rows of all samples one after the other, with offsets.
fn end_to_end(
    rule: &CollateRule,
    arrays: &[&Array],
    samples: &[Sample],
    role: Option<Role>,
) -> Result<HostItem> {
    let inner = |a: &Array| a.dims().get(1..).map(<[u64]>::to_vec);
    let Some(row) = arrays.first().and_then(|a| inner(a)) else {
        return Err(Error::failed(format!(
            "`{}` is a single value and can't be laid end to end",
            rule.name
        )));
    };
    let mut offsets = vec![0u64];
    for array in arrays {
        if inner(array).as_ref() != Some(&row) {
            let shapes: Vec<&[u64]> = arrays.iter().map(|a| a.dims()).collect();
            return Err(shapes_differ(rule, &shapes, samples, "rows of one shape"));
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

/// What one sample of the batch takes: the shape that all have (STACK), or the largest in every dimension (PAD), height and
/// width rounded up to the rule's multiple.
fn common_dims(rule: &CollateRule, shapes: &[&[u64]], samples: &[Sample]) -> Result<Vec<u64>> {
    let first = shapes.first().copied().unwrap_or_default();
    match rule.collate {
        Collate::STACK if shapes.iter().all(|s| *s == first) => Ok(first.to_vec()),
        Collate::STACK => Err(shapes_differ(
            rule,
            shapes,
            samples,
            "one shape, since the rule stacks them",
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
        Collate::PAD => Err(shapes_differ(rule, shapes, samples, "equally many dimensions")),
        other => Err(
            Error::failed(format!("`{}` can't be put together by {other:?}", rule.name))
                .with_expected("STACK or PAD; further fields also RAGGED"),
        ),
    }
}

/// The mask `[N, H, W]` of a padded item: 1 on the sample, 0 on padding. H and W are the last two dimensions.
fn mask_of(rule: &CollateRule, shapes: &[&[u64]], block: &[u64]) -> Result<HostItem> {
    let plane = |dims: &[u64]| {
        dims.get(dims.len().saturating_sub(2)..)
            .unwrap_or_default()
            .to_vec()
    };
    let sides = plane(block);
    let size = sides.iter().product::<u64>() as usize;
    let mut data = Buffer::filled(DType::I64, (size * shapes.len()) as u64, 0.0)?;
    let width = sides.last().copied().unwrap_or(1).max(1) as usize;
    for (mask, dims) in data.elements_mut::<i64>().chunks_mut(size.max(1)).zip(shapes) {
        let inside = plane(dims);
        let columns = inside.last().copied().unwrap_or(1) as usize;
        let rows = if inside.len() > 1 {
            inside.first().copied().unwrap_or(1) as usize
        } else {
            1
        };
        for row in mask.chunks_mut(width).take(rows) {
            row.get_mut(..columns).unwrap_or_default().fill(1);
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

fn with_count(samples: &[Sample], block: &[u64]) -> Vec<u64> {
    let mut dims = vec![samples.len() as u64];
    dims.extend(block);
    dims
}

/// Elements of the whole batch.
fn batch_count(samples: &[Sample], block: &[u64]) -> Result<u64> {
    let dims = with_count(samples, block);
    dims.iter()
        .try_fold(1u64, |product, &d| product.checked_mul(d))
        .ok_or_else(|| Error::failed(format!("a batch of shape {dims:?} doesn't fit memory")))
}

fn types_differ(name: &str, first: DType, here: DType, sample: &str) -> Error {
    Error::failed(format!(
        "`{name}` is of {first:?} in the batch's first sample, and of {here:?} in this"
    ))
    .within(sample)
}

fn shapes_differ(rule: &CollateRule, shapes: &[&[u64]], samples: &[Sample], expected: &str) -> Error {
    let details = shapes
        .iter()
        .zip(samples)
        .map(|(shape, sample)| format!("{shape:?}: {}", sample.name))
        .collect();
    Error::failed(format!(
        "`{}` has shapes that don't go together in a batch",
        rule.name
    ))
    .with_details(details)
    .with_expected(expected)
}

#[cfg(test)]
mod tests;
