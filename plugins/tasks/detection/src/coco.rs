//! Reads a COCO annotation file entry by entry into compact records: a million annotations take about 80 MB, whatever
//! polygons the file holds beside the boxes.

use crate::nan::NanAsNull;
use cvhost_plugin_api::{PluginError, Result};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::marker::PhantomData;
use std::path::Path;

/// What detection needs of a COCO file, in the file's order.
#[derive(Debug, Default)]
pub struct Coco {
    pub images: Vec<Image>,
    pub annotations: Vec<Annotation>,
    pub categories: Vec<Category>,
}

#[derive(Debug, Clone)]
pub struct Image {
    pub id: i64,
    pub file_name: Box<str>,
    /// In pixels; 0 where the file doesn't say.
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone)]
pub struct Annotation {
    pub id: i64,
    pub image_id: i64,
    pub category_id: i64,
    /// `[x, y, width, height]` in pixels, as the file has it; NaN where it has no number.
    pub bbox: [f64; 4],
    /// Square pixels; the box's where the file doesn't say.
    pub area: f64,
    pub crowd: bool,
}

#[derive(Debug, Clone)]
pub struct Category {
    pub id: i64,
    pub name: String,
    pub supercategory: Option<String>,
}

/// Reads the file at `path`. The error names the entry and its line.
pub fn read(path: &Path) -> Result<Coco> {
    let file = File::open(path)
        .map_err(|e| PluginError::data(format!("cannot open the annotation file {}: {e}", path.display())))?;
    let reader = BufReader::with_capacity(64 * 1024, NanAsNull::new(file));
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    deserializer
        .deserialize_map(DocumentVisitor)
        .and_then(|coco| deserializer.end().map(|()| coco))
        .map_err(|e| {
            PluginError::data(format!("{}: {e}", path.display())).with_help(
                "an annotation file is a COCO JSON object with the lists `images` (id, file_name, width, height), \
                 `annotations` (id, image_id, category_id, bbox as [x, y, width, height]) and `categories` (id, name)",
            )
        })
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Coco;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a COCO JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Coco, A::Error> {
        let (mut images, mut annotations, mut categories) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "images" => read_list::<RawImage, _, _>("images", &mut images, &mut map)?,
                "annotations" => read_list::<RawAnnotation, _, _>("annotations", &mut annotations, &mut map)?,
                "categories" => read_list::<RawCategory, _, _>("categories", &mut categories, &mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = |name: &str| A::Error::custom(format!("the list `{name}` is missing"));
        Ok(Coco {
            images: images.ok_or_else(|| missing("images"))?,
            annotations: annotations.ok_or_else(|| missing("annotations"))?,
            categories: categories.ok_or_else(|| missing("categories"))?,
        })
    }
}

fn read_list<'de, Raw, T, A>(
    name: &'static str,
    list: &mut Option<Vec<T>>,
    map: &mut A,
) -> Result<(), A::Error>
where
    Raw: Deserialize<'de> + Into<T>,
    A: MapAccess<'de>,
{
    if list.is_some() {
        return Err(A::Error::custom(format!(
            "the list `{name}` stands twice in the file"
        )));
    }
    *list = Some(map.next_value_seed(List::<Raw, T> {
        name,
        types: PhantomData,
    })?);
    Ok(())
}

/// A list whose entries are read as `Raw` and kept as `T`; an error says which entry.
struct List<Raw, T> {
    name: &'static str,
    types: PhantomData<(Raw, T)>,
}

impl<'de, Raw: Deserialize<'de> + Into<T>, T> DeserializeSeed<'de> for List<Raw, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, Raw: Deserialize<'de> + Into<T>, T> Visitor<'de> for List<Raw, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the list `{}`", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        loop {
            match sequence.next_element::<Raw>() {
                Ok(Some(raw)) => list.push(raw.into()),
                Ok(None) => break,
                Err(e) => return Err(A::Error::custom(format!("{}[{}]: {e}", self.name, list.len()))),
            }
        }
        list.shrink_to_fit();
        Ok(list)
    }
}

#[derive(Deserialize)]
struct RawImage {
    id: Integer,
    file_name: Box<str>,
    width: Option<Integer>,
    height: Option<Integer>,
}

impl From<RawImage> for Image {
    fn from(raw: RawImage) -> Self {
        let side = |v: Option<Integer>| v.and_then(|v| u32::try_from(v.0).ok()).unwrap_or(0);
        Image {
            id: raw.id.0,
            file_name: raw.file_name,
            width: side(raw.width),
            height: side(raw.height),
        }
    }
}

#[derive(Deserialize)]
struct RawAnnotation {
    id: Integer,
    image_id: Integer,
    category_id: Integer,
    bbox: RawBox,
    area: Option<f64>,
    iscrowd: Option<Flag>,
}

