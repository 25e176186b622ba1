//! Image preprocessing as described by `preprocessor_config.json`: input size, resizing, rescaling
//! and normalising, and box labels for DETR-style detectors. Shared by the adapters; independent of
//! torch.
//!
//! Pixels equal those of the reference image processors with the PIL backend: an antialiased resize
//! of 8-bit pixels, then `(pixel * rescale_factor - mean) / std` in float32.

#[cfg(test)]
mod classifier_tests;
mod config;
mod defaults;
mod entry;
mod kernels;
mod label_map;
mod labels;
mod pixels;
mod pose;
mod pose_crop;
mod resize;
mod resized;
#[cfg(test)]
mod rules_tests;
mod segments;
mod size;
mod user_size;
mod values;
mod window;

pub use defaults::{Defaults, ShortestEdge};
pub use label_map::LabelRule;
pub use labels::detection_labels;
pub use pose::PoseProcessor;
pub use pose_crop::PoseCrop;
pub use resize::Resample;
pub use size::Size;

use cvhost_plugin_api::data::{ArrayMut, CollateRule, DType, Image, Meta, Prepared, Sample, Shape};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};
use values::Values;

/// The name of the main input in a batch.
pub const PIXEL_VALUES: &str = "pixel_values";

/// The shape of the main input for the given width and height: `pixel_values`, float32, `[3,
/// height, width]`.
pub fn input_shape((width, height): (u32, u32)) -> Shape {
    Shape {
        name: PIXEL_VALUES.into(),
        dtype: DType::F32,
        dims: vec![3, u64::from(height), u64::from(width)].into(),
        extra: Default::default(),
    }
}

fn image_of(sample: &Sample) -> Result<&Image> {
    sample
        .images
        .first()
        .ok_or_else(|| PluginError::data(format!("{} has no image", sample.name)))
}

/// The meta of a sample whose image covers `input_width` × `input_height` pixels of the input.
fn meta(sample: &Sample, image: &Image, (input_width, input_height): (u32, u32)) -> Meta {
    Meta {
        index: sample.index,
        width: image.width,
        height: image.height,
        input_width,
        input_height,
        ..Default::default()
    }
}

fn with_detection_labels(sample: &Sample, meta: Meta) -> Result<Prepared> {
    let fields = match sample.fields.get("boxes") {
        Some(_) => detection_labels(&sample.fields, meta.width, meta.height)?,
        None => Default::default(),
    };
    Ok(Prepared {
        fields,
        meta,
        extra: Default::default(),
    })
}

/// An image processor: converts images to model inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub(crate) do_resize: bool,
    pub(crate) size: Size,
    pub(crate) multiple: u32,
    pub(crate) size_divisor: u32,
    pub(crate) labels: LabelRule,
    /// Height and width of the center crop after resizing, unless [`Size`] implies one.
    pub(crate) center_crop: Option<[u32; 2]>,
    pub(crate) resample: Resample,
    pub(crate) do_rescale: bool,
    pub(crate) rescale_factor: f64,
    pub(crate) do_normalize: bool,
    pub(crate) mean: [f64; 3],
    pub(crate) std: [f64; 3],
    pub(crate) do_pad: bool,
    pub(crate) values: Values,
    pub(crate) processor_type: String,
    /// The file as read.
    pub(crate) original: Map<String, Value>,
}

impl Processor {
    /// Reads `preprocessor`, the content of `preprocessor_config.json` (null if there is none), in
    /// its current or a legacy layout. Then values of `config`, the whole resolved configuration,
    /// override it: `data.image_size` or `model.image_size` (`data` wins; `[height, width]` is
    /// exact, a single number is a square or the shortest edge, see [`Defaults::whole_image`]),
    /// `data.normalize_mean` and `data.normalize_std`.
    ///
    /// # Errors
    /// If a value has the wrong type or is out of range; the error names the key and what was
    /// expected.
    pub fn from_checkpoint(preprocessor: &Value, config: &Value, defaults: &Defaults) -> Result<Self> {
        config::read(preprocessor, config, defaults)
    }

