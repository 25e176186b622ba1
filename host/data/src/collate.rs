//! Collates samples into a batch, by the rules of the adapter's input processor.

mod arrays;

use crate::buffer::Buffer;
use crate::pool::Pool;
use arrays::{batch_count, combine, common_dims, mask_of, types_differ, with_count};
use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::{Array, CollateRule, DType, Fields, Meta, Prepared, Role, Sample, Shape};
use cvhost_plugin_api::sdk::{PrepareArgs, ShapeArgs};
use std::sync::Arc;

/// One named array of a batch, in the host's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostItem {
    pub name: String,
    /// For stacked and padded items, dimension 0 is the batch dimension. Ragged items are the
    /// concatenated rows of all samples.
    pub dims: Vec<u64>,
    /// Row-major elements; the buffer's type is the item's.
    pub data: Buffer,
    /// For a ragged item, sample `i` has the rows `offsets[i]..offsets[i + 1]`. Empty otherwise.
    pub offsets: Vec<u64>,
    /// The role of a prepared field; `None` for the main input and for padding masks.
    pub role: Option<Role>,
}

/// A complete batch in host memory. It can be sent between threads; tensors are created where the
/// model runs.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    pub items: Vec<HostItem>,
    /// One per sample, with its index in the data set.
    pub metas: Vec<Meta>,
    /// The records' own fields in original pixels, as required by the evaluator, without
    /// augmentation.
    pub targets: Vec<Fields>,
    /// The samples' names in messages.
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

/// Prepares `samples` and collates them. `targets` are the records' own fields, one per sample.
///
/// The adapter's first rule is for the main input: all shapes are requested first, and each sample
/// is written into its slot of the batch. The other rules say which prepared fields are stacked,
/// padded or concatenated.
///
/// # Errors
/// If a rule can't combine the samples' shapes, or a field is missing; the message names the
/// samples. When `predicting`, a field that all samples lack is omitted instead.
pub fn collate(
    input: &InputBox,
    samples: &[Sample],
    targets: Vec<Fields>,
    predicting: bool,
    pool: &Arc<Pool>,
) -> Result<HostBatch> {
    let shape = |sample: &Sample| {
        let Some(image) = sample.images.first() else {
            return Err(Error::input("the record has no image").within(sample.name.as_str()));
        };
        // The adapter crops the region, so its size determines the shape.
        let (width, height) = match sample.region.as_ref() {
            Some(region) => (whole_pixels(region.width), whole_pixels(region.height)),
            None => (image.width, image.height),
        };
        shape_of(input, (width, height), sample.train).map_err(|e| e.within(sample.name.as_str()))
    };
    let shapes = samples.iter().map(shape).collect::<Result<Vec<_>>>()?;
    let names = samples.iter().map(|s| s.name.to_string()).collect();
    let mut assembly = Assembly::new(input, shapes, names, pool)?;
    for sample in samples {
        assembly.add(sample)?;
    }
    assembly.finish(targets, predicting)
}

/// The shape of the main input for an image, or a region, with this width and height in pixels.
pub fn shape_of(input: &InputBox, (width, height): (u32, u32), train: bool) -> Result<Shape> {
    ShapeArgs::new(width, height, train)
        .lend(|args| input.shape(args))
        .into_result()
        .map_err(from_plugin)
}

/// A batch under construction: its memory is allocated, and samples are written into it one by one.
pub struct Assembly<'a> {
    input: &'a InputBox,
    pool: &'a Arc<Pool>,
    main: CollateRule,
    further: Vec<CollateRule>,
    shapes: Vec<Shape>,
    names: Vec<String>,
    /// The shape of one sample of the main input, including padding.
    block: Vec<u64>,
    data: Buffer,
    prepared: Vec<Prepared>,
}

impl<'a> Assembly<'a> {
    /// Allocates a batch for samples whose main inputs have these shapes, in order.
    ///
    /// # Errors
    /// If the adapter's rule can't combine the shapes.
    pub fn new(
        input: &'a InputBox,
        shapes: Vec<Shape>,
        names: Vec<String>,
        pool: &'a Arc<Pool>,
    ) -> Result<Self> {
        let mut further = input.collate().into_result().map_err(from_plugin)?.into_vec();
        if further.is_empty() {
            return Err(Error::failed(
                "the adapter's input has no collate rule for its main input",
            ));
        }
        let main = further.remove(0);
        check_shapes(&shapes, &main, &names)?;
        let block = common_dims(&main, &dims_of(&shapes), &names)?;
        let dtype = shapes.first().map_or(DType::F32, |s| s.dtype);
        let data = Buffer::pooled(pool, dtype, batch_count(&names, &block)?)?;
        let prepared = Vec::with_capacity(shapes.len());
        Ok(Assembly {
            input,
            pool,
            main,
            further,
            shapes,
            names,
            block,
            data,
            prepared,
        })
    }

