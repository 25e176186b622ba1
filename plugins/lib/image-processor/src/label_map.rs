//! Transforms label maps, masks and boxes along with an image that is resized and cropped.

use crate::Processor;
use crate::resize::nearest;
use crate::window::Window;
use cvhost_plugin_api::data::{Array, DType, Element, Field};
use cvhost_plugin_api::error::{PluginError, Result};

/// The class ignored by semantic losses, as set by the reference's `do_reduce_labels`.
const IGNORED: i64 = 255;

/// The settings of `preprocessor_config.json` for label maps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelRule {
    /// Label 0 of the data is background and not a class: it is ignored, and every other label is
    /// reduced by one.
    pub do_reduce_labels: bool,
    /// The segment id to ignore, in families that predict masks; see [`Processor::segment_labels`].
    pub ignore_index: Option<i64>,
}

impl Processor {
    /// The file's settings for label maps.
    pub fn label_rule(&self) -> LabelRule {
        self.labels
    }

    /// Training labels of a semantic segmentation model: `[H, W]` int64, H and W from
    /// [`Self::target_size`]. `map` is an integer label map `[height, width]` of the image's size.
    /// It is resized with nearest neighbour and cropped like the image; pixels of a crop outside
    /// the image get the field's `fill`. With `do_reduce_labels`, 0, 255 and the field's `fill`
    /// become 255, and every other class is reduced by one, as in SegFormer's processor.
    ///
    /// # Errors
    /// If the array has another shape or holds floats.
    pub fn semantic_labels(&self, map: &Field) -> Result<Array> {
        let (dims, mut labels) = self.moved_map(map)?;
        if self.labels.do_reduce_labels {
            let fill = map.fill as i64;
            for label in &mut labels {
                let left_out = *label == 0 || *label == IGNORED || *label == fill;
                *label = if left_out { IGNORED } else { *label - 1 };
            }
        }
        Array::new(&dims, &labels)
    }

    /// A label map resized and cropped to the input's size, with unchanged labels: its dimensions,
    /// and its values in row-major order.
    pub(crate) fn moved_map(&self, map: &Field) -> Result<([u64; 2], Vec<i64>)> {
        let &[height, width] = map.array.dims() else {
            return Err(PluginError::failed(format!(
                "label map `{}` has shape {:?}; expected [height, width]",
                map.name,
                map.array.dims()
            )));
        };
        let part = self.part(&map.name, height, width)?;
        let fill = map.fill as i64;
        let values = match map.array.dtype() {
            DType::U8 => part.pick(map.array.values::<u8>()?, fill, i64::from),
            DType::I32 => part.pick(map.array.values::<i32>()?, fill, i64::from),
            DType::I64 => part.pick(map.array.values::<i64>()?, fill, |v| v),
            other => {
                return Err(PluginError::failed(format!(
                    "label map `{}` holds {other:?}; expected integers",
                    map.name
                )));
            }
        };
        Ok(([part.rows.len() as u64, part.columns.len() as u64], values))
    }

    /// Instance masks in the input's size: `[N, H, W]` u8 from `[N, height, width]` u8 in the
    /// image's size. They are resized with nearest neighbour and cropped like the image, with 0
    /// outside it. A mask may become empty.
    ///
    /// # Errors
    /// If the array has another shape or type.
    pub fn masks(&self, masks: &Array) -> Result<Array> {
        let &[count, height, width] = masks.dims() else {
            return Err(PluginError::failed(format!(
                "masks have shape {:?}; expected [N, height, width]",
                masks.dims()
            )));
        };
        let values = masks.values::<u8>()?;
        let part = self.part("masks", height, width)?;
        let mut moved = Vec::with_capacity(count as usize * part.rows.len() * part.columns.len());
        for mask in values.chunks_exact((height * width) as usize) {
            moved.extend(part.pick(mask, 0, |v| v));
        }
        let dims = [count, part.rows.len() as u64, part.columns.len() as u64];
        Array::new(&dims, &moved)
    }

    /// Boxes in pixels of the input: `[N, 4]` float32 xyxy from `[N, 4]` xyxy in pixels of a
    /// `width` × `height` image. If the image is cropped, they may extend beyond the input's
    /// border.
    pub fn boxes(&self, boxes: &Array, width: u32, height: u32) -> Result<Array> {
        let (to_width, to_height) = self.resized(width, height)?;
        let [crop_height, crop_width] = self.crop().unwrap_or([to_height, to_width]);
        let axis = |size: u32, to: u32, crop: u32| {
            let start = (i64::from(to) - i64::from(crop)).div_euclid(2);
            (f64::from(to) / f64::from(size), start as f64)
        };
        let (x, y) = (
            axis(width, to_width, crop_width),
            axis(height, to_height, crop_height),
        );
        let rows = boxes.to_rows::<4>()?;
        let moved = rows.iter().map(|&[x0, y0, x1, y1]| {
            let at = |v: f64, (scale, start): (f64, f64)| (v * scale - start) as f32;
            [at(x0, x), at(y0, y), at(x1, x), at(y1, y)]
        });
        Ok(Array::rows(&moved.collect::<Vec<_>>()))
    }

