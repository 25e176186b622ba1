//! `preprocessor_config.json`, read in its layouts, overridden by the user's configuration, and written.

use crate::resize::Resample;
use crate::size::{MAX_SIDE, Size};
use crate::{Defaults, Processor, pixels};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::{Map, Value, json};

const FILE: &str = "preprocessor_config.json";
/// The longest edge that a number as `size` came with, in files older than `longest_edge`.
const OLD_MAX_SIZE: u32 = 1333;

/// A value with the place that errors name.
struct Entry<'a> {
    value: &'a Value,
    name: &'a str,
    /// The key is the user's, not the checkpoint's.
    from_user: bool,
}

pub(crate) fn read(preprocessor: &Value, config: &Value, defaults: &Defaults) -> Result<Processor> {
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
    refuse_unsupported(&original)?;
    let file = |name: &'static str| Entry::in_file(&original, name);

    let mut size = match file("size") {
        Some(entry) => size_of(&entry, file("max_size"), defaults)?,
        None => defaults.size,
    };
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
    // Older files say it under a longer name.
    let do_pad = flag("do_pad", flag("pad_and_return_pixel_mask", defaults.do_pad)?)?;

    // The data's key says height and width, so it is the more exact one where both are given.
    let user = |path: &'static str| Entry::of_user(config, path);
    if let Some(entry) = user("data.image_size").or_else(|| user("model.image_size")) {
        size = image_size(&entry)?;
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

    let processor_type = processor_type(&original, defaults)?;
    let table = pixels::table(
        do_rescale.then_some(rescale_factor),
        do_normalize.then_some((mean, std)),
    );
    Ok(Processor {
        do_resize,
        size,
        multiple: multiple(&processor_type, defaults),
        resample,
        do_rescale,
        rescale_factor,
        do_normalize,
        mean,
        std,
        do_pad,
        table,
        processor_type,
        original,
    })
}

pub(crate) fn write(processor: &Processor) -> Value {
    let mut map = processor.original.clone();
    // Their meaning is in the new keys.
    for old in ["max_size", "feature_extractor_type", "pad_and_return_pixel_mask"] {
        map.remove(old);
    }
    let size = match processor.size {
        Size::Edges { shortest, longest } => json!({"shortest_edge": shortest, "longest_edge": longest}),
        Size::Exact { height, width } => json!({"height": height, "width": width}),
        Size::Within { height, width } => json!({"max_height": height, "max_width": width}),
    };
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
    ];
    map.extend(known.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(map)
}

/// Steps of other families' files that change pixels and that nothing here does.
fn refuse_unsupported(original: &Map<String, Value>) -> Result<()> {
    let on = |name: &str| {
        original
            .get(name)
            .is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)))
    };
    match ["do_center_crop", "pad_size"].into_iter().find(|name| on(name)) {
        Some(name) => Err(PluginError::unsupported(format!(
            "{FILE}: `{name}` is not supported for detectors"
        ))
        .with_help(format!(
            "remove `{name}` from the file if the model was trained without it"
        ))),
        None => Ok(()),
    }
}

