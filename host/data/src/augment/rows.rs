//! Counts and selects instances, which are the rows of the per-instance fields.

use cvhost::error::{Error, Result};
use cvhost::plugin_error::from_plugin;
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::data::{Array, DType, Element, Field, Fields, Role};

/// A plugin error about a field, as shown to the user.
pub fn about(field: &Field, error: PluginError) -> Error {
    from_plugin(error).within(format!("field `{}` ({:?})", field.name, field.role))
}

/// The number of instances in the per-instance fields. With polygons alone, it is their highest
/// instance number plus one.
///
/// # Errors
/// If the fields have different numbers of instances.
pub fn instances(fields: &Fields) -> Result<usize> {
    let mut found: Option<(&Field, u64)> = None;
    for field in fields.items.iter().filter(|f| f.role.per_instance()) {
        let count = field.array.dims().first().copied().unwrap_or(0);
        match found {
            None => found = Some((field, count)),
            Some((other, first)) if first != count => {
                return Err(Error::failed(format!(
                    "field `{}` has {count} instances, but `{}` has {first}",
                    field.name, other.name
                ))
                .with_expected("the same number of instances in all per-instance fields of a record"));
            }
            Some(_) => {}
        }
    }
    let mut highest = 0;
    for field in fields.items.iter().filter(|f| f.role == Role::POLYGONS) {
        for row in field.array.to_rows::<4>().map_err(|e| about(field, e))? {
            let valid = row[0] >= 0.0 && row[0].fract() == 0.0 && row[0] < f64::from(u32::MAX);
            if !valid || found.is_some_and(|(_, count)| row[0] >= count as f64) {
                let message = format!("instance {} of {}", row[0], found.map_or(0, |(_, count)| count));
                return Err(about(field, PluginError::failed(message)));
            }
            highest = highest.max(row[0] as usize + 1);
        }
    }
    Ok(found.map_or(highest, |(_, count)| count as usize))
}

/// Selects the instances whose entry in `keep` is true.
pub fn select(fields: &Fields, keep: &[bool]) -> Result<Fields> {
    let mut result = fields.clone();
    for field in &mut result.items {
        let chosen = if field.role == Role::POLYGONS {
            renumbered(&field.array, keep)
        } else if field.role.per_instance() {
            kept(&field.array, keep)
        } else {
            continue;
        };
        field.array = chosen.map_err(|e| about(field, e))?;
    }
    Ok(result)
}

fn renumbered(array: &Array, keep: &[bool]) -> Result<Array, PluginError> {
    let mut next = 0.0;
    let numbers: Vec<Option<f64>> = keep
        .iter()
        .map(|stays| {
            stays.then(|| {
                next += 1.0;
                next - 1.0
            })
        })
        .collect();
    let number = |&[instance, ring, x, y]: &[f64; 4]| {
        let number = numbers.get(instance as usize).copied().flatten()?;
        Some([number, ring, x, y])
    };
    let rows: Vec<[f64; 4]> = array.to_rows::<4>()?.iter().filter_map(number).collect();
    with_dtype(array.dtype(), &[rows.len() as u64, 4], rows.as_flattened())
}

/// The rows of the retained instances.
fn kept(array: &Array, keep: &[bool]) -> Result<Array, PluginError> {
    fn rows<T: Element>(array: &Array, keep: &[bool]) -> Result<Array, PluginError> {
        let inner = array.dims().get(1..).unwrap_or_default();
        let size = inner.iter().product::<u64>() as usize;
        let mut values: Vec<T> = Vec::new();
        for (row, _) in array
            .values::<T>()?
            .chunks(size.max(1))
            .zip(keep)
            .filter(|(_, keep)| **keep)
        {
            values.extend_from_slice(row);
        }
        let mut dims = vec![keep.iter().filter(|k| **k).count() as u64];
        dims.extend(inner);
        Array::new(&dims, &values)
    }
    match array.dtype() {
        DType::U8 => rows::<u8>(array, keep),
        DType::I32 => rows::<i32>(array, keep),
        DType::I64 => rows::<i64>(array, keep),
        DType::F32 => rows::<f32>(array, keep),
        DType::F64 => rows::<f64>(array, keep),
        other => Err(PluginError::failed(format!(
            "an array with the unknown element type {other:?}"
        ))),
    }
}

/// Converts coordinates to the field's original element type.
pub fn with_dtype(dtype: DType, dims: &[u64], values: &[f64]) -> Result<Array, PluginError> {
    match dtype {
        DType::F64 => Array::new(dims, values),
        DType::F32 => Array::new(dims, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        DType::I64 => Array::new(
            dims,
            &values.iter().map(|&v| v.round() as i64).collect::<Vec<_>>(),
        ),
        DType::I32 => Array::new(
            dims,
            &values.iter().map(|&v| v.round() as i32).collect::<Vec<_>>(),
        ),
        other => Err(PluginError::failed(format!(
            "coordinates of type {other:?}; expected f64 or f32"
        ))),
    }
}
