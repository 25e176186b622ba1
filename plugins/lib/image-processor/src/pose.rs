//! ViTPose's image processor: a box of an image, warped to the model's input.

use crate::pixels::{check_image, check_slot};
use crate::pose_crop::PoseCrop;
use crate::size::Size;
use crate::{Defaults, Processor, image_of, input_shape, kernels, meta};
use cvhost_plugin_api::data::{ArrayMut, CollateRule, Image, Meta, Region, Sample, Shape};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Value, json};

/// The unit of box sizes in the reference, in pixels.
const NORMALIZE_FACTOR: f64 = 200.0;

/// The image processor of top-down pose models. It shows a box, extended to the input's aspect
/// ratio and enlarged by a quarter (see [`PoseCrop`]), with bilinear interpolation; pixels outside
/// the image are black. Then it rescales and normalises like [`Processor`]. Pixels equal those of
/// `VitPoseImageProcessor` with the PIL backend.
#[derive(Debug, Clone, PartialEq)]
pub struct PoseProcessor {
    processor: Processor,
    /// Height and width of the input in pixels.
    size: [u32; 2],
    normalize_factor: f64,
}

impl PoseProcessor {
    /// Like [`Processor::from_checkpoint`], with the defaults of `VitPoseImageProcessor`.
    ///
    /// # Errors
    /// Also if `size` isn't height and width, or with `do_affine_transform: false`, which keeps
    /// images at their original size.
    pub fn from_checkpoint(preprocessor: &Value, config: &Value) -> Result<Self> {
        let processor = Processor::from_checkpoint(preprocessor, config, &Defaults::vit_pose())?;
        let Size::Exact { height, width } = processor.size else {
            return Err(PluginError::unsupported(
                "preprocessor_config.json: a pose model's `size` must be height and width",
            )
            .with_help("correct the file, or override it with `data.image_size: [height, width]`"));
        };
        let key = |name: &str| processor.original.get(name).filter(|v| !v.is_null());
        if key("do_affine_transform").is_some_and(|v| v != &json!(true)) {
            return Err(PluginError::unsupported(
                "preprocessor_config.json: `do_affine_transform` is not true; it is needed to show the \
                 model a box of the image",
            )
            .with_help("remove the key from the file"));
        }
        let normalize_factor = match key("normalize_factor") {
            Some(value) => value.as_f64().filter(|v| *v > 0.0).ok_or_else(|| {
                PluginError::checkpoint(format!(
                    "preprocessor_config.json: `normalize_factor` is {value}; expected a number above 0"
                ))
            })?,
            None => NORMALIZE_FACTOR,
        };
        Ok(PoseProcessor {
            processor,
            size: [height, width],
            normalize_factor,
        })
    }

    /// Height and width of the input in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// The shape of the main input, which is the same for all boxes: `pixel_values`, float32, `[3,
    /// height, width]`.
    pub fn shape(&self) -> Shape {
        input_shape((self.size[1], self.size[0]))
    }

    /// The crop that the model sees for `region`, in pixels, with the mapping to and from the
    /// input.
    pub fn crop(&self, region: &Region) -> Result<PoseCrop> {
        PoseCrop::new(region, self.size, self.normalize_factor)
    }

    /// Writes the model's view of `region` into `out`: float32 `[3, H, W]`.
    ///
    /// # Errors
    /// If the slot has another shape or type, the image's pixels don't match its size, or the
    /// region is empty.
    pub fn write(&self, image: &Image, region: &Region, mut out: ArrayMut<'_>) -> Result<()> {
        check_image(image)?;
        check_slot(&out, self.size)?;
        let crop = self.crop(region)?;
        let source = Source {
            pixels: &image.pixels,
            width: image.width as usize,
            height: image.height as usize,
        };
        let [y_of, x_of] = crop.to_source();
        let (rows, columns) = (self.size[0], self.size[1]);
        let at =
            |of: [f64; 3], row: u32, column: u32| of[2] + f64::from(row) * of[0] + f64::from(column) * of[1];
        let across: Vec<Option<Tap>> = (0..columns)
            .map(|column| Tap::new(at(x_of, 0, column), source.width))
            .collect();
        let mut line = vec![[0u8; 3]; columns as usize];
        for row in 0..rows {
            let down = Tap::new(at(y_of, row, 0), source.height);
            for ((column, value), &across) in (0..columns).zip(&mut line).zip(&across) {
                let taps = if crop.is_upright() {
                    down.zip(across)
                } else {
                    let down = Tap::new(at(y_of, row, column), source.height);
                    down.zip(Tap::new(at(x_of, row, column), source.width))
                };
                *value = taps.map_or([0; 3], |(y, x)| source.between(y, x));
            }
            for channel in 0..3 {
                let target: &mut [f32] = out.row_mut(&[channel, u64::from(row)])?;
                kernels::to_values(
                    line.as_flattened(),
                    channel as usize,
                    &self.processor.values,
                    target,
                );
            }
        }
        Ok(())
    }

