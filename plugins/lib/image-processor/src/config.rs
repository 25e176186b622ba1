//! Reads `preprocessor_config.json` in its current and legacy layouts, applies overrides from the
//! user's configuration, and writes it.

use crate::Processor;
use crate::defaults::{Defaults, ShortestEdge};
use crate::entry::{Entry, FILE, kind};
use crate::label_map::LabelRule;
use crate::resize::Resample;
use crate::size::Size;
use crate::user_size::apply_user_size;
use crate::values::Values;
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value, json};

pub(crate) fn read(preprocessor: &Value, config: &Value, family: &Defaults) -> Result<Processor> {
    let original = match preprocessor {
        Value::Null => Map::new(),
        Value::Object(map) => map.clone(),
        other => {
            return Err(PluginError::checkpoint(format!(
                "{FILE} holds {}; expected an object",
                kind(other)
            )));
        }
    };
    let named = processor_type(&original)?;
    let defaults = match &named {
        Some(name) => Defaults::of(name, family),
        None => family.clone(),
    };
    let mut processor_type = named.unwrap_or_else(|| family.processor_type.to_owned());
    refuse_padding_to_a_size(&original)?;
    let file = |name: &'static str| Entry::in_file(&original, name);

    let crop_pct = file("crop_pct").map(|e| e.fraction()).transpose()?;
    let mut size = match file("size") {
        Some(entry) => size_of(&entry, file("max_size"), &defaults)?,
        None => defaults.size,
    };
    if let (Size::ConvNext { crop_pct, .. }, Some(given)) = (&mut size, crop_pct) {
        *crop_pct = given;
    }
    let mut mean = file("image_mean").map_or(Ok(defaults.mean), |e| e.channels())?;
    let mut std = file("image_std").map_or(Ok(defaults.std), |e| e.deviations())?;
    let resample = match file("resample") {
        Some(entry) => Resample::from_code(
            entry
                .value
                .as_u64()
                .ok_or_else(|| entry.wrong("a number from 0 to 5"))?,
        )?,
        None => defaults.resample,
    };
    let rescale_factor = file("rescale_factor").map_or(Ok(1.0 / 255.0), |e| e.positive())?;
    let flag = |name: &'static str, missing: bool| file(name).map_or(Ok(missing), |e| e.flag());
    let do_rescale = flag("do_rescale", true)?;
    let mut do_resize = flag("do_resize", true)?;
    let mut do_normalize = flag("do_normalize", defaults.do_normalize)?;
    // Older files use a longer name for this key.
    let do_pad = flag("do_pad", flag("pad_and_return_pixel_mask", defaults.do_pad)?)?;

    let size_divisor = match (
        defaults.size_divisor,
        file("size_divisor").or(file("size_divisibility")),
    ) {
        (Some(_), Some(entry)) => entry.divisor()?,
        (missing, _) => missing.unwrap_or(1),
    };
    let labels = LabelRule {
        do_reduce_labels: flag("do_reduce_labels", flag("reduce_labels", false)?)?,
        ignore_index: file("ignore_index").map(|e| e.whole()).transpose()?,
    };

    let do_center_crop = flag("do_center_crop", defaults.center_crop.is_some())?;
    let mut center_crop = match file("crop_size").filter(|_| do_center_crop) {
        Some(entry) => Some(crop_size(&entry)?),
        None if do_center_crop => Some(defaults.center_crop.unwrap_or_default()),
        None => None,
    };
    refuse_crops(size, center_crop, family)?;

    let user = |path: &'static str| Entry::of_user(config, path);
    // The `data` key gives both height and width and is therefore more specific; it wins if both
    // are set.
    if let Some(entry) = user("data.image_size").or_else(|| user("model.image_size")) {
        apply_user_size(
            &entry,
            family.whole_image && family.number_is_shortest_edge,
            &mut size,
            &mut center_crop,
            &mut processor_type,
        )?;
        do_resize = true;
    }
    if let Some(entry) = user("data.normalize_mean") {
        mean = entry.channels()?;
        do_normalize = true;
    }
    if let Some(entry) = user("data.normalize_std") {
        std = entry.deviations()?;
        do_normalize = true;
    }

    let values = Values::new(
        do_rescale.then_some(rescale_factor),
        do_normalize.then_some((mean, std)),
    );
    Ok(Processor {
        do_resize,
        size,
        multiple: defaults.multiple,
        size_divisor,
        labels,
        center_crop,
        resample,
        do_rescale,
        rescale_factor,
        do_normalize,
        mean,
        std,
        do_pad,
        values,
        processor_type,
        original,
    })
}

