//! A fake input processor and images for this crate's tests.

use cvhost_plugin_api::abi::{Input, Input_TO, InputBox};
use cvhost_plugin_api::abi::{PrepareArgsRef, ShapeArgsRef};
use cvhost_plugin_api::abi_stable::erased_types::TD_Opaque;
use cvhost_plugin_api::abi_stable::std_types::RResult;
use cvhost_plugin_api::data::{
    ArrayMut, CollateRule, DType, Fields, Image, List, Meta, Prepared, Role, Shape, Text,
};
use cvhost_plugin_api::error::{AbiResult, PluginError};

/// Writes pixels as f32 `[3, H, W]` in the image's own size, and passes all fields on.
pub struct Plain {
    pub rules: Vec<CollateRule>,
}

impl Plain {
    /// Padded pixels; `boxes` and `class_labels` are ragged.
    pub fn padded() -> Self {
        let rules = vec![
            CollateRule::pad("pixel_values", "pixel_mask"),
            CollateRule::ragged("boxes"),
            CollateRule::ragged("class_labels"),
        ];
        Plain { rules }
    }

    pub fn boxed(self) -> InputBox {
        Input_TO::from_value(self, TD_Opaque)
    }
}

impl Input for Plain {
    fn shape(&self, args: ShapeArgsRef) -> AbiResult<Shape> {
        let (width, height) = (args.width(), args.height());
        if width == 13 {
            return RResult::RErr(PluginError::data("thirteen wide"));
        }
        let dims = [3, u64::from(height), u64::from(width)];
        RResult::ROk(Shape::new("pixel_values", DType::F32, &dims))
    }

    fn prepare(&self, args: PrepareArgsRef<'_>, mut out: ArrayMut<'_>) -> AbiResult<Prepared> {
        let sample = args.sample();
        let image = &sample.images[0];
        for channel in 0..3 {
            for y in 0..image.height {
                let row = out.row_mut::<f32>(&[channel, u64::from(y)]).unwrap();
                for (x, value) in row.iter_mut().enumerate() {
                    *value = f32::from(image.pixel(x as u32, y).unwrap()[channel as usize]);
                }
            }
        }
        let (width, height) = (image.width, image.height);
        RResult::ROk(Prepared {
            fields: sample.fields.clone(),
            meta: Meta {
                width,
                height,
                input_width: width,
                input_height: height,
                ..Default::default()
            },
            extra: Text::new(),
        })
    }

    fn collate(&self) -> AbiResult<List<CollateRule>> {
        RResult::ROk(self.rules.clone().into())
    }

    fn config_json(&self) -> AbiResult<Text> {
        RResult::ROk("{}".into())
    }

    fn stride(&self) -> AbiResult<u64> {
        RResult::ROk(0)
    }
}

/// An image in which every pixel differs from its neighbours.
pub fn pattern(width: u32, height: u32) -> Image {
    let mut image = Image::filled(width, height, [0; 3]);
    for y in 0..height {
        for x in 0..width {
            image.set_pixel(
                x,
                y,
                [
                    (x * 7 % 256) as u8,
                    (y * 5 % 256) as u8,
                    ((x + y * 3) % 256) as u8,
                ],
            );
        }
    }
    image
}

/// Boxes (xyxy) and their labels.
pub fn detections(boxes: &[[f64; 4]], labels: &[i64]) -> Fields {
    use cvhost_plugin_api::data::Array;
    Fields::new().with("boxes", Role::BOXES, Array::rows(boxes)).with(
        "class_labels",
        Role::COLUMN,
        Array::vector(labels),
    )
}
