//! What `preprocessor_config.json` describes: the size of a model's input, resizing, rescaling and normalising, and boxes
//! in the form that DETR-style detectors are trained with. Shared by the adapters; free of torch.
//!
//! The pixels are those of the reference image processors with their PIL backend: a resize with antialiasing on 8-bit
//! pixels, then `(pixel * rescale_factor - mean) / std` in float32.

mod config;
mod kernels;
mod labels;
mod pixels;
mod resize;
mod size;

pub use labels::detection_labels;
pub use resize::Resample;
pub use size::Size;

use cvhost_plugin_api::data::{ArrayMut, CollateRule, DType, Meta, Picture, Prepared, Sample, Shape};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value};

/// The name of the main input in a batch.
pub const PIXEL_VALUES: &str = "pixel_values";

/// What a missing key of `preprocessor_config.json` means for a model family.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// What is saved as `image_processor_type` where the file has none, such as `DetrImageProcessor`.
    pub processor_type: &'static str,
    pub size: Size,
    /// A `size` that is one number is the shortest edge, with `max_size` (1333 where that is missing) as longest edge; with
    /// `false` it is both height and width.
    pub number_is_shortest_edge: bool,
    /// Sides found from a shortest edge are floored to a multiple of this: 16 for YOLOS, 1 for none.
    pub multiple: u32,
    pub resample: Resample,
    pub do_normalize: bool,
    pub do_pad: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Defaults {
    /// Shortest edge 800 and longest 1333, bilinear, ImageNet's mean and deviation, padded: DETR and its relatives.
    pub const fn shortest_edge(processor_type: &'static str) -> Self {
        Defaults {
            processor_type,
            size: Size::Edges {
                shortest: 800,
                longest: 1333,
            },
            number_is_shortest_edge: true,
            multiple: 1,
            resample: Resample::Bilinear,
            do_normalize: true,
            do_pad: true,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

/// An image processor: what is done to a picture before a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    pub(crate) do_resize: bool,
    pub(crate) size: Size,
    pub(crate) multiple: u32,
    pub(crate) resample: Resample,
    pub(crate) do_rescale: bool,
    pub(crate) rescale_factor: f64,
    pub(crate) do_normalize: bool,
    pub(crate) mean: [f64; 3],
    pub(crate) std: [f64; 3],
    pub(crate) do_pad: bool,
    pub(crate) table: pixels::Table,
    pub(crate) processor_type: String,
    /// The file as it was read.
    pub(crate) original: Map<String, Value>,
}

impl Processor {
    /// Reads `preprocessor`, the content of `preprocessor_config.json` (or null where there is none), in its new and old
    /// layouts. Then `config`, the whole resolved configuration, overrides: `data.image_size` or `model.image_size` (data's
    /// wins; `[height, width]` is exact, one number the shortest edge), `data.normalize_mean` and `data.normalize_std`.
    ///
    /// # Errors
    /// A value of the wrong type or out of range, with the key and what was expected.
    pub fn from_checkpoint(preprocessor: &Value, config: &Value, defaults: &Defaults) -> Result<Self> {
        config::read(preprocessor, config, defaults)
    }

    /// The width and height that a picture of `width` × `height` pixels gets in the model's input, without padding.
    ///
    /// # Errors
    /// A picture without pixels, or a result with a side of more than 16384.
    pub fn target_size(&self, width: u32, height: u32) -> Result<(u32, u32)> {
        if width == 0 || height == 0 {
            return Err(PluginError::data(format!(
                "a picture of {width}x{height} pixels has nothing to show"
            )));
        }
        if !self.do_resize {
            return Ok((width, height));
        }
        size::target(self.size, self.multiple, width, height)
    }

    /// The shape of the main input for a picture: `pixel_values`, float32, `[3, height, width]`.
    pub fn shape(&self, width: u32, height: u32) -> Result<Shape> {
        let (width, height) = self.target_size(width, height)?;
        let dims = vec![3, u64::from(height), u64::from(width)];
        Ok(Shape {
            name: PIXEL_VALUES.into(),
            dtype: DType::F32,
            dims: dims.into(),
        })
    }

    /// Writes a picture, resized and normalised, into `out`: float32 `[3, H, W]` with H and W from [`Self::target_size`].
    ///
    /// # Errors
    /// A slot of another shape or type, or a picture whose pixels don't fit its size.
    pub fn write(&self, picture: &Picture, out: ArrayMut<'_>) -> Result<()> {
        pixels::write(self, picture, out)
    }

    /// All of a detector's `prepare`: writes the sample's picture into `out`, and gives `boxes` and `class_labels` (see
    /// [`detection_labels`]) with a meta that holds the picture's size and its size in the input. A sample without a field
    /// `boxes` (prediction) gives no fields.
    pub fn prepare_detection(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Prepared> {
        let picture = sample
            .pictures
            .first()
            .ok_or_else(|| PluginError::data(format!("{} has no picture", sample.name)))?;
        let (width, height) = (picture.width, picture.height);
        let (input_width, input_height) = self.target_size(width, height)?;
        self.write(picture, out)?;
        let fields = match sample.fields.get("boxes") {
            Some(_) => detection_labels(&sample.fields, width, height)?,
            None => Default::default(),
        };
        let meta = Meta {
            index: sample.index,
            width,
            height,
            input_width,
            input_height,
            ..Default::default()
        };
        Ok(Prepared { fields, meta })
    }

    /// The collate rules that go with [`Self::prepare_detection`]: `pixel_values` padded with zeros at the bottom and right
    /// (stacked where the file says `do_pad: false`), ragged `boxes` and `class_labels`. `mask` is the name of the mask that
    /// padding gives, empty for a model that wants none.
    pub fn detection_collate(&self, mask: &str) -> Vec<CollateRule> {
        let pixels = if self.do_pad {
            CollateRule::pad(PIXEL_VALUES, mask)
        } else {
            CollateRule::stack(PIXEL_VALUES)
        };
        vec![
            pixels,
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
