//! Training labels of mask classification models (MaskFormer, Mask2Former): segments.

use crate::Processor;
use cvhost_plugin_api::data::{Array, Field, Fields, Role};
use cvhost_plugin_api::error::{PluginError, Result};
use std::collections::BTreeMap;

impl Processor {
    /// Converts a segment map to labels: `mask_labels` `[N, H, W]` u8, 0 or 1, and `class_labels`
    /// `[N]` int64, ordered by segment id. `map` is an integer label map `[height, width]` of the
    /// image's size; it is resized with nearest neighbour and cropped like the image, so a small
    /// segment may vanish. N is 0 if there are no segments.
    ///
    /// `classes` maps each id to its class; without it, the id is the class. Pixels with the file's
    /// `ignore_index` or the field's `fill` belong to no segment. With `do_reduce_labels`, pixels
    /// with 0 don't either, and all classes, as well as ids without `classes`, are reduced by one.
    /// This is the reference's `convert_segmentation_map_to_binary_masks`, except that the
    /// reference treats a pixel of 255 in a reduced map as a segment.
    ///
    /// # Errors
    /// If the array has another shape or holds floats, an id has no class, or `do_reduce_labels` is
    /// set without `ignore_index`.
    pub fn segment_labels(&self, map: &Field, classes: Option<&BTreeMap<i64, i64>>) -> Result<Fields> {
        let rule = self.labels;
        if rule.do_reduce_labels && rule.ignore_index.is_none() {
            return Err(PluginError::unsupported(
                "preprocessor_config.json: `do_reduce_labels` is set without an `ignore_index`, which \
                 replaces 0",
            )
            .with_help("add `\"ignore_index\": 255` to the file"));
        }
        let ([height, width], ids) = self.moved_map(map)?;
        let fill = map.fill as i64;
        let belongs = |id: i64| {
            let reduced = if rule.do_reduce_labels { id - 1 } else { id };
            let background = rule.do_reduce_labels && id == 0;
            !background && id != fill && Some(reduced) != rule.ignore_index
        };
        let mut segments: BTreeMap<i64, usize> = BTreeMap::new();
        let mut last = None;
        for &id in &ids {
            // Neighbouring pixels mostly belong to the same segment.
            if last != Some(id) && belongs(id) {
                segments.insert(id, 0);
            }
            last = Some(id);
        }
        let less = i64::from(rule.do_reduce_labels);
        let mut class_labels = Vec::with_capacity(segments.len());
        for (index, (&id, place)) in segments.iter_mut().enumerate() {
            *place = index;
            let class = match classes {
                Some(classes) => *classes.get(&id).ok_or_else(|| {
                    PluginError::data(format!("label map `{}`: segment {id} has no class", map.name))
                })?,
                None => id,
            };
            class_labels.push(class - less);
        }

        let mut masks = vec![0u8; segments.len() * ids.len()];
        let (mut last, mut place) = (None, None);
        for (pixel, &id) in ids.iter().enumerate() {
            if last != Some(id) {
                (last, place) = (Some(id), segments.get(&id).copied());
            }
            if let Some(value) = place.and_then(|place| masks.get_mut(place * ids.len() + pixel)) {
                *value = 1;
            }
        }
        let masks = Array::new(&[segments.len() as u64, height, width], &masks)?;
        Ok(Fields::new().with("mask_labels", Role::OPAQUE, masks).with(
            "class_labels",
            Role::OPAQUE,
            Array::vector(&class_labels),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Defaults;
    use serde_json::{Value, json};

    fn labels(
        file: Value,
        values: &[u8],
        classes: Option<&[(i64, i64)]>,
    ) -> Result<(Vec<u64>, Vec<u8>, Vec<i64>)> {
        let mut file = file;
        file["do_resize"] = json!(false);
        let p = Processor::from_checkpoint(&file, &Value::Null, &Defaults::mask2former())?;
        let map = Array::new(&[1, values.len() as u64], values)?;
        let classes = classes.map(|c| c.iter().copied().collect());
        let labels = p.segment_labels(&Field::new("map", Role::LABEL_MAP, map), classes.as_ref())?;
        let masks = labels.require("mask_labels")?;
        let classes = labels.require("class_labels")?.values::<i64>()?;
        Ok((
            masks.dims().to_vec(),
            masks.values::<u8>()?.to_vec(),
            classes.to_vec(),
        ))
    }

    #[test]
    fn every_segment_gets_a_mask_and_its_class() {
        let found = labels(
            json!({"ignore_index": 4}),
            &[7, 2, 7, 4, 255, 2],
            Some(&[(2, 30), (7, 30)]),
        )
        .unwrap();
        assert_eq!(
            found,
            (
                vec![2, 1, 6],
                vec![0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0],
                vec![30, 30]
            )
        );
        let found = labels(json!({}), &[3, 0], None).unwrap();
        assert_eq!(found, (vec![2, 1, 2], vec![0, 1, 1, 0], vec![0, 3]));
    }

    #[test]
    fn reduced_maps_drop_background_and_shift_classes() {
        let file = json!({"ignore_index": 255, "do_reduce_labels": true});
        let found = labels(file.clone(), &[0, 3, 255], None).unwrap();
        assert_eq!(found, (vec![1, 1, 3], vec![0, 1, 0], vec![2]));
        let found = labels(file, &[0, 3, 255], Some(&[(3, 9)])).unwrap();
        assert_eq!(found.2, [8]);
    }

    #[test]
    fn an_image_without_segments_gives_empty_labels() {
        assert_eq!(
            labels(json!({}), &[255, 255], None).unwrap(),
            (vec![0, 1, 2], vec![], vec![])
        );
    }

    #[test]
    fn inconsistent_input_is_an_error() {
        let error = labels(json!({}), &[5], Some(&[(2, 1)])).unwrap_err();
        assert!(error.message.contains("`map`: segment 5 has no class"), "{error}");
        let error = labels(json!({"do_reduce_labels": true}), &[5], None).unwrap_err();
        assert!(error.message.contains("without an `ignore_index`"), "{error}");
    }
}