impl From<RawAnnotation> for Annotation {
    fn from(raw: RawAnnotation) -> Self {
        let RawBox(bbox) = raw.bbox;
        Annotation {
            id: raw.id.0,
            image_id: raw.image_id.0,
            category_id: raw.category_id.0,
            bbox,
            area: raw.area.unwrap_or(bbox[2] * bbox[3]),
            crowd: raw.iscrowd.is_some_and(|f| f.0),
        }
    }
}

#[derive(Deserialize)]
struct RawCategory {
    id: Integer,
    name: String,
    supercategory: Option<String>,
}

impl From<RawCategory> for Category {
    fn from(raw: RawCategory) -> Self {
        Category {
            id: raw.id.0,
            name: raw.name,
            supercategory: raw.supercategory,
        }
    }
}

/// A whole number; some tools write it as `17.0`.
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;
        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
                i64::try_from(value)
                    .map(Integer)
                    .map_err(|_| E::custom(format!("{value} is too large a number")))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Integer, E> {
                // Up to 2^53 a f64 holds every whole number.
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
                    Ok(Integer(value as i64))
                } else {
                    Err(E::custom(format!("{value} is not a whole number")))
                }
            }
        }
        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// 0, 1, true or false.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "`iscrowd` as 0 or 1")]
        enum Either {
            Bool(bool),
            Number(f64),
        }
        Ok(Flag(match Either::deserialize(deserializer)? {
            Either::Bool(flag) => flag,
            Either::Number(number) => number != 0.0,
        }))
    }
}

/// `[x, y, width, height]`; null, which NaN has become, is NaN again.
struct RawBox([f64; 4]);

impl<'de> Deserialize<'de> for RawBox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoxVisitor;
        impl<'de> Visitor<'de> for BoxVisitor {
            type Value = RawBox;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`bbox` as [x, y, width, height]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawBox, A::Error> {
                let mut bbox = [f64::NAN; 4];
                for (i, slot) in bbox.iter_mut().enumerate() {
                    let number: Option<Option<f64>> = sequence.next_element()?;
                    *slot = number
                        .ok_or_else(|| A::Error::invalid_length(i, &self))?
                        .unwrap_or(f64::NAN);
                }
                match sequence.next_element::<IgnoredAny>()? {
                    None => Ok(RawBox(bbox)),
                    Some(_) => Err(A::Error::custom(
                        "`bbox` has more than the four numbers [x, y, width, height]",
                    )),
                }
            }
        }
        deserializer.deserialize_seq(BoxVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Coco> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn numbers_in_all_their_spellings_are_read() {
        let coco = parse(
            r#"{"info": {"deep": [[1]]}, "categories": [{"id": 1, "name": "a"}],
              "annotations": [
                {"id": 1.0, "image_id": 2, "category_id": 1, "bbox": [0.1, 2, NaN, 4], "segmentation": [[1, 2]]},
                {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": true, "area": 7.5}],
              "images": [{"id": 2, "file_name": "a.jpg", "width": 10.0, "height": null}]}"#,
        )
        .unwrap();
        assert_eq!((coco.images[0].width, coco.images[0].height), (10, 0));
        assert!(coco.annotations[0].bbox[2].is_nan() && coco.annotations[0].bbox[0] == 0.1);
        assert!(coco.annotations[1].crowd && coco.annotations[1].area == 7.5);
        assert!(std::mem::size_of::<Annotation>() <= 72);
    }

    #[test]
    fn a_wrong_type_names_the_entry_and_its_line() {
        let text = "{\"images\": [],\n\"annotations\": [{\"id\": 1, \"image_id\": 2, \"category_id\": 3, \"bbox\": [1, 2, 3, 4]},\n\
            {\"id\": 2, \"image_id\": \"two\"}], \"categories\": []}";
        let error = parse(text).unwrap_err();
        assert!(
            error
                .message
                .contains("annotations[1]: invalid type: string \"two\""),
            "{error}"
        );
        assert!(error.message.contains("line 3"), "{error}");
        let error = parse(r#"{"annotations": [{"id": 1, "bbox": [1, 2, 3]}]}"#).unwrap_err();
        assert!(
            error.message.contains("annotations[0]") && error.message.contains("[x, y, width, height]"),
            "{error}"
        );
    }

    #[test]
    fn another_document_says_what_is_expected() {
        for (text, part) in [
            ("[]", "expected a COCO JSON object"),
            ("{}", "the list `images` is missing"),
            ("{\"images\": 3}", "expected the list `images`"),
            ("{\"images\": [], \"images\": []}", "twice"),
            ("not json", "line 1"),
            ("", "EOF"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
            assert!(error.help.contains("COCO JSON"));
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&format!("{{\"images\": {deep}")).is_err());
        assert!(parse(&format!("{{\"info\": {deep}")).is_err());
    }
}
