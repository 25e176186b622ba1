//! Batches from the data path as tensors.

use cvhost::error::{Error, Result};
use cvhost_data::{HostBatch, HostItem};
use cvhost_plugin_api::data::{Batch, DType};
use cvhost_plugin_api::torch::batch_item;
use tch::{Device, Kind, Tensor};

/// The batch as tensors on `device`. Fails as libtorch does: out of memory.
pub fn to_batch(batch: &HostBatch, device: Device) -> Result<Batch> {
    let mut tensors = Batch {
        items: Default::default(),
        metas: batch.metas.clone().into(),
    };
    for item in &batch.items {
        let tensor = to_tensor(item, device).map_err(|e| {
            Error::failed(format!(
                "cannot put `{}` of a batch on {device:?}: {e}",
                item.name
            ))
        })?;
        tensors
            .items
            .push(batch_item(&item.name, tensor, item.offsets.clone()));
    }
    Ok(tensors)
}

fn to_tensor(item: &HostItem, device: Device) -> Result<Tensor, tch::TchError> {
    let kind = match item.data.dtype() {
        DType::U8 => Kind::Uint8,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        DType::F32 => Kind::Float,
        _ => Kind::Double,
    };
    let dims: Vec<i64> = item.dims.iter().map(|&d| d as i64).collect();
    Tensor::f_from_data_size(item.data.bytes(), &dims, kind)?.f_to(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_data::buffer::Buffer;

    fn item(name: &str, dims: &[u64], values: &[i64], offsets: &[u64]) -> HostItem {
        let mut data = Buffer::filled(DType::I64, values.len() as u64, 0.0).unwrap();
        data.elements_mut::<i64>().copy_from_slice(values);
        HostItem {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data,
            offsets: offsets.to_vec(),
            role: None,
        }
    }

    #[test]
    fn tensors_have_the_types_shapes_and_values_of_the_items() {
        let mut pixels = Buffer::filled(DType::F32, 6, 0.5).unwrap();
        pixels.elements_mut::<f32>()[4] = 14.0;
        let host_batch = HostBatch {
            items: vec![
                HostItem {
                    data: pixels,
                    ..item("pixel_values", &[2, 1, 3], &[], &[])
                },
                item("class_labels", &[2], &[3, 4], &[0, 2, 2]),
                item("boxes", &[0, 4], &[], &[0, 0, 0]),
            ],
            metas: Vec::new(),
            targets: Vec::new(),
            names: Vec::new(),
        };
        let batch = to_batch(&host_batch, Device::Cpu).unwrap();
        let pixels = batch.tensor("pixel_values").unwrap();
        assert_eq!((pixels.size(), pixels.kind()), (vec![2, 1, 3], Kind::Float));
        assert_eq!(pixels.double_value(&[1, 0, 1]), 14.0);
        let (labels, counts) = batch.ragged("class_labels").unwrap();
        assert_eq!(
            (Vec::<i64>::try_from(labels).unwrap(), counts),
            (vec![3, 4], vec![2, 0])
        );
        assert_eq!(batch.ragged("boxes").unwrap().0.size(), [0, 4]);
    }
}
