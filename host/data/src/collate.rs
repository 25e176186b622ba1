//! Samples to one batch, by the rules of the adapter's input side.

mod arrays;

use crate::buffer::Buffer;
use arrays::{batch_count, combine, common_dims, mask_of, types_differ, with_count};
use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::abi_stable::std_types::ROption;
use cvhost_plugin_api::data::{Array, CollateRule, DType, Fields, Meta, Prepared, Role, Sample, Shape};

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

#[cfg(test)]
mod tests;
