//! Combines several samples into one, by the roles of their fields.

use super::rows::{about, instances, with_dtype};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::data::{Array, DType, Element, Field, Fields, Role, Sample};

/// The configuration key of an augmentation that combines samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Mosaic,
    Mixup,
    CopyPaste,
}

impl Key {
    fn path(self) -> &'static str {
        match self {
            Key::Mosaic => "data.augmentations.mosaic",
            Key::Mixup => "data.augmentations.mixup",
            Key::CopyPaste => "data.augmentations.copy_paste",
        }
    }

    fn rejected(self, why: impl Into<String>) -> Error {
        let help = format!("set {} to 0", self.path());
        Error::usage(format!("`{}` can't be used: {}", self.path(), why.into())).with_help(help)
    }
}

/// One of the combined samples, placed on the common canvas.
pub struct Part<'a> {
    pub fields: Fields,
    /// This part's fraction of the result, from 0 to 1; the fractions of all parts add up to 1.
    pub fraction: f64,
    /// The pixels of the canvas that show it.
    pub place: Place<'a>,
}

/// The visible area of a part. Later parts cover earlier ones.
pub enum Place<'a> {
    /// Left, top, right, bottom, in pixels.
    Window([u32; 4]),
    /// The pixels where this row-major plane isn't 0.
    Pixels(&'a [u8]),
}

/// Rejects samples whose fields can't be combined in this way, naming the key and the field.
pub fn check(sample: &Sample, key: Key) -> Result<()> {
    if sample.images.len() != 1 {
        return Err(key.rejected(format!("a record has {} images", sample.images.len())));
    }
    if sample.region.is_some() {
        return Err(key.rejected("the records refer to regions of their images"));
    }
    let items = &sample.fields.items;
    let with = |role: Role| items.iter().find(|f| f.role == role);
    if let Some(field) = with(Role::TEXT) {
        return Err(key.rejected(format!("`{}` is a text that describes a whole image", field.name)));
    }
    let per_instance = |f: &&Field| f.role.per_instance() || f.role == Role::POLYGONS;
    let of_instances = items.iter().find(per_instance);
    if let Some((map, field)) = with(Role::LABEL_MAP).zip(of_instances) {
        let (map, field) = (&map.name, &field.name);
        return Err(key.rejected(format!(
            "the values in `{map}` may be the numbers of the instances in `{field}`, which change"
        )));
    }
    let distribution = with(Role::DISTRIBUTION);
    match key {
        Key::Mosaic => Ok(()),
        Key::Mixup => {
            if let Some(map) = with(Role::LABEL_MAP).or(with(Role::DENSE_MAP)) {
                return Err(key.rejected(format!("two of `{}` can't be blended", map.name)));
            }
            match (of_instances, distribution) {
                (Some(_), _) => Ok(()),
                (None, Some(field)) => Err(key
                    .rejected(format!("`{}` refers to the whole image", field.name))
                    .with_help("use model.mixup_alpha, which mixes classes of whole images")),
                (None, None) => Err(key.rejected("the records have no objects")),
            }
        }
        Key::CopyPaste => match (of_instances, distribution) {
            (_, Some(field)) => Err(key.rejected(format!(
                "pasted objects would change `{}` in an unknown way",
                field.name
            ))),
            (None, None) => Err(key.rejected("the records have no objects")),
            (Some(_), None) => Ok(()),
        },
    }
}

