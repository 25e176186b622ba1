//! Converts batches from the data pipeline to tensors.

use crate::scalars::torch_error;
use crate::shim;
use cvhost::error::Result;
use cvhost_data::{HostBatch, HostItem};
use cvhost_plugin_api::data::Batch;
use cvhost_plugin_api::torch::batch_item;
use tch::{Device, Tensor};

/// Converts a batch to tensors on `device`. Consumes its items; metas, targets and names stay. On
/// the CPU nothing is copied. The copy to a GPU is asynchronous. Fails if libtorch does, for
/// example when out of memory.
pub fn to_batch(batch: &mut HostBatch, device: Device) -> Result<Batch> {
    let mut tensors = Batch {
        items: Default::default(),
        metas: batch.metas.clone().into(),
        extra: Default::default(),
    };
    for item in std::mem::take(&mut batch.items) {
        let HostItem {
            name,
            dims,
            data,
            offsets,
            ..
        } = item;
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let tensor = shim::tensor_of(data, &dims)
            .and_then(|tensor| on_device(tensor, device))
            .map_err(|e| e.within(format!("`{name}` of a batch on {device:?}")))?;
        tensors.items.push(batch_item(&name, tensor, offsets));
    }
    Ok(tensors)
}

fn on_device(mut tensor: Tensor, device: Device) -> Result<Tensor> {
    if matches!(device, Device::Cuda(_)) && tensor.numel() > 0 {
        match shim::copy_to_gpu(&mut tensor, device) {
            Ok(copy) => return Ok(copy),
            // Pinned memory is limited, on some machines severely. Any other problem is reported by
            // the ordinary copy.
            Err(error) => tracing::debug!("a batch is copied without pinned memory: {error}"),
        }
    }
    tensor.f_to(device).map_err(|e| torch_error("copy a batch", &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_data::buffer::Buffer;
    use cvhost_plugin_api::data::DType;
    use tch::Kind;

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
    fn tensors_have_the_dtypes_shapes_and_values_of_the_items() {
        let mut pixels = Buffer::filled(DType::F32, 6, 0.5).unwrap();
        pixels.elements_mut::<f32>()[4] = 14.0;
        let mut host_batch = HostBatch {
            items: vec![
                HostItem {
                    data: pixels,
                    ..item("pixel_values", &[2, 1, 3], &[], &[])
                },
                item("class_labels", &[2], &[3, 4], &[0, 2, 2]),
                item("boxes", &[0, 4], &[], &[0, 0, 0]),
            ],
            metas: vec![Default::default(); 2],
            targets: Vec::new(),
            names: Vec::new(),
        };
        let batch = to_batch(&mut host_batch, Device::Cpu).unwrap();
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
    #[test]
    fn a_tensor_shares_its_memory_and_returns_it_to_the_pool() {
        let pool = cvhost_data::pool::Pool::new(1);
        let mut buffer = Buffer::pooled(&pool, DType::F32, 4).unwrap();
        buffer
            .elements_mut::<f32>()
            .copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        let place = buffer.bytes().as_ptr();
        let tensor = shim::tensor_of(buffer, &[2, 2]).unwrap();
        let row = tensor.get(1);
        drop(tensor);
        assert_eq!(Vec::<f32>::try_from(&row).unwrap(), [3.0, 4.0]);
        drop(row);
        assert_eq!(
            Buffer::pooled(&pool, DType::F32, 4).unwrap().bytes().as_ptr(),
            place
        );
    }

    #[test]
    fn a_shape_larger_than_the_buffer_is_refused() {
        let buffer = Buffer::filled(DType::I64, 3, 0.0).unwrap();
        assert!(shim::tensor_of(buffer, &[2, 2]).is_err());
    }
}
