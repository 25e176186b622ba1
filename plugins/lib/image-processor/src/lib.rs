//! What `preprocessor_config.json` describes: the size of a model's input, resizing, rescaling and normalising, and boxes
//! in the form that DETR-style detectors are trained with. Shared by the adapters; free of torch.
//!
//! The pixels are those of the reference image processors with their PIL backend: a resize with antialiasing on 8-bit
//! pixels, then `(pixel * rescale_factor - mean) / std` in float32.

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

/// The shape of a main input of this width and height, in pixels: `pixel_values`, float32, `[3, height, width]`.
pub fn input_shape((width, height): (u32, u32)) -> Shape {
    Shape {
        name: PIXEL_VALUES.into(),
        dtype: DType::F32,
        dims: vec![3, u64::from(height), u64::from(width)].into(),
    }
}

fn image_of(sample: &Sample) -> Result<&Image> {
    sample
        .images
        .first()
        .ok_or_else(|| PluginError::data(format!("{} has no image", sample.name)))
}

/// The meta of a sample whose image has `input_width` × `input_height` pixels in the input.
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
    Ok(Prepared { fields, meta })
}

/// An image processor: what is done to an image before a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub(crate) do_resize: bool,
    pub(crate) size: Size,
    pub(crate) multiple: u32,
    pub(crate) size_divisor: u32,
    pub(crate) labels: LabelRule,
    /// Height and width that are cut out of the middle after resizing, if [`Size`] doesn't say it.
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
    /// The file as it was read.
    pub(crate) original: Map<String, Value>,
}

impl Processor {
    /// Reads `preprocessor`, the content of `preprocessor_config.json` (or null where there is none), in its new and old
    /// layouts. Then `config`, the whole resolved configuration, overrides: `data.image_size` or `model.image_size` (data's
    /// wins; `[height, width]` is exact, one number a square or the shortest edge, see [`Defaults::whole_image`]),
    /// `data.normalize_mean` and `data.normalize_std`.
    ///
    /// # Errors
    /// A value of the wrong type or out of range, with the key and what was expected.
    pub fn from_checkpoint(preprocessor: &Value, config: &Value, defaults: &Defaults) -> Result<Self> {
        config::read(preprocessor, config, defaults)
    }

    /// The width and height that an image of `width` × `height` pixels gets in the model's input, without padding.
    ///
    /// # Errors
    /// An image without pixels, or a result with a side of more than 16384.
    pub fn target_size(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        let resized = self.resized(width, height)?;
        Ok(self.crop().map_or(resized, |[height, width]| (width, height)))
    }

    /// The width and height that an image is resized to, before a crop.
    pub(crate) fn resized(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        if width == 0 || height == 0 {
            return Err(PluginError::data(format!(
                "an image of {width}x{height} pixels has nothing to show"
            )));
        }
        if !self.do_resize {
            return Ok((width, height));
        }
        size::target(self.size, self.multiple, self.size_divisor, width, height)
    }

    /// Height and width of the middle part that is left of a resized image; `None` where all of it is.
    pub(crate) fn crop(&self) -> Option<[u32; 2]> {
        let of_size = self.size.crop().filter(|_| self.do_resize);
        of_size.or(self.center_crop)
    }

    /// The shape of the main input for an image: `pixel_values`, float32, `[3, height, width]`.
    pub fn shape(&self, width: u32, height: u32) -> Result<Shape> {
        Ok(input_shape(self.target_size(width, height)?))
    }

    /// Writes an image, resized and normalised, into `out`: float32 `[3, H, W]` with H and W from [`Self::target_size`].
    ///
    /// # Errors
    /// A slot of another shape or type, or an image whose pixels don't fit its size.
    pub fn write(&self, image: &Image, out: ArrayMut<'_>) -> Result<()> {
        let resized = self.resized(image.width, image.height)?;
        pixels::write(self, image, resized, self.crop(), out)
    }

    /// As [`Self::write`], but resizes to `size`, width and height in pixels, by the caller's own rule; nothing is cut off.
    pub fn write_sized(&self, image: &Image, size: (u32, u32), out: ArrayMut<'_>) -> Result<()> {
        pixels::write(self, image, size, None, out)
    }

    /// Writes the sample's image into `out`, and gives a meta that holds the image's size and its size in the input.
    pub fn prepare_image(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Meta> {
        let image = image_of(sample)?;
        let size = self.target_size(image.width, image.height)?;
        self.write(image, out)?;
        Ok(meta(sample, image, size))
    }

    /// All of a detector's `prepare`: writes the sample's image into `out`, and gives `boxes` and `class_labels` (see
    /// [`detection_labels`]) with the image's meta. A sample without a field `boxes` (prediction) gives no fields.
    pub fn prepare_detection(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        with_detection_labels(sample, self.prepare_image(sample, out)?)
    }

    /// As [`Self::prepare_detection`] for an adapter with a rule of its own for the size of the input: resizes the image to
    /// `size`, width and height in pixels. [`input_shape`] gives the shape that goes with it.
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

    /// How images become a batch: `pixel_values` padded with zeros at the bottom and right, or stacked where the file says
    /// `do_pad: false`. `mask` is the name of the mask that padding gives, empty for a model that wants none.
    pub fn image_collate(&self, mask: &str) -> CollateRule {
        if self.do_pad {
            CollateRule::pad(PIXEL_VALUES, mask)
        } else {
            CollateRule::stack(PIXEL_VALUES)
        }
    }

    /// The collate rules that go with [`Self::prepare_detection`]: [`Self::image_collate`], ragged `boxes` and
    /// `class_labels`.
    pub fn detection_collate(&self, mask: &str) -> Vec<CollateRule> {
        vec![
            self.image_collate(mask),
            CollateRule::ragged("boxes"),
            CollateRule::ragged("class_labels"),
        ]
    }

    /// The `preprocessor_config.json` to save: this processor in the new layout, with every key of the file that was read
    /// and isn't known here.
    pub fn config_json(&self) -> Value {
        config::write(self)
    }
}