/// `size`, with `max_size` of older files beside it.
fn size_of(entry: &Entry, max_size: Option<Entry>, defaults: &Defaults) -> Result<Size> {
    let longest = || max_size.map_or(Ok(OLD_MAX_SIZE), |e| e.side());
    match entry.value {
        Value::Number(_) if defaults.number_is_shortest_edge => Ok(Size::Edges {
            shortest: entry.side()?,
            longest: longest()?,
        }),
        Value::Number(_) => Ok(Size::Exact {
            height: entry.side()?,
            width: entry.side()?,
        }),
        Value::Array(sides) => pair(entry, sides),
        Value::Object(map) => {
            let side = |name: &'static str| Entry::in_file(map, name).map(|e| e.side()).transpose();
            let shortest = side("shortest_edge")?;
            if let Some(shortest) = shortest {
                let longest = side("longest_edge")?.map_or_else(longest, Ok)?;
                return Ok(Size::Edges { shortest, longest });
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

/// The user's `image_size`: `[height, width]` is exact; one number is the shortest edge, with DETR's ratio to the longest.
fn image_size(entry: &Entry) -> Result<Size> {
    match entry.value {
        Value::Array(sides) => pair(entry, sides),
        Value::Number(_) => {
            let shortest = entry.side()?;
            let longest = (f64::from(shortest) * 1333.0 / 800.0).round() as u32;
            Ok(Size::Edges {
                shortest,
                longest: longest.min(MAX_SIDE),
            })
        }
        _ => Err(entry.wrong("[height, width], or one number for the shortest edge")),
    }
}

fn pair(entry: &Entry, sides: &[Value]) -> Result<Size> {
    match sides {
        [height, width] => Ok(Size::Exact {
            height: entry.at(height).side()?,
            width: entry.at(width).side()?,
        }),
        _ => Err(entry.wrong("two numbers, [height, width]")),
    }
}

fn processor_type(original: &Map<String, Value>, defaults: &Defaults) -> Result<String> {
    let entry = ["image_processor_type", "feature_extractor_type"]
        .iter()
        .find_map(|n| Entry::in_file(original, n));
    match entry {
        // Files from before there were image processors call it a feature extractor.
        Some(e) => Ok(e
            .value
            .as_str()
            .ok_or_else(|| e.wrong("text"))?
            .replace("FeatureExtractor", "ImageProcessor")),
        None => Ok(defaults.processor_type.to_owned()),
    }
}

/// A YOLOS checkpoint may come with DETR's processor, and the reverse: the file decides where it names a known one.
fn multiple(processor_type: &str, defaults: &Defaults) -> u32 {
    match processor_type.trim_end_matches("Fast").trim_end_matches("Pil") {
        "YolosImageProcessor" => 16,
        "DetrImageProcessor" | "ConditionalDetrImageProcessor" | "DeformableDetrImageProcessor" => 1,
        _ => defaults.multiple,
    }
}

impl<'a> Entry<'a> {
    fn in_file(map: &'a Map<String, Value>, name: &'a str) -> Option<Self> {
        map.get(name).filter(|v| !v.is_null()).map(|value| Entry {
            value,
            name,
            from_user: false,
        })
    }

    fn of_user(config: &'a Value, path: &'a str) -> Option<Self> {
        let value = path.split('.').try_fold(config, |value, key| value.get(key))?;
        (!value.is_null()).then_some(Entry {
            value,
            name: path,
            from_user: true,
        })
    }

    /// A part of this entry, under its name.
    fn at(&self, value: &'a Value) -> Entry<'a> {
        Entry { value, ..*self }
    }

    fn wrong(&self, expected: &str) -> PluginError {
        let shown = match self.value {
            Value::Array(_) | Value::Object(_) => {
                let mut text = self.value.to_string();
                if let Some((end, _)) = text.char_indices().nth(80) {
                    text.truncate(end);
                    text.push('…');
                }
                text
            }
            scalar => scalar.to_string(),
        };
        let message = format!("`{}` is {shown}; expected {expected}", self.name);
        if self.from_user {
            PluginError::config(self.name, message)
        } else {
            PluginError::checkpoint(format!("{FILE}: {message}"))
                .with_help("correct the file, or override it with `data.image_size` or `data.normalize_*`")
        }
    }

    fn flag(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    fn side(&self) -> Result<u32> {
        let side = self.value.as_u64().and_then(|v| u32::try_from(v).ok());
        side.filter(|s| (1..=MAX_SIDE).contains(s))
            .ok_or_else(|| self.wrong(&format!("a whole number of pixels from 1 to {MAX_SIDE}")))
    }

    fn positive(&self) -> Result<f64> {
        self.value
            .as_f64()
            .filter(|v| *v > 0.0)
            .ok_or_else(|| self.wrong("a number above 0"))
    }

    /// A number a channel, red first, or one for all.
    fn channels(&self) -> Result<[f64; 3]> {
        let numbers: Option<Vec<f64>> = match self.value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect(),
            scalar => scalar.as_f64().map(|v| vec![v; 3]),
        };
        numbers
            .and_then(|n| <[f64; 3]>::try_from(n).ok())
            .ok_or_else(|| self.wrong("three numbers, for red, green and blue"))
    }

    fn deviations(&self) -> Result<[f64; 3]> {
        let values = self.channels()?;
        if values.iter().all(|v| *v > 0.0) {
            Ok(values)
        } else {
            Err(self.wrong("numbers above 0"))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(file: Value, config: Value) -> Result<Processor> {
        read(&file, &config, &Defaults::shortest_edge("DetrImageProcessor"))
    }

    #[test]
    fn a_missing_file_means_the_defaults() {
        let p = processor(Value::Null, json!({})).unwrap();
        assert_eq!(
            p.size,
            Size::Edges {
                shortest: 800,
                longest: 1333
            }
        );
        assert!(p.do_resize && p.do_rescale && p.do_normalize && p.do_pad);
        assert_eq!(
            (p.mean, p.rescale_factor, p.resample),
            ([0.485, 0.456, 0.406], 1.0 / 255.0, Resample::Bilinear)
        );
    }

    #[test]
    fn the_layouts_of_size_are_read() {
        let edges = |shortest, longest| Size::Edges { shortest, longest };
        let cases = [
            (json!({"size": 512}), edges(512, 1333)),
            (json!({"size": 512, "max_size": 864}), edges(512, 864)),
            (
                json!({"size": {"shortest_edge": 512, "longest_edge": 700}}),
                edges(512, 700),
            ),
            (
                json!({"size": {"shortest_edge": 512, "longest_edge": null}}),
                edges(512, 1333),
            ),
            (
                json!({"size": {"height": 480, "width": 640}}),
                Size::Exact {
                    height: 480,
                    width: 640,
                },
            ),
            (
                json!({"size": [480, 640]}),
                Size::Exact {
                    height: 480,
                    width: 640,
                },
            ),
            (
                json!({"size": {"max_height": 480, "max_width": 640}}),
                Size::Within {
                    height: 480,
                    width: 640,
                },
            ),
            (json!({"max_size": 900}), edges(800, 1333)),
        ];
        for (file, expected) in cases {
            assert_eq!(
                processor(file.clone(), json!({})).unwrap().size,
                expected,
                "{file}"
            );
        }
    }

    #[test]
    fn the_processor_that_the_file_names_decides_about_multiples() {
        let multiple = |file: Value| processor(file, json!({})).unwrap().multiple;
        assert_eq!(
            multiple(json!({"image_processor_type": "YolosImageProcessorFast"})),
            16
        );
        assert_eq!(
            multiple(json!({"feature_extractor_type": "YolosFeatureExtractor"})),
            16
        );
        assert_eq!(multiple(json!({"image_processor_type": "DetrImageProcessor"})), 1);
        assert_eq!(multiple(json!({})), 1);
    }

    #[test]
    fn the_users_configuration_wins_and_is_saved() {
        let file = json!({"size": 800, "max_size": 1333, "format": "coco_detection",
            "feature_extractor_type": "DetrFeatureExtractor", "do_normalize": false});
        let config = json!({"model": {"image_size": 320},
            "data": {"image_size": [480, 640], "normalize_mean": [0.5, 0.4, 0.3], "normalize_std": [0.1, 0.2, 0.3]}});
        let saved = processor(file.clone(), config).unwrap().config_json();
        assert_eq!(saved["size"], json!({"height": 480, "width": 640}));
        assert_eq!(saved["image_mean"], json!([0.5, 0.4, 0.3]));
        assert_eq!(saved["image_std"], json!([0.1, 0.2, 0.3]));
        assert_eq!(saved["do_normalize"], json!(true));
        assert_eq!(saved["format"], json!("coco_detection"));
        assert_eq!(saved["image_processor_type"], json!("DetrImageProcessor"));
        assert_eq!(
            (saved.get("max_size"), saved.get("feature_extractor_type")),
            (None, None)
        );
        let reread = processor(saved.clone(), json!({})).unwrap();
        assert_eq!(reread.config_json(), saved);

        let one = processor(file, json!({"model": {"image_size": 480}})).unwrap();
        assert_eq!(
            one.size,
            Size::Edges {
                shortest: 480,
                longest: 800
            }
        );
    }

    #[test]
    fn wrong_values_name_the_key_and_what_was_expected() {
        let checkpoint = [
            (
                json!([1]),
                "preprocessor_config.json holds a list; expected an object",
            ),
            (
                json!({"size": "big"}),
                "`size` is \"big\"; expected a number, [height, width] or an object",
            ),
            (
                json!({"size": {"longest_edge": 5}}),
                "expected shortest_edge and longest_edge, or height and width",
            ),
            (
                json!({"size": {"height": 0, "width": 5}}),
                "`height` is 0; expected a whole number of pixels from 1 to 16384",
            ),
            (
                json!({"image_mean": [0.5, 0.5]}),
                "`image_mean` is [0.5,0.5]; expected three numbers",
            ),
            (json!({"image_std": [0.5, 0.5, 0]}), "expected numbers above 0"),
            (
                json!({"do_resize": "yes"}),
                "`do_resize` is \"yes\"; expected true or false",
            ),
            (json!({"resample": 9}), "`resample` is 9; expected 0 (nearest)"),
            (
                json!({"rescale_factor": -1}),
                "`rescale_factor` is -1; expected a number above 0",
            ),
            (
                json!({"do_center_crop": true}),
                "`do_center_crop` is not supported",
            ),
        ];
        for (file, part) in checkpoint {
            let error = processor(file.clone(), json!({})).unwrap_err();
            assert!(error.message.contains(part), "{file}: {error}");
        }
        let user = [
            (json!({"data": {"image_size": 0}}), "data.image_size"),
            (json!({"data": {"image_size": [640, 100000]}}), "data.image_size"),
            (json!({"data": {"image_size": [640]}}), "data.image_size"),
            (json!({"model": {"image_size": -3}}), "model.image_size"),
            (
                json!({"data": {"normalize_std": [0.0, 1.0, 1.0]}}),
                "data.normalize_std",
            ),
        ];
        for (config, key) in user {
            let error = processor(Value::Null, config.clone()).unwrap_err();
            assert_eq!(error.key, key, "{config}");
            assert!(error.message.contains("expected"), "{config}: {error}");
        }
    }
}