    /// Maps each position of the input to a position of an array of the image's size.
    fn part(&self, what: &str, height: u64, width: u64) -> Result<Part> {
        let side = |side: u64| {
            u32::try_from(side)
                .map_err(|_| PluginError::failed(format!("`{what}` has a side of {side} pixels")))
        };
        let (width, height) = (side(width)?, side(height)?);
        let (to_width, to_height) = self.resized(width, height)?;
        let [crop_height, crop_width] = self.crop().unwrap_or([to_height, to_width]);
        Ok(Part {
            width: width as usize,
            columns: positions(width, to_width, crop_width),
            rows: positions(height, to_height, crop_height),
        })
    }
}

/// The image's column and row for each column and row of the input; `None` outside the image.
struct Part {
    /// Of the image, in pixels.
    width: usize,
    columns: Vec<Option<usize>>,
    rows: Vec<Option<usize>>,
}

impl Part {
    fn pick<T: Element, U: Copy>(&self, values: &[T], outside: U, convert: impl Fn(T) -> U) -> Vec<U> {
        let mut picked = Vec::with_capacity(self.rows.len() * self.columns.len());
        for row in &self.rows {
            let line = row.and_then(|row| values.get(row * self.width..(row + 1) * self.width));
            picked.extend(self.columns.iter().map(|column| {
                let value = line.zip(*column).and_then(|(line, column)| line.get(column));
                value.map_or(outside, |&v| convert(v))
            }));
        }
        picked
    }
}

fn positions(from: u32, to: u32, crop: u32) -> Vec<Option<usize>> {
    let window = Window::middle(to, crop);
    let shown = nearest(from as usize, to as usize)
        .skip(window.shown.start)
        .take(window.len())
        .map(Some);
    let before = std::iter::repeat_n(None, window.before);
    let after = std::iter::repeat(None);
    before.chain(shown).chain(after).take(crop as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Defaults;
    use cvhost_plugin_api::data::Role;
    use serde_json::{Value, json};

    fn processor(file: Value) -> Processor {
        Processor::from_checkpoint(&file, &Value::Null, &Defaults::vit()).unwrap()
    }

    fn crop_to(side: u32) -> Processor {
        processor(json!({"size": {"height": 4, "width": 8}, "do_center_crop": true, "crop_size": side}))
    }

    fn map<T: Element>(values: &[T]) -> Field {
        Field::new("map", Role::LABEL_MAP, Array::new(&[2, 4], values).unwrap())
    }

    #[test]
    fn maps_masks_and_boxes_follow_a_crop() {
        let labels = crop_to(2)
            .semantic_labels(&map(&[1u8, 2, 3, 4, 5, 6, 7, 8]))
            .unwrap();
        assert_eq!(labels.dims(), [2, 2]);
        assert_eq!(labels.values::<i64>().unwrap(), [2, 3, 6, 7]);

        let masks = Array::new(&[2, 2, 4], &[1u8, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
        let moved = crop_to(2).masks(&masks).unwrap();
        assert_eq!(moved.dims(), [2, 2, 2]);
        assert_eq!(moved.values::<u8>().unwrap(), [0, 1, 1, 0, 0, 0, 1, 1]);

        let boxes = crop_to(2)
            .boxes(&Array::rows(&[[1.0, 0.5, 4.0, 2.0]]), 4, 2)
            .unwrap();
        assert_eq!(boxes.values::<f32>().unwrap(), [-1.0, 0.0, 5.0, 3.0]);
    }

    #[test]
    fn pixels_outside_the_image_get_the_fields_fill() {
        let file = json!({"size": {"height": 2, "width": 4}, "do_center_crop": true, "crop_size": {"height": 3, "width": 5}});
        let field = map(&[1i32; 8]).filled_with(9.0);
        let labels = processor(file).semantic_labels(&field).unwrap();
        assert_eq!(
            labels.values::<i64>().unwrap(),
            [9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 9, 1, 1, 1, 1]
        );
    }

    #[test]
    fn reduced_labels_ignore_background_and_fill() {
        let file = json!({"do_resize": false, "do_reduce_labels": true});
        let values = [0i64, 1, 2, 150, 255, 254, 100, 3];
        let reduced = |file: Value, fill: f64| {
            let labels = processor(file)
                .semantic_labels(&map(&values).filled_with(fill))
                .unwrap();
            labels.values::<i64>().unwrap().to_vec()
        };
        assert_eq!(reduced(file.clone(), 255.0), [255, 0, 1, 149, 255, 253, 99, 2]);
        assert_eq!(reduced(file, 100.0), [255, 0, 1, 149, 255, 253, 255, 2]);
        // The key's name in older files.
        let old = json!({"do_resize": false, "reduce_labels": true});
        assert_eq!(reduced(old.clone(), 255.0), [255, 0, 1, 149, 255, 253, 99, 2]);
        let saved = processor(old).config_json();
        assert_eq!(
            (saved["do_reduce_labels"].clone(), saved.get("reduce_labels")),
            (json!(true), None)
        );
    }

    #[test]
    fn arrays_of_the_wrong_shape_or_type_are_errors() {
        let p = processor(json!({}));
        let floats = p.semantic_labels(&map(&[0f32; 8])).unwrap_err();
        assert!(
            floats.message.contains("`map` holds f32; expected integers"),
            "{floats}"
        );
        let flat = Field::new("map", Role::LABEL_MAP, Array::vector(&[1u8]));
        let flat = p.semantic_labels(&flat).unwrap_err();
        assert!(flat.message.contains("[1]; expected [height, width]"), "{flat}");
        assert!(p.masks(&Array::new(&[1, 1], &[1u8]).unwrap()).is_err());
        assert!(p.masks(&Array::new(&[1, 0, 1], &[0u8; 0]).unwrap()).is_err());
    }
}
