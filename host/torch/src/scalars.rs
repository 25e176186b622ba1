//! Reads scalar tensors as numbers, all with a single copy from the device.

use cvhost::error::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

/// Packs scalars of any dtype into a float64 vector on the device of the first one. Doesn't wait
/// for the device.
///
/// # Errors
/// libtorch fails. On a GPU, this may report the failure of an earlier operation.
pub fn pack<'a>(scalars: impl IntoIterator<Item = &'a Tensor>) -> Result<Tensor> {
    let mut device = None;
    let flat = |tensor: &Tensor| {
        let tensor = tensor.f_detach()?;
        let device = *device.get_or_insert_with(|| tensor.device());
        tensor
            .f_to_device(device)?
            .f_to_kind(Kind::Double)?
            .f_reshape([1])
    };
    let packed = || -> Result<Tensor, TchError> {
        let flat: Vec<Tensor> = scalars.into_iter().map(flat).collect::<Result<_, _>>()?;
        if flat.is_empty() {
            return Tensor::f_zeros([0], (Kind::Double, Device::Cpu));
        }
        Tensor::f_cat(&flat, 0)
    };
    packed().map_err(|e| torch_error("compute a batch's loss", &e))
}

/// Reads the values of a vector. Waits for the device, so a failed computation is reported here.
pub fn read(vector: &Tensor) -> Result<Vec<f64>> {
    let values = vector.f_to_device(Device::Cpu).and_then(Vec::try_from);
    values.map_err(|e| torch_error("compute a batch's loss", &e))
}

/// Reads several vectors, concatenated, with a single copy. Otherwise like [`read`].
pub fn read_all(vectors: &[&Tensor]) -> Result<Vec<f64>> {
    match vectors {
        [] => Ok(Vec::new()),
        [vector] => read(vector),
        several => {
            let joined = Tensor::f_cat(several, 0).map_err(|e| torch_error("compute a batch's loss", &e))?;
            read(&joined)
        }
    }
}

/// Converts an error of libtorch, keeping the first line of its message. `doing` names the failed
/// operation.
pub fn torch_error(doing: &str, error: &TchError) -> Error {
    let text = error.to_string();
    let error = Error::failed(format!(
        "libtorch failed to {doing}: {}",
        text.lines().next().unwrap_or_default()
    ));
    if text.contains("CUDA error") {
        return error.with_help(
            "GPUs report errors asynchronously; set CUDA_LAUNCH_BLOCKING=1 in the environment to \
             find the failing operation",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_of_any_dtype_and_shape_are_read_in_order() {
        let scalars = [
            Tensor::from(1.5f32),
            Tensor::from(7i64),
            Tensor::from_slice(&[f64::INFINITY]),
            Tensor::from(true),
        ];
        let packed = pack(&scalars).unwrap();
        assert_eq!(packed.kind(), Kind::Double);
        assert_eq!(read(&packed).unwrap(), [1.5, 7.0, f64::INFINITY, 1.0]);
        assert!(read(&pack(&[]).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn undefined_tensors_are_errors() {
        let undefined = Tensor::new();
        assert!(pack([&undefined]).is_err());
        assert!(read(&undefined).is_err());
    }
}