    /// Writes the sample's region of its image into `out` and returns a meta with the region;
    /// [`Self::crop`] maps from the input back to the image. A sample without a region shows its
    /// whole image.
    pub fn prepare_image(&self, sample: &Sample, out: ArrayMut<'_>) -> Result<Meta> {
        let image = image_of(sample)?;
        let region = sample.region.into_option().unwrap_or(Region {
            x: 0.0,
            y: 0.0,
            width: f64::from(image.width),
            height: f64::from(image.height),
            angle: 0.0,
        });
        self.write(image, &region, out)?;
        Ok(Meta {
            region: Some(region).into(),
            ..meta(sample, image, (self.size[1], self.size[0]))
        })
    }

    /// How inputs are collated into a batch: stacked, since all have the same shape.
    pub fn collate(&self) -> CollateRule {
        CollateRule::stack(crate::PIXEL_VALUES)
    }

    /// The `preprocessor_config.json` to save.
    pub fn config_json(&self) -> Value {
        self.processor.config_json()
    }
}

/// The two neighbouring positions of a point along one axis, and their weights.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weights: [f64; 2],
}

impl Tap {
    /// `None` outside the image: pixels aren't blended with what is beyond the border.
    fn new(at: f64, length: usize) -> Option<Self> {
        let last = length.checked_sub(1)?;
        if !(0.0..=last as f64).contains(&at) {
            return None;
        }
        let first = at.floor();
        let weight = 1.0 - (at - first);
        Some(Tap {
            first: first as usize,
            second: (first as usize + 1).min(last),
            weights: [weight, 1.0 - weight],
        })
    }
}

/// 8-bit RGB, `[height, width, 3]`.
struct Source<'a> {
    pixels: &'a [u8],
    width: usize,
    height: usize,
}

impl Source<'_> {
    /// Bilinear interpolation in float64, summed and rounded like `scipy.ndimage.affine_transform`
    /// of order 1.
    fn between(&self, y: Tap, x: Tap) -> [u8; 3] {
        let mut sums = [0f64; 3];
        for (row, down) in [(y.first, y.weights[0]), (y.second, y.weights[1])] {
            for (column, across) in [(x.first, x.weights[0]), (x.second, x.weights[1])] {
                let pixel: Option<&[u8; 3]> = self
                    .pixels
                    .get((row * self.width + column) * 3..)
                    .and_then(|p| p.first_chunk());
                for (sum, &value) in sums.iter_mut().zip(pixel.unwrap_or(&[0; 3])) {
                    *sum += f64::from(value) * down * across;
                }
            }
        }
        sums.map(|sum| (sum + 0.5).min(255.0) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(file: Value) -> Result<PoseProcessor> {
        PoseProcessor::from_checkpoint(&file, &Value::Null)
    }

    /// The pixels from a processor that neither rescales nor normalises, and the meta.
    fn prepared(sample: &Sample) -> (Vec<f32>, Meta) {
        let file = json!({"size": {"height": 8, "width": 8}, "do_rescale": false, "do_normalize": false});
        let p = processor(file).unwrap();
        let mut values = vec![-1f32; 3 * 64];
        let out = ArrayMut::new(&mut values, &p.shape().dims, &[64, 8, 1]).unwrap();
        let meta = p.prepare_image(sample, out).unwrap();
        (values, meta)
    }

    fn half_white(region: Option<Region>) -> Sample {
        let mut image = Image::filled(20, 20, [50; 3]);
        for y in 0..10 {
            for x in 0..20 {
                image.set_pixel(x, y, [200; 3]);
            }
        }
        Sample {
            images: vec![image].into(),
            region: region.into(),
            ..Sample::default()
        }
    }

    #[test]
    fn a_sample_without_a_region_shows_its_whole_image_on_black() {
        let (values, meta) = prepared(&half_white(None));
        assert_eq!(
            meta.region.into_option().map(|r| [r.x, r.y, r.width, r.height]),
            Some([0.0, 0.0, 20.0, 20.0])
        );
        assert_eq!((meta.input_width, meta.input_height, meta.width), (8, 8, 20));
        assert_eq!((values[0], values[8 + 4], values[6 * 8 + 4]), (0.0, 200.0, 50.0));
    }

    #[test]
    fn a_rotated_region_is_shown_upright() {
        let region = Region {
            x: 6.0,
            y: 6.0,
            width: 8.0,
            height: 8.0,
            angle: std::f64::consts::FRAC_PI_2,
        };
        // Up in the image is right in the region.
        let (values, _) = prepared(&half_white(Some(region)));
        for row in values.chunks_exact(8).take(8) {
            assert_eq!((row[0], row[7]), (50.0, 200.0), "{row:?}");
        }
    }

    #[test]
    fn files_that_do_not_show_a_box_are_rejected() {
        for (file, part) in [
            (
                json!({"do_affine_transform": false}),
                "`do_affine_transform` is not true",
            ),
            (
                json!({"size": {"shortest_edge": 5}}),
                "`size` must be height and width",
            ),
            (
                json!({"normalize_factor": 0}),
                "`normalize_factor` is 0; expected a number above 0",
            ),
        ] {
            let error = processor(file).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        let user = json!({"data": {"image_size": [128, 96]}});
        let p = PoseProcessor::from_checkpoint(&Value::Null, &user).unwrap();
        assert_eq!(
            (p.size(), p.config_json()["size"].clone()),
            ([128, 96], json!({"height": 128, "width": 96}))
        );
    }
}