    /// The width and height of a `width` × `height` image in the model's input, in pixels, without
    /// padding.
    ///
    /// # Errors
    /// If the image has no pixels, or a resulting side would exceed 16384.
    pub fn target_size(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        let resized = self.resized(width, height)?;
        Ok(self.crop().map_or(resized, |[height, width]| (width, height)))
    }

    /// The width and height of the resized image, before cropping.
    pub(crate) fn resized(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        if width == 0 || height == 0 {
            return Err(PluginError::data(format!(
                "an image of {width}x{height} pixels is empty"
            )));
        }
        if !self.do_resize {
            return Ok((width, height));
        }
        size::target(self.size, self.multiple, self.size_divisor, width, height)
    }

    /// Height and width of the center crop of the resized image; `None` if it isn't cropped.
    pub(crate) fn crop(&self) -> Option<[u32; 2]> {
        let of_size = self.size.crop().filter(|_| self.do_resize);
        of_size.or(self.center_crop)
    }

    /// The shape of the main input for a `width` × `height` image: float32 `pixel_values` `[3, H,
    /// W]`.
    pub fn shape(&self, width: u32, height: u32) -> Result<Shape> {
        Ok(input_shape(self.target_size(width, height)?))
    }

    /// Writes the resized and normalised image into `out`: float32 `[3, H, W]` with H and W from
    /// [`Self::target_size`].
    ///
    /// # Errors
    /// If the slot has another shape or type, or the image's pixels don't match its size.
    pub fn write(&self, image: &Image, out: ArrayMut<'_>) -> Result<()> {
        let resized = self.resized(image.width, image.height)?;
        pixels::write(self, image, resized, self.crop(), out)
    }

    /// Like [`Self::write`], but resizes to the given `size` (width and height in pixels) and
    /// doesn't crop.
    pub fn write_sized(&self, image: &Image, size: (u32, u32), out: ArrayMut<'_>) -> Result<()> {
        pixels::write(self, image, size, None, out)
    }

    /// Writes the sample's image into `out` and returns a meta with the image's size and its size
    /// in the input.
    pub fn prepare_image(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Meta> {
        let image = image_of(sample)?;
        let size = self.target_size(image.width, image.height)?;
        self.write(image, out)?;
        Ok(meta(sample, image, size))
    }

    /// Implements a detector's `prepare`: writes the sample's image into `out` and returns `boxes`
    /// and `class_labels` (see [`detection_labels`]) along with the image's meta. A sample without
    /// a `boxes` field (prediction) gives no fields.
    pub fn prepare_detection(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        with_detection_labels(sample, self.prepare_image(sample, out)?)
    }

    /// Like [`Self::prepare_detection`], for adapters that compute the input size themselves:
    /// resizes the image to `size`, width and height in pixels. [`input_shape`] gives the matching
    /// shape.
    pub fn prepare_detection_sized(
        &self,
        sample: &Sample,
        size: (u32, u32),
        out: ArrayMut<'_>,
    ) -> Result<Prepared> {
        let image = image_of(sample)?;
        self.write_sized(image, size, out)?;
        with_detection_labels(sample, meta(sample, image, size))
    }

    /// How images are collated into a batch: `pixel_values` is padded with zeros at the bottom and
    /// right, or stacked if the file sets `do_pad: false`. `mask` is the name of the padding mask,
    /// empty for models that need none.
    pub fn image_collate(&self, mask: &str) -> CollateRule {
        if self.do_pad {
            CollateRule::pad(PIXEL_VALUES, mask)
        } else {
            CollateRule::stack(PIXEL_VALUES)
        }
    }

    /// The collate rules for [`Self::prepare_detection`]: [`Self::image_collate`], and ragged
    /// `boxes` and `class_labels`.
    pub fn detection_collate(&self, mask: &str) -> Vec<CollateRule> {
        vec![
            self.image_collate(mask),
            CollateRule::ragged("boxes"),
            CollateRule::ragged("class_labels"),
        ]
    }

    /// The `preprocessor_config.json` to save: this processor in the current layout, plus all
    /// unknown keys of the file it was read from.
    pub fn config_json(&self) -> Value {
        config::write(self)
    }
}