/// Combines the fields of all parts on a canvas of `size`. Instances are concatenated; maps show
/// each part's pixels in its visible area; distributions are averaged, weighted by the parts'
/// fractions; all other fields are those of the first part.
///
/// # Errors
/// If another part lacks a field of the first part, or has it with a different shape.
pub fn fields(parts: &[Part<'_>], size: [u32; 2]) -> Result<Fields> {
    let mut counts = Vec::with_capacity(parts.len());
    for part in parts {
        counts.push(instances(&part.fields)?);
    }
    let mut result = parts.first().map(|p| p.fields.clone()).unwrap_or_default();
    for field in &mut result.items {
        let array = joined(field, parts, &counts, size).map_err(|e| about(field, e))?;
        field.array = array;
    }
    Ok(result)
}

fn joined(field: &Field, parts: &[Part<'_>], counts: &[usize], size: [u32; 2]) -> Result<Array, PluginError> {
    let role = field.role;
    let together = role.per_instance()
        || matches!(
            role,
            Role::POLYGONS | Role::LABEL_MAP | Role::DENSE_MAP | Role::DISTRIBUTION
        );
    if !together {
        return Ok(field.array.clone());
    }
    let arrays = parts
        .iter()
        .map(|part| part.fields.require(&field.name))
        .collect::<Result<Vec<&Array>, PluginError>>()?;
    match role {
        Role::POLYGONS => {
            let mut rows: Vec<[f64; 4]> = Vec::new();
            let mut before = 0.0;
            for (array, count) in arrays.iter().zip(counts) {
                let numbered = |[instance, ring, x, y]: [f64; 4]| [instance + before, ring, x, y];
                rows.extend(array.to_rows::<4>()?.into_iter().map(numbered));
                before += *count as f64;
            }
            with_dtype(field.array.dtype(), &[rows.len() as u64, 4], rows.as_flattened())
        }
        Role::TEXTS => {
            let mut texts = Vec::new();
            for array in arrays {
                texts.extend(array.as_texts()?);
            }
            Ok(Array::texts(&texts))
        }
        Role::LABEL_MAP | Role::DENSE_MAP => match field.array.dtype() {
            DType::U8 => composed::<u8>(&arrays, parts, size),
            DType::I32 => composed::<i32>(&arrays, parts, size),
            DType::I64 => composed::<i64>(&arrays, parts, size),
            DType::F32 => composed::<f32>(&arrays, parts, size),
            _ => composed::<f64>(&arrays, parts, size),
        },
        Role::DISTRIBUTION => {
            let mut mixed = vec![0.0; field.array.count()];
            for (array, part) in arrays.iter().zip(parts) {
                if array.dims() != field.array.dims() {
                    return Err(PluginError::failed(format!(
                        "{:?} can't be mixed with {:?}",
                        array.dims(),
                        field.array.dims()
                    )));
                }
                let values = array.to_f64()?;
                mixed
                    .iter_mut()
                    .zip(values)
                    .for_each(|(m, v)| *m += part.fraction * v);
            }
            with_dtype(field.array.dtype(), field.array.dims(), &mixed)
        }
        _ => {
            let mut all = field.array.clone();
            for array in arrays.iter().skip(1) {
                all = all.joined(array)?;
            }
            Ok(all)
        }
    }
}

/// Composes planes `[H, W]` of one canvas, each in its part's visible area.
fn composed<T: Element>(arrays: &[&Array], parts: &[Part<'_>], size: [u32; 2]) -> Result<Array, PluginError> {
    let [width, height] = size.map(|side| side as usize);
    let mut result: Vec<T> = Vec::new();
    for (array, part) in arrays.iter().zip(parts) {
        let values = array.values::<T>()?;
        if result.is_empty() {
            result.extend_from_slice(values);
            continue;
        }
        match part.place {
            Place::Window([left, top, right, bottom]) => {
                for y in top as usize..bottom as usize {
                    let row = y * width + left as usize..y * width + right as usize;
                    if let Some((to, from)) = result.get_mut(row.clone()).zip(values.get(row)) {
                        to.copy_from_slice(from);
                    }
                }
            }
            Place::Pixels(pixels) => {
                for ((to, from), pixel) in result.iter_mut().zip(values).zip(pixels) {
                    if *pixel != 0 {
                        *to = *from;
                    }
                }
            }
        }
    }
    Array::new(&[height as u64, width as u64], &result)
}

/// Draws the sample to combine with another one, and checks it like the first.
pub fn partner(random: &mut crate::random::Random, context: &super::Context<'_>, key: Key) -> Result<Sample> {
    let partner = (context.partner)(random)?;
    check(&partner, key).map_err(|e| e.within(partner.name.as_str()))?;
    Ok(partner)
}