pub(crate) fn write(processor: &Processor) -> Value {
    let mut map = processor.original.clone();
    // Superseded by the new keys.
    for old in [
        "max_size",
        "feature_extractor_type",
        "pad_and_return_pixel_mask",
        "crop_pct",
        "size_divisibility",
        "reduce_labels",
    ] {
        map.remove(old);
    }
    let had = |name: &str| processor.original.get(name).is_some_and(|v| !v.is_null());
    if had("size_divisibility") && processor.size_divisor > 1 {
        map.insert("size_divisor".into(), json!(processor.size_divisor));
    }
    if had("reduce_labels") {
        map.insert(
            "do_reduce_labels".into(),
            json!(processor.labels.do_reduce_labels),
        );
    }
    let size = match processor.size {
        Size::Edges { shortest, longest } => json!({"shortest_edge": shortest, "longest_edge": longest}),
        Size::Shortest { edge } | Size::ConvNext { edge, .. } => json!({"shortest_edge": edge}),
        Size::Exact { height, width } => json!({"height": height, "width": width}),
        Size::Within { height, width } => json!({"max_height": height, "max_width": width}),
    };
    if let Size::ConvNext { crop_pct, .. } = processor.size {
        map.insert("crop_pct".into(), json!(crop_pct));
    }
    let known = [
        ("image_processor_type", json!(processor.processor_type)),
        ("do_resize", json!(processor.do_resize)),
        ("size", size),
        ("resample", json!(processor.resample.code())),
        ("do_rescale", json!(processor.do_rescale)),
        ("rescale_factor", json!(processor.rescale_factor)),
        ("do_normalize", json!(processor.do_normalize)),
        ("image_mean", json!(processor.mean)),
        ("image_std", json!(processor.std)),
        ("do_pad", json!(processor.do_pad)),
        ("do_center_crop", json!(processor.center_crop.is_some())),
    ];
    map.extend(known.map(|(name, value)| (name.to_owned(), value)));
    match processor.center_crop {
        Some([height, width]) => {
            map.insert("crop_size".into(), json!({"height": height, "width": width}));
        }
        // Without a crop, `crop_size` is meaningless, and so is `do_center_crop` if the file lacked
        // it.
        None => {
            map.remove("crop_size");
            if !processor.original.contains_key("do_center_crop") {
                map.remove("do_center_crop");
            }
        }
    }
    Value::Object(map)
}

/// Rejects padding to a fixed size: it changes pixels and isn't implemented here.
fn refuse_padding_to_a_size(original: &Map<String, Value>) -> Result<()> {
    match original.get("pad_size") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(_) => Err(
            PluginError::unsupported(format!("{FILE}: `pad_size` is not supported"))
                .with_help("remove `pad_size` from the file if the model was trained without it"),
        ),
    }
}

/// Rejects crops for families that need whole images (boxes outside the crop would be lost), and
/// two crops at once.
fn refuse_crops(size: Size, center_crop: Option<[u32; 2]>, family: &Defaults) -> Result<()> {
    let what = match (size.crop(), center_crop) {
        (_, Some(_)) if family.whole_image => {
            "`do_center_crop` is not supported for this model family, which needs whole images"
        }
        (Some(_), _) if family.whole_image => {
            "a `size` that implies a crop is not supported for this model family, which needs whole images"
        }
        (_, Some([0, 0])) => "`do_center_crop` is set without a `crop_size`",
        (Some(_), Some(_)) => "`do_center_crop` can't be combined with a `size` that implies a crop",
        _ => return Ok(()),
    };
    Err(PluginError::unsupported(format!("{FILE}: {what}"))
        .with_help("correct the file if the model was trained without it"))
}

/// Parses `size`, together with the `max_size` key of older files.
fn size_of(entry: &Entry, max_size: Option<Entry>, defaults: &Defaults) -> Result<Size> {
    let by_shortest = |edge: u32, longest: Option<u32>| -> Result<Size> {
        let longest = longest.map_or_else(|| max_size.map(|e| e.side()).transpose(), |l| Ok(Some(l)))?;
        Ok(match (longest, defaults.shortest_edge) {
            (_, ShortestEdge::ConvNext(crop_pct)) => Size::ConvNext { edge, crop_pct },
            (Some(longest), _) | (None, ShortestEdge::Bounded(longest)) => Size::Edges {
                shortest: edge,
                longest,
            },
            (None, ShortestEdge::Unbounded) => Size::Shortest { edge },
        })
    };
    match entry.value {
        Value::Number(_) if defaults.number_is_shortest_edge => by_shortest(entry.side()?, None),
        Value::Number(_) => {
            let side = entry.side()?;
            Ok(Size::Exact {
                height: side,
                width: side,
            })
        }
        Value::Array(sides) => {
            let [height, width] = entry.pair(sides)?;
            Ok(Size::Exact { height, width })
        }
        Value::Object(map) => {
            let side = |name: &'static str| Entry::in_file(map, name).map(|e| e.side()).transpose();
            if let Some(shortest) = side("shortest_edge")? {
                return by_shortest(shortest, side("longest_edge")?);
            }
            if let (Some(height), Some(width)) = (side("height")?, side("width")?) {
                return Ok(Size::Exact { height, width });
            }
            if let (Some(height), Some(width)) = (side("max_height")?, side("max_width")?) {
                return Ok(Size::Within { height, width });
            }
            Err(entry
                .wrong("shortest_edge and longest_edge, or height and width, or max_height and max_width"))
        }
        _ => Err(entry.wrong("a number, [height, width] or an object")),
    }
}

/// Parses `crop_size` as `[height, width]`.
fn crop_size(entry: &Entry) -> Result<[u32; 2]> {
    match entry.value {
        Value::Array(sides) => entry.pair(sides),
        Value::Object(map) => {
            let side = |name: &'static str| match Entry::in_file(map, name) {
                Some(side) => side.side(),
                None => Err(entry.wrong("height and width")),
            };
            Ok([side("height")?, side("width")?])
        }
        _ => Ok([entry.side()?; 2]),
    }
}

/// The image processor named by the file.
fn processor_type(original: &Map<String, Value>) -> Result<Option<String>> {
    let entry = ["image_processor_type", "feature_extractor_type"]
        .iter()
        .find_map(|n| Entry::in_file(original, n));
    let Some(entry) = entry else { return Ok(None) };
    let name = entry.value.as_str().ok_or_else(|| entry.wrong("text"))?;
    // Older files call it a feature extractor.
    Ok(Some(name.replace("FeatureExtractor", "ImageProcessor")))
}

#[cfg(test)]
mod tests;