    /// Prepares the next sample in its slot.
    pub fn add(&mut self, sample: &Sample) -> Result<()> {
        let number = self.prepared.len();
        let Some(shape) = self.shapes.get(number) else {
            return Err(Error::failed(format!(
                "a batch of {number} samples got another sample"
            )));
        };
        let slot = self.data.slot(number as u64, &self.block, &shape.dims)?;
        let mut one = PrepareArgs::new(sample)
            .lend(|args| self.input.prepare(args, slot))
            .into_result()
            .map_err(|e| from_plugin(e).within(sample.name.as_str()))?;
        self.data
            .fill_around(number as u64, &self.block, &shape.dims, self.main.fill);
        one.meta.index = sample.index;
        self.prepared.push(one);
        Ok(())
    }

    /// Returns the batch after all samples have been added.
    pub fn finish(self, targets: Vec<Fields>, predicting: bool) -> Result<HostBatch> {
        let mut items = vec![HostItem {
            name: self.main.name.to_string(),
            dims: with_count(&self.names, &self.block),
            data: self.data,
            offsets: Vec::new(),
            role: None,
        }];
        if !self.main.mask.is_empty() {
            let dims = dims_of(&self.shapes);
            items.push(mask_of(&self.main, &dims, &self.block, self.pool)?);
        }
        for rule in &self.further {
            if let Some(arrays) = arrays_of(rule, &self.prepared, &self.names, predicting)? {
                let role = role_of(rule, &self.prepared);
                items.extend(combine(rule, &arrays, &self.names, role, self.pool)?);
            }
        }
        Ok(HostBatch {
            items,
            metas: self.prepared.into_iter().map(|p| p.meta).collect(),
            targets,
            names: self.names,
        })
    }
}

fn dims_of(shapes: &[Shape]) -> Vec<&[u64]> {
    shapes.iter().map(|s| s.dims.as_slice()).collect()
}

/// Checks that all main inputs have the rule's name and the same type.
fn check_shapes(shapes: &[Shape], rule: &CollateRule, names: &[String]) -> Result<()> {
    let first = shapes.first();
    for (shape, name) in shapes.iter().zip(names) {
        if shape.name != rule.name {
            return Err(Error::failed(format!(
                "the adapter's main input is `{}`, but its first collate rule is for `{}`",
                shape.name, rule.name
            ))
            .with_expected("the same name"));
        }
        if let Some(first) = first.filter(|f| f.dtype != shape.dtype) {
            return Err(types_differ(&shape.name, first.dtype, shape.dtype, name));
        }
    }
    Ok(())
}

/// The side length of a region in whole pixels, at least 1.
fn whole_pixels(side: f64) -> u32 {
    side.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

/// The prepared arrays for a rule, one per sample; `None` if all are missing when predicting.
fn arrays_of<'a>(
    rule: &CollateRule,
    prepared: &'a [Prepared],
    names: &[String],
    predicting: bool,
) -> Result<Option<Vec<&'a Array>>> {
    let found: Vec<Option<&Array>> = prepared.iter().map(|p| p.fields.get(&rule.name)).collect();
    if predicting && found.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut arrays: Vec<&Array> = Vec::with_capacity(found.len());
    for ((array, name), prepared) in found.into_iter().zip(names).zip(prepared) {
        let Some(array) = array else {
            let there: Vec<&str> = prepared.fields.items.iter().map(|f| f.name.as_str()).collect();
            return Err(Error::failed(format!(
                "the adapter has a collate rule for `{}`, but didn't prepare it; it prepared {there:?}",
                rule.name
            ))
            .within(name.as_str()));
        };
        if let Some(first) = arrays.first().filter(|f| f.dtype() != array.dtype()) {
            return Err(types_differ(&rule.name, first.dtype(), array.dtype(), name));
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
