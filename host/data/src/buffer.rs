//! Memory of a batch before it is a tensor.

use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{ArrayMut, DType, Element};

/// Elements of one type in a row, aligned for every type.
#[derive(Clone, PartialEq)]
pub struct Buffer {
    dtype: DType,
    /// Whole 8-byte words; the last may be used in part.
    words: Vec<u64>,
    /// Bytes in use.
    length: usize,
}

impl Buffer {
    /// `count` elements of `fill`, which is converted as `as` does. Fails for an unknown type, or where it can't fit memory.
    pub fn filled(dtype: DType, count: u64, fill: f64) -> Result<Self> {
        let mut buffer = Self::zeros(dtype, count)?;
        // Fresh zero pages cost nothing until they are written, so zeros are left as they are.
        if fill != 0.0 {
            match dtype {
                DType::U8 => buffer.elements_mut::<u8>().fill(fill as u8),
                DType::I32 => buffer.elements_mut::<i32>().fill(fill as i32),
                DType::I64 => buffer.elements_mut::<i64>().fill(fill as i64),
                DType::F32 => buffer.elements_mut::<f32>().fill(fill as f32),
                _ => buffer.elements_mut::<f64>().fill(fill),
            }
        }
        Ok(buffer)
    }

    fn zeros(dtype: DType, count: u64) -> Result<Self> {
        let size = dtype
            .size()
            .ok_or_else(|| Error::failed(format!("a batch of unknown element type {dtype:?}")))?;
        let length = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(size))
            .filter(|&length| isize::try_from(length).is_ok())
            .ok_or_else(|| Error::failed(format!("{count} elements of {dtype:?} don't fit memory")))?;
        Ok(Buffer {
            dtype,
            words: vec![0; length.div_ceil(8)],
            length,
        })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Native endianness.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice::<u64, u8>(&self.words)
            .get(..self.length)
            .unwrap_or_default()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.words)
            .get_mut(..self.length)
            .unwrap_or_default()
    }

    /// The elements, whose type must be the buffer's own: of another type there are none.
    pub fn elements<T: Element>(&self) -> &[T] {
        if T::DTYPE == self.dtype {
            bytemuck::cast_slice(self.bytes())
        } else {
            &[]
        }
    }

    /// As [`Buffer::elements`], to write.
    pub fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        if T::DTYPE == self.dtype {
            bytemuck::cast_slice_mut(self.bytes_mut())
        } else {
            &mut []
        }
    }

    /// The slot of shape `dims` at the top left of block `index`, of blocks of shape `block` one after the other: a
    /// sample's place in a padded batch.
    pub fn slot(&mut self, index: u64, block: &[u64], dims: &[u64]) -> Result<ArrayMut<'_>> {
        match self.dtype {
            DType::U8 => slot_of(self.elements_mut::<u8>(), index, block, dims),
            DType::I32 => slot_of(self.elements_mut::<i32>(), index, block, dims),
            DType::I64 => slot_of(self.elements_mut::<i64>(), index, block, dims),
            DType::F32 => slot_of(self.elements_mut::<f32>(), index, block, dims),
            _ => slot_of(self.elements_mut::<f64>(), index, block, dims),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of {:?}", self.length, self.dtype)
    }
}

fn slot_of<'a, T: Element>(
    elements: &'a mut [T],
    index: u64,
    block: &[u64],
    dims: &[u64],
) -> Result<ArrayMut<'a>> {
    let size = block.iter().product::<u64>();
    let start = (index * size) as usize;
    let part = elements
        .get_mut(start..start + size as usize)
        .ok_or_else(|| Error::failed(format!("a batch has no block {index} of shape {block:?}")))?;
    ArrayMut::new(part, dims, &strides(block)).map_err(cvhost::plugin_error::from_plugin)
}

/// Row-major strides, in elements.
pub fn strides(dims: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        if let (Some(&inner), Some(&dim)) = (strides.get(i), dims.get(i))
            && let Some(outer) = strides.get_mut(i - 1)
        {
            *outer = inner * dim;
        }
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_top_left_of_its_block() {
        let mut buffer = Buffer::filled(DType::F32, 12, -1.0).unwrap();
        let mut slot = buffer.slot(1, &[2, 3], &[2, 2]).unwrap();
        slot.row_mut::<f32>(&[0]).unwrap().copy_from_slice(&[1.0, 2.0]);
        slot.row_mut::<f32>(&[1]).unwrap().copy_from_slice(&[3.0, 4.0]);
        let expected = [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 2.0, -1.0, 3.0, 4.0, -1.0];
        assert_eq!(buffer.elements::<f32>(), expected);
        assert!(buffer.slot(2, &[2, 3], &[2, 2]).is_err());
        assert!(buffer.slot(0, &[2, 3], &[2, 4]).is_err());
    }

    #[test]
    fn an_odd_number_of_bytes_and_an_impossible_one() {
        assert_eq!(Buffer::filled(DType::U8, 3, 7.0).unwrap().bytes(), [7, 7, 7]);
        assert!(Buffer::filled(DType::F64, u64::MAX / 4, 0.0).is_err());
        assert!(Buffer::filled(DType(77), 1, 0.0).is_err());
    }
}
